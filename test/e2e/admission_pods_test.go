//go:build e2e

package e2e

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// admissionTimeout is far above what a replica of the webhook takes to hear of a new policy.
const admissionTimeout = 30 * time.Second

func keyOf(o client.Object) client.ObjectKey { return client.ObjectKeyFromObject(o) }

func isTrue(conditions []metav1.Condition, kind string) bool {
	return meta.IsStatusConditionTrue(conditions, kind)
}

// podOf is a pod that does nothing, with everything that the profile Restricted asks for.
func podOf(namespace, name, image string, changes ...func(*corev1.PodSpec)) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: sleeping(image)}
	for _, change := range changes {
		change(&pod.Spec)
	}
	return pod
}

func sleeping(image string) corev1.PodSpec {
	return corev1.PodSpec{
		AutomountServiceAccountToken:  new(false),
		TerminationGracePeriodSeconds: ptr.To[int64](1),
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: ptr.To[int64](65532), RunAsGroup: ptr.To[int64](65532),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Containers: []corev1.Container{{Name: "app", Image: image, Command: []string{"/bin/busybox", "sleep", "3600"},
			ImagePullPolicy: corev1.PullIfNotPresent, SecurityContext: restricted()}},
	}
}

// admitted tries to make an object, without making it, until it is admitted. It returns what would have been made.
func admitted[T client.Object](t testing.TB, object T) T {
	t.Helper()
	var made T
	eventually(t, admissionTimeout, object.GetName()+" to be admitted", func(ctx context.Context) (bool, string) {
		made = object.DeepCopyObject().(T)
		if err := k8s.Create(ctx, made, client.DryRunAll); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	return made
}

// refused tries to make an object, without making it, until it is refused with this code and all of these words. That
// it is admitted meanwhile fails the test: what is right may take a moment to be known, what is wrong never passes.
func refused(t testing.TB, object client.Object, code int32, words ...string) string {
	t.Helper()
	return refusedFor(t, object, code, words, func(ctx context.Context) error {
		return k8s.Create(ctx, object.DeepCopyObject().(client.Object), client.DryRunAll)
	})
}

func refusedFor(t testing.TB, object client.Object, code int32, words []string, try func(context.Context) error) string {
	t.Helper()
	var message string
	eventually(t, admissionTimeout, object.GetName()+" to be refused with all of "+strings.Join(words, " | "), func(ctx context.Context) (bool, string) {
		err := try(ctx)
		if err == nil {
			t.Fatalf("%s was admitted", object.GetName())
		}
		message = err.Error()
		return codeOf(err) == code && lacks(message, words) == "", "it lacks " + lacks(message, words) + ": " + message
	})
	t.Logf("%s", message)
	return message
}

// lacks is the first of the words that a text does not have.
func lacks(text string, words []string) string {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return w
		}
	}
	return ""
}

func codeOf(err error) int32 {
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return status.ErrStatus.Code
	}
	return 0
}

const (
	forbidden   = http.StatusForbidden
	unavailable = http.StatusServiceUnavailable
)

// awaitPod waits until the kubelet runs all containers of a pod.
func awaitPod(t testing.TB, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	eventually(t, 2*time.Minute, "pod "+pod.Name+" to run", func(ctx context.Context) (bool, string) {
		if err := k8s.Get(ctx, keyOf(pod), pod); err != nil {
			return false, err.Error()
		}
		return podReady(pod), string(pod.Status.Phase) + " " + pod.Status.Message + waitingOf(pod)
	})
	return pod
}

func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func waitingOf(pod *corev1.Pod) string {
	var all strings.Builder
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			all.WriteString(" " + w.Reason + ": " + w.Message)
		}
	}
	return all.String()
}
