package webhook

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/cache"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// versionEvery is how often the version of the apiserver is looked at: upgrades are rare.
	versionEvery = 10 * time.Minute
	// versionRetry after it was not told.
	versionRetry = 2 * time.Second
	// versionTimeout of one look.
	versionTimeout = 5 * time.Second
)

func (c *Cluster) metadataWatch(resource, fieldSelector string, into cache.ReflectorStore) *cache.Reflector {
	client := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource(resource))
	return c.reflector(&metav1.PartialObjectMetadata{}, resource, c.metadata, into, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = fieldSelector
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = fieldSelector
			return client.Watch(ctx, o)
		},
	})
}

func (c *Cluster) accountWatch() *cache.Reflector {
	client := c.kube.CoreV1().ServiceAccounts(metav1.NamespaceAll)
	return c.reflector(&corev1.ServiceAccount{}, "serviceaccounts", c.kube, c.accounts, &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, o)
		},
	})
}

// reflector brings what lw lists into a table. Nothing else keeps the objects.
func (c *Cluster) reflector(example runtime.Object, resource string, client any, into cache.ReflectorStore, lw *cache.ListWatch) *cache.Reflector {
	return cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, client), example, into,
		cache.ReflectorOptions{Name: "admission", TypeDescription: resource, Logger: &c.log})
}

// unknownPlatform is that of a node without the labels that every kubelet sets.
var unknownPlatform = pipeline.Platform{OS: "unknown"}

func platformOf(o metav1.Object) pipeline.Platform {
	p := pipeline.Platform{OS: o.GetLabels()[corev1.LabelOSStable], Architecture: o.GetLabels()[corev1.LabelArchStable]}
	if p.OS == "" || p.Architecture == "" {
		return unknownPlatform
	}
	return p
}

// nodeChanged leaves the list alone if a node is what it was: their status changes all the time.
func (c *Cluster) nodeChanged(old, now pipeline.Platform) {
	if old != now || old == (pipeline.Platform{}) {
		c.countPlatforms()
	}
}

func (c *Cluster) countPlatforms() {
	c.counting.Lock()
	defer c.counting.Unlock()
	seen := map[pipeline.Platform]struct{}{}
	for _, p := range c.nodes.values() {
		seen[p] = struct{}{}
	}
	var platforms []pipeline.Platform
	if _, unknown := seen[unknownPlatform]; !unknown {
		platforms = slices.SortedFunc(maps.Keys(seen), func(a, b pipeline.Platform) int {
			return cmp.Or(cmp.Compare(a.OS, b.OS), cmp.Compare(a.Architecture, b.Architecture))
		})
	}
	c.platforms.Store(&platforms)
}

// Platforms returns those that nodes have, sorted; it is not to be changed. It is empty as long as nothing is known of them,
// if there is no node, and if there is one without the labels kubernetes.io/os and kubernetes.io/arch: then an image may run
// on any platform that it has, and all of them have to be vouched for.
func (c *Cluster) Platforms() []pipeline.Platform {
	if p := c.platforms.Load(); p != nil {
		return *p
	}
	return nil
}

// Version returns that of the apiserver, such as "1.37"; "" as long as it is not known.
func (c *Cluster) Version() string {
	if v := c.server.Load(); v != nil {
		return *v
	}
	return ""
}

// keepVersion keeps the last one that was told.
func (c *Cluster) keepVersion(ctx context.Context) {
	for {
		next := versionEvery
		if err := c.readVersion(ctx); err != nil && ctx.Err() == nil {
			c.log.Error(err, "the version of the apiserver is not known")
			next = versionRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-c.clock.After(next):
		}
	}
}

var digits = regexp.MustCompile(`^[0-9]{1,4}`)

func (c *Cluster) readVersion(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	info, err := discovery.ToServerVersionInterfaceWithContext(c.kube.Discovery()).ServerVersionWithContext(ctx)
	if err != nil {
		return fmt.Errorf("asking the apiserver for its version: %w", err)
	}
	major, minor := digits.FindString(info.Major), digits.FindString(info.Minor) // some say "37+"
	if major == "" || minor == "" {
		return fmt.Errorf("the apiserver says that its version is %.20q.%.20q, which are no numbers", info.Major, info.Minor)
	}
	c.server.Store(new(major + "." + minor))
	return nil
}
