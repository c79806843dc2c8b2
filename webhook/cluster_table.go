package webhook

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// table keeps one value per object of a kind, and not the object: a watch fills it. What get returns is read-only.
type table[V any] struct {
	keep    func(metav1.Object) V
	changed func(old, now V) // is told of each change; of a new list, with zero values. nil if nobody minds

	mu     sync.RWMutex
	rows   map[types.NamespacedName]V
	synced atomic.Bool
}

var _ cache.TransformingStore = &table[int]{}

func newTable[V any](keep func(metav1.Object) V) *table[V] {
	return &table[V]{keep: keep, rows: map[types.NamespacedName]V{}}
}

func (t *table[V]) get(namespace, name string) (V, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v, ok := t.rows[types.NamespacedName{Namespace: namespace, Name: name}]
	return v, ok
}

// values are a copy.
func (t *table[V]) values() map[types.NamespacedName]V {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return maps.Clone(t.rows)
}

// Add implements cache.ReflectorStore.
func (t *table[V]) Add(obj any) error {
	o, err := meta.Accessor(obj)
	if err != nil {
		return fmt.Errorf("a watch has brought a %T: %w", obj, err)
	}
	t.mu.Lock()
	old, now := t.rows[keyOf(o)], t.keep(o)
	t.rows[keyOf(o)] = now
	t.mu.Unlock()
	t.tell(old, now)
	return nil
}

// Update implements cache.ReflectorStore.
func (t *table[V]) Update(obj any) error { return t.Add(obj) }

// Delete implements cache.ReflectorStore.
func (t *table[V]) Delete(obj any) error {
	o, err := meta.Accessor(obj)
	if err != nil {
		return fmt.Errorf("a watch has brought a %T: %w", obj, err)
	}
	t.mu.Lock()
	old := t.rows[keyOf(o)]
	delete(t.rows, keyOf(o))
	t.mu.Unlock()
	var none V
	t.tell(old, none)
	return nil
}

func keyOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// Replace implements cache.ReflectorStore: it is the first list, and the one after a watch that could not be continued.
func (t *table[V]) Replace(all []any, _ string) error {
	rows := make(map[types.NamespacedName]V, len(all))
	for _, obj := range all {
		o, err := meta.Accessor(obj)
		if err != nil {
			return fmt.Errorf("a list has a %T: %w", obj, err)
		}
		rows[keyOf(o)] = t.keep(o)
	}
	t.mu.Lock()
	t.rows = rows
	t.mu.Unlock()
	var none V
	t.tell(none, none)
	t.synced.Store(true)
	return nil
}

func (t *table[V]) tell(old, now V) {
	if t.changed != nil {
		t.changed(old, now)
	}
}

func (t *table[V]) ready() bool { return t.synced.Load() }

// Resync implements cache.ReflectorStore.
func (t *table[V]) Resync() error { return nil }

// Transformer implements cache.TransformingStore: while the first list comes in, its objects are kept. Without what nobody
// needs they are small, and the annotation of kubectl apply, in which there may be the content of a secret, goes at once.
func (t *table[V]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		if o, err := meta.Accessor(obj); err == nil {
			o.SetManagedFields(nil)
			o.SetAnnotations(nil)
			o.SetOwnerReferences(nil)
		}
		return obj, nil
	}
}
