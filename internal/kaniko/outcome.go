package kaniko

import (
	"regexp"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/job"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// Outcome reads how a build Job ended: the digest that push reports (a hint, to be read again from the
// registry), or a fault as of job.Kind.Outcome.
func Outcome(made *batchv1.Job, pods []corev1.Pod, bounds limits.Build) (string, error) {
	k := kind("linux/" + made.Labels[job.LabelArchitecture])
	message, err := k.Outcome(made, pods, bounds)
	if err != nil {
		return "", err
	}
	report, err := pipeline.ParseReport(message)
	if err != nil || report.Digest == "" {
		return "", pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: container push of Job %s reported no digest", k.Subject, made.Name)
	}
	return report.Digest, nil
}

func kind(platform string) job.Kind {
	k := job.Kind{
		Subject:   platform,
		Reporter:  ContainerPush,
		Running:   v1alpha1.ReasonBuilding,
		Failed:    v1alpha1.ReasonBuildFailed,
		Logs:      []string{ContainerKaniko},
		Chatter:   chatter.MatchString,
		TimedOut:  timedOut,
		Memory:    memory,
		Volume:    "build something smaller, or raise limits.build of the operator's configuration",
		Placement: "add nodes, or change spec.platforms[] (nodeSelector, tolerations, resources.requests)",
		Lost:      "the digest it pushed",
	}
	k.Explain = func(container string, t *corev1.ContainerStateTerminated, said string) error {
		return explain(k, container, t, said)
	}
	return k
}

func timedOut(limit time.Duration) string {
	return "spec.timeout of " + limit.String() + " has passed: raise it, or give the build more CPU (spec.platforms[].resources)"
}

func memory(container string) string {
	if container == ContainerKaniko {
		return ": raise spec.platforms[].resources.limits.memory"
	}
	return ", of which it has 512Mi: build a smaller context or image, and report it"
}

// exitKilled is the exit code of a program that was killed (128 + SIGKILL).
const exitKilled = 137

func explain(k job.Kind, container string, t *corev1.ContainerStateTerminated, said string) error {
	switch {
	case container != ContainerKaniko:
		return nil
	case outOfMemory.MatchString(said) && t.ExitCode == exitKilled:
		return k.OutOfMemory(container)
	case unavailable.MatchString(said):
		return pipeline.Retryablef(pipeline.ReasonRegistryUnavailable, "%s: container %s exited with %d: %s", k.Subject, container, t.ExitCode, said)
	}
	return pipeline.Terminalf(v1alpha1.ReasonBuildFailed, "%s: container %s exited with %d%s: %s", k.Subject, container, t.ExitCode, at(t.Message), said)
}

// instruction is how Kaniko logs that it comes to one.
var instruction = regexp.MustCompile(`level=info msg="((?:ADD|ARG|CMD|COPY|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|ONBUILD|RUN|SHELL|STOPSIGNAL|USER|VOLUME|WORKDIR) .*)"`)

// at names the last instruction that Kaniko came to, if its log still has it.
func at(log string) string {
	found := instruction.FindAllStringSubmatch(log, -1)
	if len(found) == 0 {
		return ""
	}
	const limit = 200
	last := found[len(found)-1][1]
	if len(last) > limit {
		last = strings.ToValidUTF8(last[:limit], "") + "…"
	}
	return " at " + last
}

var (
	// outOfMemory is how Kaniko reports an instruction that the kernel has killed.
	outOfMemory = regexp.MustCompile(`signal: killed|exit status 137|Killed`)
	// unavailable is how Kaniko, not an instruction, reports a registry that can't be reached or has no time: what it
	// pulls was there when the build was decided.
	unavailable = regexp.MustCompile(`(?m)^.*error building image.*(TOOMANYREQUESTS|unexpected status code 5\d\d|50[0234] |i/o timeout|TLS handshake timeout|connection re(fused|set)|no such host|unexpected EOF|server misbehaving)`)
)

// chatter is Kaniko's progress, and what it thinks of our flags.
var chatter = regexp.MustCompile(`^time=\S+ level=(info |warning msg="Flag )`)
