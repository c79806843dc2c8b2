package kaniko

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

var pushed = "sha256:" + strings.Repeat("a", 64)

func jobWith(conditions ...batchv1.JobCondition) *batchv1.Job {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "x-1-amd64", Labels: map[string]string{job.LabelArchitecture: "amd64"}}}
	job.Spec.ActiveDeadlineSeconds = new(int64(3600))
	job.Status.Conditions = conditions
	return job
}

func condition(kind batchv1.JobConditionType, reason string) batchv1.JobCondition {
	return batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: "the message of the Job"}
}

var (
	running   = jobWith()
	suspended = func() *batchv1.Job { j := jobWith(); j.Spec.Suspend = new(true); return j }()
	complete  = jobWith(condition(batchv1.JobSuccessCriteriaMet, ""), condition(batchv1.JobComplete, ""))
	failed    = jobWith(condition(batchv1.JobFailureTarget, "x"), condition(batchv1.JobFailed, batchv1.JobReasonBackoffLimitExceeded))
)

// state is a container's status; at is its name.
func state(at string, s corev1.ContainerState) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: at, Image: at + ".example/" + at + ":1", State: s}
}

func runs(at string) corev1.ContainerStatus {
	return state(at, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
}

func waits(at, reason, message string) corev1.ContainerStatus {
	return state(at, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}})
}

func exited(at string, code int32, reason, message string) corev1.ContainerStatus {
	return state(at, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}})
}

func podWith(statuses ...corev1.ContainerStatus) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod"}}
	for _, s := range statuses {
		if s.Name == ContainerPush {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, s)
		} else {
			pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, s)
		}
	}
	return pod
}

func changed(pod corev1.Pod, change func(*corev1.Pod)) corev1.Pod {
	change(&pod)
	return pod
}

const notYet = "PodInitializing"

func TestOutcomeWaits(t *testing.T) {
	done := exited(ContainerFetch, 0, "Completed", "{}")
	tests := map[string]struct {
		job    *batchv1.Job
		pods   []corev1.Pod
		want   string
		reason string // empty for Building
	}{
		"no pod yet":                  {running, nil, "linux/amd64: waiting for a pod", ""},
		"a fresh pod":                 {running, []corev1.Pod{podWith()}, "linux/amd64: starting pod pod", ""},
		"a Job that Kueue holds back": {suspended, nil, "linux/amd64: Job x-1-amd64 is suspended: Kueue, or whoever suspended it, lets it run later", v1alpha1.ReasonQueued},
		"a pod without a node": {running, []corev1.Pod{changed(podWith(), func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes are available"}}
		})}, "linux/amd64: pod pod can't be scheduled: 0/1 nodes are available; add nodes, or change spec.platforms[] (nodeSelector, tolerations, resources.requests)", pipeline.ReasonPodUnschedulable},
		"a pod with a node": {running, []corev1.Pod{changed(podWith(waits(ContainerFetch, notYet, "")), func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
		})}, "linux/amd64: starting pod pod", ""},
		"an image that can't be pulled": {running, []corev1.Pod{podWith(done, waits(ContainerKaniko, "ImagePullBackOff", "Back-off pulling image \"x\""), waits(ContainerPush, notYet, ""))},
			`linux/amd64: the node can't pull kaniko.example/kaniko:1 for container kaniko: ImagePullBackOff: Back-off pulling image "x"; check images of the operator's configuration, and the pull secrets of the namespace's ServiceAccount default`, pipeline.ReasonImagePullFailed},
		"a Secret that is missing": {running, []corev1.Pod{podWith(waits(ContainerFetch, "CreateContainerConfigError", "secret \"git\" not found"))},
			`linux/amd64: container fetch is waiting: CreateContainerConfigError: secret "git" not found`, ""},
		"fetch runs":  {running, []corev1.Pod{podWith(runs(ContainerFetch), waits(ContainerKaniko, notYet, ""), waits(ContainerPush, notYet, ""))}, "linux/amd64: running fetch", ""},
		"kaniko runs": {running, []corev1.Pod{podWith(done, runs(ContainerKaniko), waits(ContainerPush, notYet, ""))}, "linux/amd64: running kaniko", ""},
		"push runs":   {running, []corev1.Pod{podWith(done, exited(ContainerKaniko, 0, "Completed", ""), runs(ContainerPush))}, "linux/amd64: running push", ""},
		"the newest of two pods": {running, []corev1.Pod{
			changed(podWith(runs(ContainerKaniko)), func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(time.Unix(20, 0)) }),
			changed(podWith(runs(ContainerFetch)), func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(time.Unix(10, 0)) }),
		}, "linux/amd64: running kaniko", ""},
		"failing but with pods that still run": {jobWith(condition(batchv1.JobFailureTarget, "x")), []corev1.Pod{podWith(runs(ContainerPush))}, "linux/amd64: running push", ""},
		"a condition that is not true":         {jobWith(batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionFalse}), nil, "linux/amd64: waiting for a pod", ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			digest, err := Outcome(tt.job, tt.pods, limits.Build{})
			waiting, ok := errors.AsType[*pipeline.Waiting](err)
			if !ok || digest != "" {
				t.Fatalf("got %q, %v, want Waiting", digest, err)
			}
			if waiting.Reason != cmp.Or(tt.reason, v1alpha1.ReasonBuilding) || waiting.Message != tt.want {
				t.Errorf("got %s: %q, want %q", waiting.Reason, waiting.Message, tt.want)
			}
			if job.Ended(tt.job) {
				t.Error("the Job counts as ended")
			}
		})
	}
}

func TestOutcomeOfAJobWithPodsOfOthers(t *testing.T) {
	made := podWith(exited(ContainerPush, 0, "Completed", `{"digest":"`+pushed+`"}`))
	job := complete.DeepCopy()
	job.Spec.Template.Spec = corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: ContainerKaniko, Image: "kaniko", Args: []string{"--no-push"}}},
		Containers:     []corev1.Container{{Name: ContainerPush, Image: "worker", Args: []string{"push"}}},
		Volumes:        []corev1.Volume{{Name: "input", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "x-input"}}}}},
	}
	job.Spec.Template.Labels = map[string]string{"app.kubernetes.io/managed-by": "basewright", "basewright.dev/build": "x-1"}
	made.Spec = *job.Spec.Template.Spec.DeepCopy()
	made.Labels = map[string]string{"app.kubernetes.io/managed-by": "basewright"}
	unguarded := made.DeepCopy()
	unguarded.Labels = map[string]string{"basewright.dev/build": "x-1"}
	with := func(change func(*corev1.PodSpec)) []corev1.Pod {
		pod := made.DeepCopy()
		change(&pod.Spec)
		return []corev1.Pod{*pod}
	}
	if digest, err := Outcome(job, with(func(s *corev1.PodSpec) { s.Containers = append(s.Containers, corev1.Container{Name: "injected"}) }), limits.Build{}); err != nil || digest != pushed {
		t.Errorf("a pod with an injected container: got %q, %v", digest, err)
	}
	if digest, err := Outcome(job, with(func(s *corev1.PodSpec) { s.Containers[0].Image += "@sha256:1" }), limits.Build{}); err != nil || digest != pushed {
		t.Errorf("an image that admission has pinned: got %q, %v", digest, err)
	}
	for desc, pods := range map[string][]corev1.Pod{
		"a second pod":     {made, made},
		"another image":    with(func(s *corev1.PodSpec) { s.Containers[0].Image = "evil" }),
		"another command":  with(func(s *corev1.PodSpec) { s.Containers[0].Command = []string{"sh"} }),
		"other arguments":  with(func(s *corev1.PodSpec) { s.InitContainers[0].Args = nil }),
		"another mount":    with(func(s *corev1.PodSpec) { s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "x"}} }),
		"another variable": with(func(s *corev1.PodSpec) { s.InitContainers[0].Env = []corev1.EnvVar{{Name: "SSL_CERT_DIR"}} }),
		"an injected container that sees our volumes": with(func(s *corev1.PodSpec) {
			s.InitContainers = append(s.InitContainers, corev1.Container{Name: "injected", VolumeMounts: []corev1.VolumeMount{{Name: "input"}}})
		}),
		"a container to debug it": with(func(s *corev1.PodSpec) {
			s.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}}}
		}),
		"without the label that guards it": {*unguarded},

		"no kaniko":           with(func(s *corev1.PodSpec) { s.InitContainers = nil }),
		"an input of its own": with(func(s *corev1.PodSpec) { s.Volumes[0].ConfigMap.Name = "evil" }),
		"no volumes":          with(func(s *corev1.PodSpec) { s.Volumes = nil }),
	} {
		t.Run(desc, func(t *testing.T) {
			digest, err := Outcome(job, pods, limits.Build{})
			if digest != "" {
				t.Errorf("got %q", digest)
			}
			assertTerminal(t, err, v1alpha1.ReasonConflict)
		})
	}
}

func TestOutcomeOfACompleteJob(t *testing.T) {
	report := func(digest string) []corev1.Pod {
		return []corev1.Pod{podWith(exited(ContainerFetch, 0, "", "{}"), exited(ContainerPush, 0, "Completed", fmt.Sprintf("{\"digest\":%q}\n", digest)))}
	}
	tests := map[string]struct {
		pods []corev1.Pod
		want string
	}{
		"a report":                            {report(pushed), pushed},
		"the pod is gone":                     {nil, ""},
		"no message":                          {[]corev1.Pod{podWith(exited(ContainerPush, 0, "Completed", ""))}, ""},
		"a report without digest":             {[]corev1.Pod{podWith(exited(ContainerPush, 0, "Completed", "{}"))}, ""},
		"a message that is no report":         {[]corev1.Pod{podWith(exited(ContainerPush, 0, "Completed", "pushed "+pushed))}, ""},
		"a tag instead of a digest":           {report("latest"), ""},
		"another repository":                  {report("registry.example/x@" + pushed), ""},
		"a digest that is too short":          {report(pushed[:70]), ""},
		"a digest in upper case":              {report("sha256:" + strings.Repeat("A", 64)), ""},
		"a digest and a line":                 {report(pushed + "\n"), ""},
		"another algorithm":                   {report("sha512:" + strings.Repeat("a", 128)), ""},
		"a report in the container before it": {[]corev1.Pod{podWith(exited(ContainerKaniko, 0, "Completed", `{"digest":"`+pushed+`"}`))}, ""},
		"a report by a container that was injected": {[]corev1.Pod{changed(podWith(), func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{exited("proxy", 0, "Completed", `{"digest":"`+pushed+`"}`)}
		})}, ""},
		"a report by a container that has failed": {[]corev1.Pod{podWith(exited(ContainerPush, 1, "Error", `{"digest":"`+pushed+`"}`))}, ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			digest, err := Outcome(complete, tt.pods, limits.Build{})
			if digest != tt.want {
				t.Errorf("got %q, want %q", digest, tt.want)
			}
			if tt.want != "" && err != nil {
				t.Errorf("got %v", err)
			}
			if tt.want == "" {
				assertTerminal(t, err, v1alpha1.ReasonBuildFailed)
			}
			if !job.Ended(complete) {
				t.Error("the Job does not count as ended")
			}
		})
	}
}

func TestOutcomeOfAFailedJob(t *testing.T) {
	kanikoLog := "time=\"2025-01-01T00:00:00Z\" level=info msg=\"Unpacking\"\ntime=\"x\" level=info msg=\"RUN apk add nothing\"\ntime=\"x\" level=warning msg=\"Flag --a is deprecated\"\n+ apk add nothing\ntime=\"x\" level=info msg=\"Taking snapshot\"\n" +
		"ERROR: nothing: no such package\nerror building image: exit status 1\n"
	tests := map[string]struct {
		job    *batchv1.Job
		pods   []corev1.Pod
		reason string
		want   string
		again  bool // another attempt may succeed
	}{
		"an instruction fails": {failed, []corev1.Pod{podWith(exited(ContainerFetch, 0, "Completed", "{}"), exited(ContainerKaniko, 1, "Error", kanikoLog), waits(ContainerPush, notYet, ""))},
			v1alpha1.ReasonBuildFailed, "linux/amd64: container kaniko exited with 1 at RUN apk add nothing: + apk add nothing | ERROR: nothing: no such package | error building image: exit status 1", false},
		"kaniko says only what it did": {failed, []corev1.Pod{podWith(exited(ContainerKaniko, 137, "Error", "time=x level=info msg=x\n"))},
			v1alpha1.ReasonBuildFailed, "linux/amd64: container kaniko exited with 137: it left no message", false},
		"kaniko can't choose its reason": {failed, []corev1.Pod{podWith(exited(ContainerKaniko, 1, "Error", `{"reason":"Fake","message":"x"}`))},
			v1alpha1.ReasonBuildFailed, `linux/amd64: container kaniko exited with 1: {"reason":"Fake","message":"x"}`, false},
		"fetch reports a fault": {failed, []corev1.Pod{podWith(exited(ContainerFetch, 1, "Error", `{"reason":"SourceNotFound","message":"no such commit"}`))},
			"SourceNotFound", "linux/amd64: fetch: no such commit", false},
		"fetch is refused what the operator was not: the Secret was rotated": {failed, []corev1.Pod{podWith(exited(ContainerFetch, 1, "Error", `{"reason":"SourceDenied","message":"401"}`))},
			"SourceDenied", "linux/amd64: fetch: 401", true},
		"push reports a fault": {failed, []corev1.Pod{podWith(exited(ContainerPush, 1, "Error", `{"reason":"RegistryDenied","message":"pushing x: 401"}`))},
			"RegistryDenied", "linux/amd64: push: pushing x: 401", false},
		"push reports an outage, which a new build may survive": {failed, []corev1.Pod{podWith(exited(ContainerPush, 1, "Error", `{"reason":"RegistryUnavailable","message":"503","transient":true}`))},
			"RegistryUnavailable", "linux/amd64: push: 503", true},
		"kaniko can't pull what was there a moment ago": {failed, []corev1.Pod{podWith(exited(ContainerKaniko, 1, "Error", "error building image: error building stage: failed to get filesystem from image: GET https://registry.example/v2/a: unexpected status code 503 Service Unavailable"))},
			pipeline.ReasonRegistryUnavailable, "linux/amd64: container kaniko exited with 1: error building image: error building stage: failed to get filesystem from image: GET https://registry.example/v2/a: unexpected status code 503 Service Unavailable", true},
		"an instruction's own trouble with the network is its own": {failed, []corev1.Pod{podWith(exited(ContainerKaniko, 1, "Error", "wget: i/o timeout\nerror building image: exit status 1"))},
			v1alpha1.ReasonBuildFailed, "linux/amd64: container kaniko exited with 1: wget: i/o timeout | error building image: exit status 1", false},
		"push reports a reason that no condition may have": {failed, []corev1.Pod{podWith(exited(ContainerPush, 1, "Error", `{"reason":"not a reason"}`))},
			v1alpha1.ReasonBuildFailed, `linux/amd64: container push exited with 1: {"reason":"not a reason"}`, false},
		"push panics": {failed, []corev1.Pod{podWith(exited(ContainerPush, 2, "Error", "panic: x\n\ngoroutine 1"))},
			v1alpha1.ReasonBuildFailed, "linux/amd64: container push exited with 2: panic: x | goroutine 1", false},
		"too little memory": {failed, []corev1.Pod{podWith(exited(ContainerKaniko, 137, "OOMKilled", "time=x level=info msg=x"))},
			pipeline.ReasonOutOfMemory, "linux/amd64: container kaniko ran out of memory: raise spec.platforms[].resources.limits.memory", false},
		"an instruction that the kernel killed for its memory": {failed, []corev1.Pod{podWith(exited(ContainerKaniko, 137, "Error", "error building image: signal: killed"))},
			pipeline.ReasonOutOfMemory, "linux/amd64: container kaniko ran out of memory: raise spec.platforms[].resources.limits.memory", false},
		"too little memory to push": {failed, []corev1.Pod{podWith(exited(ContainerPush, 137, "OOMKilled", ""))},
			pipeline.ReasonOutOfMemory, "linux/amd64: container push ran out of memory, of which it has 512Mi: build a smaller context or image, and report it", false},
		"a drain of the node": {failed, []corev1.Pod{changed(podWith(exited(ContainerKaniko, 137, "Error", "")), func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting"}}
		})}, pipeline.ReasonPodEvicted, "linux/amd64: pod pod was disrupted: EvictionByEvictionAPI: Eviction API: evicting", true},
		"a node that has no room left": {failed, []corev1.Pod{changed(podWith(exited(ContainerKaniko, 137, "Error", "")), func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "The node was low on resource: memory."
		})}, pipeline.ReasonPodEvicted, "linux/amd64: pod pod failed: Evicted: The node was low on resource: memory.", true},
		"an image that is too large for its volume": {failed, []corev1.Pod{changed(podWith(exited(ContainerKaniko, 137, "Error", "")), func(p *corev1.Pod) {
			p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", `Usage of EmptyDir volume "image" exceeds the limit "8Gi".`
		})}, pipeline.ReasonImageTooLarge, `linux/amd64: pod pod was evicted: Usage of EmptyDir volume "image" exceeds the limit "8Gi".: build something smaller, or raise limits.build of the operator's configuration`, false},
		"the deadline has passed": {jobWith(condition(batchv1.JobFailed, batchv1.JobReasonDeadlineExceeded)), []corev1.Pod{podWith(exited(ContainerKaniko, 137, "Error", "x"))},
			v1alpha1.ReasonTimedOut, "linux/amd64: spec.timeout of 1h0m0s has passed: raise it, or give the build more CPU (spec.platforms[].resources)", false},
		"the pod is gone": {failed, nil, pipeline.ReasonPodEvicted, "linux/amd64: the pod of Job x-1-amd64 is gone: it was evicted, preempted or deleted (BackoffLimitExceeded: the message of the Job)", true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			digest, err := Outcome(tt.job, tt.pods, limits.Build{})
			if digest != "" {
				t.Errorf("got digest %q", digest)
			}
			assertTerminal(t, err, tt.reason)
			if err.Error() != tt.want || pipeline.IsRetryable(err) != tt.again {
				t.Errorf("got %q, retryable: %t; want %q, %t", err, pipeline.IsRetryable(err), tt.want, tt.again)
			}
			if !job.Ended(tt.job) {
				t.Error("the Job does not count as ended")
			}
		})
	}
}

// The pods come from a cache, whose objects everyone shares.
func TestOutcomeLeavesThePodsAlone(t *testing.T) {
	pod := podWith(exited(ContainerKaniko, 0, "", ""), exited(ContainerPush, 1, "Error", "x"))
	pod.Status.InitContainerStatuses = slices.Grow(pod.Status.InitContainerStatuses, 4)
	room := pod.Status.InitContainerStatuses[:2]
	if _, err := Outcome(failed, []corev1.Pod{pod}, limits.Build{}); err == nil {
		t.Fatal("no error")
	}
	if room[1].Name != "" {
		t.Errorf("wrote %+v behind the list of statuses", room[1])
	}
}
