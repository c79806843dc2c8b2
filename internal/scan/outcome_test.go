package scan

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func ended(t *testing.T, kind batchv1.JobConditionType) *batchv1.Job {
	t.Helper()
	made, err := Job(options("linux/amd64"))
	if err != nil {
		t.Fatal(err)
	}
	made.Status.Conditions = []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue}}
	return made
}

func podOf(made *batchv1.Job, container string, code int32, message string) []corev1.Pod {
	pod := corev1.Pod{ObjectMeta: made.Spec.Template.ObjectMeta, Spec: *made.Spec.Template.Spec.DeepCopy()}
	status := corev1.ContainerStatus{Name: container, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message}}}
	if container == ContainerReport {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{status}
	} else {
		pod.Status.InitContainerStatuses = []corev1.ContainerStatus{status}
	}
	return []corev1.Pod{pod}
}

func TestOutcomeOfACompleteScan(t *testing.T) {
	made := ended(t, batchv1.JobComplete)
	got, err := Outcome(made, podOf(made, ContainerReport, 0, `{"scan":{"linux/amd64":{"spdx":"`+digestAMD64+`","cyclonedx":"`+digestAMD64+`","grype":"`+digestAMD64+`","trivy":"`+digestAMD64+`","sarif":"`+digestARM64+`"}}}`), limits.Build{})
	if err != nil || got["linux/amd64"].SARIF != digestARM64 {
		t.Errorf("got %+v, %v", got, err)
	}
	for desc, message := range map[string]string{"no report": "{}", "no JSON": "done", "nothing": ""} {
		if _, err := Outcome(made, podOf(made, ContainerReport, 0, message), limits.Build{}); err == nil {
			t.Errorf("%s: no error", desc)
		} else {
			wantTerminal(t, err, pipeline.ReasonScanFailed, false)
		}
	}
}

func TestOutcomeOfAFailedScan(t *testing.T) {
	tests := map[string]struct {
		container, message string
		reason, want       string
		again              bool
	}{
		"a database that Grype can't import": {ContainerGrypeDB, "[0000] \x1b[31mERROR\x1b[0m unable to import vulnerability database: unexpected EOF\n", pipeline.ReasonVulnerabilityDatabaseInvalid,
			"scan: grype-db can't read its vulnerability database: [0000] ERROR unable to import vulnerability database: unexpected EOF; put a whole one at databases.grype.location of the operator's configuration", true},
		"a database that Trivy can't open": {"trivy-amd64", "2026-11-23T08:18:24Z\tFATAL\tFatal error\trun error: init error: DB error: x", pipeline.ReasonVulnerabilityDatabaseInvalid,
			"scan: trivy-amd64 can't read its vulnerability database: 2026-11-23T08:18:24Z FATAL Fatal error run error: init error: DB error: x; put a whole one at databases.trivy.location of the operator's configuration", true},
		"a scanner that fails, without its progress": {"trivy-amd64", "2026-11-23T08:16:56Z\tINFO\tDetected OS\tfamily=\"debian\"\n2026-11-23T08:18:24Z\tFATAL\tx", pipeline.ReasonScanFailed,
			"scan: container trivy-amd64 exited with 1: 2026-11-23T08:18:24Z FATAL x", false},
		"a scanner that can't choose its reason": {"syft-amd64", `{"reason":"Fake","message":"x"}`, pipeline.ReasonScanFailed,
			`scan: container syft-amd64 exited with 1: {"reason":"Fake","message":"x"}`, false},
		"a database that is away": {ContainerPrepare, `{"reason":"VulnerabilityDatabaseUnavailable","message":"x: 404","transient":true}`, pipeline.ReasonVulnerabilityDatabaseUnavailable,
			"scan: prepare: x: 404", true},
		"a report that is too large": {ContainerReport, `{"reason":"ReportTooLarge","message":"x"}`, pipeline.ReasonReportTooLarge, "scan: report: x", false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			made := ended(t, batchv1.JobFailed)
			got, err := Outcome(made, podOf(made, tt.container, 1, tt.message), limits.Build{})
			wantTerminal(t, err, tt.reason, tt.again)
			if got != nil || err.Error() != tt.want {
				t.Errorf("got %v, %q", got, err)
			}
		})
	}
}

func TestOutcomeNamesTheMemoryThatAContainerHas(t *testing.T) {
	made := ended(t, batchv1.JobFailed)
	for _, c := range made.Spec.Template.Spec.InitContainers {
		pods := podOf(made, c.Name, 137, "")
		pods[0].Status.InitContainerStatuses[0].State.Terminated.Reason = "OOMKilled"
		_, err := Outcome(made, pods, limits.Build{})
		wantTerminal(t, err, pipeline.ReasonOutOfMemory, false)
		if limit := c.Resources.Limits.Memory().String(); !strings.Contains(err.Error(), limit) {
			t.Errorf("%s has %s: %v", c.Name, limit, err)
		}
	}
}
