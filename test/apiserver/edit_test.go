//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// edit changes an object as it is now. The operator writes statuses whenever it likes, so a test that updates what it has
// read before meets a conflict now and then.
func edit[T any, P objectOf[T]](o *operator, object P, doing string, change func(P)) {
	o.t.Helper()
	o.check(written(o.t.Context(), object, change, func(ctx context.Context) error { return k8s.Update(ctx, object) }), doing)
}

// editStatus is an edit of the status.
func editStatus[T any, P objectOf[T]](o *operator, object P, doing string, change func(P)) {
	o.t.Helper()
	o.check(statusWritten(o.t.Context(), object, change), doing)
}

func statusWritten[T any, P objectOf[T]](ctx context.Context, object P, change func(P)) error {
	return written(ctx, object, change, func(ctx context.Context) error { return k8s.Status().Update(ctx, object) })
}

// objectOf is a pointer to an API type.
type objectOf[T any] interface {
	*T
	client.Object
}

// untilWritten is the patience of an edit, as long as any other.
var untilWritten = wait.Backoff{Duration: pollInterval, Steps: int(awaitTimeout / pollInterval)}

// written reads an object, changes it and writes it, and again if somebody has written it in between.
func written[T any, P objectOf[T]](ctx context.Context, object P, change func(P), write func(context.Context) error) error {
	return retry.RetryOnConflict(untilWritten, func() error {
		if err := reread(ctx, object); err != nil {
			return err
		}
		change(object)
		return write(ctx)
	})
}

// reread has an object as it is now. It is read into an empty one, because what has gone since might stay in the old one.
func reread[T any, P objectOf[T]](ctx context.Context, object P) error {
	now := P(new(T))
	if err := k8s.Get(ctx, client.ObjectKeyFromObject(object), now); err != nil {
		return err
	}
	if now.GetUID() != object.GetUID() {
		return fmt.Errorf("%s was replaced by another object of its name", object.GetName())
	}
	*object = *now
	return nil
}

func TestAnEditIsRepeatedIfSomebodyWasFaster(t *testing.T) {
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: newNamespace(t), Name: "x", Labels: map[string]string{"goes": "soon"}}}
	o := &operator{t: t}
	o.check(k8s.Create(t.Context(), object), "creating the object")
	tries := 0
	edit(o, object, "editing it", func(c *corev1.ConfigMap) {
		if tries++; tries < 3 {
			other := c.DeepCopy()
			other.Labels = map[string]string{"faster": fmt.Sprint(tries)}
			o.check(k8s.Update(t.Context(), other), "being faster")
		}
		metav1.SetMetaDataAnnotation(&c.ObjectMeta, "try", fmt.Sprint(tries))
	})
	now := &corev1.ConfigMap{}
	o.check(k8s.Get(t.Context(), client.ObjectKeyFromObject(object), now), "reading it")
	if tries != 3 || len(now.Labels) != 1 || now.Labels["faster"] != "2" || now.Annotations["try"] != "3" || object.ResourceVersion != now.ResourceVersion {
		t.Errorf("after %d tries it is %+v, and the test has %+v", tries, now.ObjectMeta, object.ObjectMeta)
	}
}

func TestAnEditThatIsRefusedIsNotRepeated(t *testing.T) {
	image := created(t, minimalBaseImage(newNamespace(t), "x"))
	tries := 0
	err := written(t.Context(), image, func(*v1alpha1.BaseImage) { tries++; image.Spec.Output.Repository = "" },
		func(ctx context.Context) error { return k8s.Update(ctx, image) })
	if !apierrors.IsInvalid(err) || tries != 1 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	image.UID = "another"
	if err := reread(t.Context(), image); err == nil {
		t.Error("an object that was replaced is taken for the old one")
	}
}
