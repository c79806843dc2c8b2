package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// cluster is as much of an apiserver as a year in the life of BaseImages needs, with the operator's cache of it. The
// fake client of controller-runtime takes milliseconds for a list of a hundred images, which a year has no time for.
// Objects in it are never changed, only replaced.
type cluster struct {
	scheme       *runtime.Scheme
	now          func() time.Time
	live, cached *store
	writes       int
	// changed is told of every write.
	changed func(change)
	// crash loses the next write of a status, as a process does that ends in the middle of a pass.
	crash bool
}

// change is what a watch tells: no before for a new object, no after for one that has gone.
type change struct{ before, after client.Object }

func (c change) object() client.Object {
	if c.after == nil {
		return c.before
	}
	return c.after
}

var errCrashed = errors.New("the operator is killed before it writes")

// clockSkew is how far the apiserver's clock is behind the operator's.
const clockSkew = 2 * time.Second

func newCluster(scheme *runtime.Scheme, now func() time.Time, changed func(change)) *cluster {
	return &cluster{scheme: scheme, now: now, live: newStore(), cached: newStore(), changed: changed}
}

func (c *cluster) create(o client.Object) error {
	if _, exists := c.live.objects[keyOf(o)]; exists {
		return apierrors.NewAlreadyExists(schema.GroupResource{}, o.GetName())
	}
	o.SetGeneration(1)
	o.SetCreationTimestamp(metav1.NewTime(c.now().Add(-clockSkew).Truncate(time.Second)))
	o.SetUID(types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", c.writes)))
	c.put(nil, o)
	return nil
}

// put stores a copy of an object under a new resource version, which the object gets too.
func (c *cluster) put(before, o client.Object) {
	c.writes++
	o.SetResourceVersion(strconv.Itoa(c.writes))
	after := o.DeepCopyObject().(client.Object)
	c.live.put(after)
	c.changed(change{before, after})
}

func (c *cluster) updateStatus(o client.Object) error {
	if c.crash {
		c.crash = false
		return errCrashed
	}
	before, ok := c.live.objects[keyOf(o)]
	switch {
	case !ok:
		return apierrors.NewNotFound(schema.GroupResource{}, o.GetName())
	case before.GetResourceVersion() != o.GetResourceVersion():
		return apierrors.NewConflict(schema.GroupResource{}, o.GetName(), errors.New("it has been changed"))
	}
	after := before.DeepCopyObject().(client.Object)
	copyStatus(after, o)
	c.put(before, after)
	o.SetResourceVersion(after.GetResourceVersion())
	return nil
}

// copyStatus takes over the status alone, with times in whole seconds as JSON has them.
func copyStatus(to, from client.Object) {
	switch to := to.(type) {
	case *v1alpha1.BaseImage:
		from.(*v1alpha1.BaseImage).Status.DeepCopyInto(&to.Status)
	case *v1alpha1.BaseImageBuild:
		from.(*v1alpha1.BaseImageBuild).Status.DeepCopyInto(&to.Status)
		for _, t := range []*metav1.Time{to.Status.StartedAt, to.Status.CompletedAt} {
			if t != nil {
				t.Time = t.Truncate(time.Second)
			}
		}
	}
}

// edit is what a person does to an image.
func (c *cluster) edit(key types.NamespacedName, change func(*v1alpha1.BaseImage)) {
	before := c.live.objects[objectKey{kindImage, key}].(*v1alpha1.BaseImage)
	after := before.DeepCopy()
	change(after)
	if !equality.Semantic.DeepEqual(before.Spec, after.Spec) {
		after.Generation++
	}
	c.put(before, after)
}

func (c *cluster) remove(o client.Object, preconditions *metav1.Preconditions) error {
	before, ok := c.live.objects[keyOf(o)]
	if !ok || (preconditions != nil && *preconditions.UID != before.GetUID()) {
		return apierrors.NewNotFound(schema.GroupResource{}, o.GetName())
	}
	c.live.remove(keyOf(o))
	c.changed(change{before: before})
	return nil
}

// view is a client that reads from the apiserver or from the cache, and writes to the apiserver. What it does not
// implement panics: the controllers must not need it.
type view struct {
	client.Client
	*cluster
	from func() *store
}

func (c *cluster) cacheClient() client.Client {
	return view{cluster: c, from: func() *store { return c.cached }}
}
func (c *cluster) liveClient() client.Client {
	return view{cluster: c, from: func() *store { return c.live }}
}

func (v view) Scheme() *runtime.Scheme { return v.scheme }

func (v view) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	return v.create(o)
}

func (v view) Delete(_ context.Context, o client.Object, opts ...client.DeleteOption) error {
	options := (&client.DeleteOptions{}).ApplyOptions(opts)
	return v.remove(o, options.Preconditions)
}

func (v view) Get(_ context.Context, key types.NamespacedName, o client.Object, _ ...client.GetOption) error {
	found, ok := v.from().objects[objectKey{kindOf(o), key}]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	switch o := o.(type) {
	case *v1alpha1.BaseImage:
		found.(*v1alpha1.BaseImage).DeepCopyInto(o)
	case *v1alpha1.BaseImageBuild:
		found.(*v1alpha1.BaseImageBuild).DeepCopyInto(o)
	}
	return nil
}

func (v view) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	options := (&client.ListOptions{}).ApplyOptions(opts)
	switch list := list.(type) {
	case *v1alpha1.BaseImageList:
		for _, o := range v.from().find(kindImage, options) {
			list.Items = append(list.Items, *o.(*v1alpha1.BaseImage).DeepCopy())
		}
	case *v1alpha1.BaseImageBuildList:
		for _, o := range v.from().find(kindBuild, options) {
			list.Items = append(list.Items, *o.(*v1alpha1.BaseImageBuild).DeepCopy())
		}
	}
	return nil
}

func (v view) Status() client.SubResourceWriter { return statusWriter{cluster: v.cluster} }

type statusWriter struct {
	client.SubResourceWriter
	*cluster
}

func (w statusWriter) Update(_ context.Context, o client.Object, _ ...client.SubResourceUpdateOption) error {
	return w.updateStatus(o)
}

// objectKey names an object.
type objectKey struct {
	kind string
	types.NamespacedName
}

const kindImage, kindBuild = "BaseImage", "BaseImageBuild"

func kindOf(o client.Object) string {
	switch o.(type) {
	case *v1alpha1.BaseImage:
		return kindImage
	case *v1alpha1.BaseImageBuild:
		return kindBuild
	}
	return "" // There are no others in this cluster.
}

func keyOf(o client.Object) objectKey { return objectKey{kindOf(o), nameOf(o)} }

// store has objects by name, and by the values of the operator's own indexes.
type store struct {
	objects map[objectKey]client.Object
	byField map[string]map[objectKey]client.Object
}

func newStore() *store {
	return &store{objects: map[objectKey]client.Object{}, byField: map[string]map[objectKey]client.Object{}}
}

func (s *store) put(o client.Object) {
	key := keyOf(o)
	s.remove(key)
	s.objects[key] = o
	for _, field := range fieldsOf(o) {
		if s.byField[field] == nil {
			s.byField[field] = map[objectKey]client.Object{}
		}
		s.byField[field][key] = o
	}
}

func (s *store) remove(key objectKey) {
	if o, ok := s.objects[key]; ok {
		for _, field := range fieldsOf(o) {
			delete(s.byField[field], key)
		}
	}
	delete(s.objects, key)
}

func fieldsOf(o client.Object) []string {
	var fields []string
	for _, index := range fieldIndexes {
		if kindOf(index.object) == kindOf(o) {
			for _, value := range index.values(o) {
				fields = append(fields, index.field+"="+value)
			}
		}
	}
	return fields
}

// find returns objects in the order of their names, so that each simulation of a year goes the same way.
func (s *store) find(kind string, options *client.ListOptions) []client.Object {
	candidates := s.objects
	if options.FieldSelector != nil {
		candidates = s.byField[options.FieldSelector.String()]
	}
	var found []client.Object
	for key, o := range candidates {
		if key.kind == kind && (options.Namespace == "" || options.Namespace == key.Namespace) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b client.Object) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return found
}

// all returns every object, images first.
func (s *store) all() []client.Object {
	return slices.Concat(s.find(kindImage, &client.ListOptions{}), s.find(kindBuild, &client.ListOptions{}))
}
