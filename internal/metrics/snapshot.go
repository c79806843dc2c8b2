package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// State reads what is reported of the present. It is read at each scrape.
type State struct {
	// Images are all BaseImages. They are not written to, and may be those of a cache.
	Images func(context.Context) ([]v1alpha1.BaseImage, error)
	// Queue counts the builds that run, and those that wait.
	Queue func() (running, urgent, scheduled int)
	// Failed is told when the images can't be read: they are left out then.
	Failed func(error)
}

// Report has the state reported from now on, or nil not any more. Only one process may: the caches of others are filled
// too, and every image would count twice.
func (m *Metrics) Report(state *State) {
	if m != nil {
		m.state.Store(state)
	}
}

// readTimeout is how long a scrape waits for a cache.
const readTimeout = 2 * time.Second

const (
	priorityUrgent    = "urgent"
	priorityScheduled = "scheduled"
)

var (
	runningDesc   = desc("builds_running", "Builds that have a slot.")
	queuedDesc    = desc("builds_queued", "Builds that wait for a slot.", "priority")
	imagesDesc    = desc("images", "BaseImages, by their condition Ready; Unknown if it has none.", "ready")
	suspendedDesc = desc("images_suspended", "BaseImages with spec.suspend.")
	agesDesc      = desc("image_age_seconds", "Time since the images of BaseImages that are not suspended were built, as of now: it does not add up over time.")
	oldestDesc    = desc("oldest_image_age_seconds", "Time since the oldest of these images was built; 0 without any.")

	snapshotDescs = []*prometheus.Desc{runningDesc, queuedDesc, imagesDesc, suspendedDesc, agesDesc, oldestDesc}

	ageBuckets = seconds(24*time.Hour, 7*24*time.Hour, 14*24*time.Hour, 30*24*time.Hour, 90*24*time.Hour)
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (s *State) collect(now time.Time, to chan<- prometheus.Metric) {
	running, urgent, scheduled := s.Queue()
	to <- gauge(runningDesc, float64(running))
	to <- gauge(queuedDesc, float64(urgent), priorityUrgent)
	to <- gauge(queuedDesc, float64(scheduled), priorityScheduled)
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	images, err := s.Images(ctx)
	if err != nil {
		s.Failed(err) // An invalid metric would take all others of the process with it.
		return
	}
	c := count(images, now)
	c.collect(to)
}

// census is what is reported of images.
type census struct {
	ready       map[metav1.ConditionStatus]int
	suspended   int
	aged        uint64
	sum, oldest float64
	// upTo counts the images whose age is at most that of a bucket.
	upTo map[float64]uint64
}

func count(images []v1alpha1.BaseImage, now time.Time) *census {
	c := &census{upTo: map[float64]uint64{},
		ready: map[metav1.ConditionStatus]int{metav1.ConditionTrue: 0, metav1.ConditionFalse: 0, metav1.ConditionUnknown: 0}}
	for _, bucket := range ageBuckets {
		c.upTo[bucket] = 0
	}
	for i := range images {
		c.add(&images[i], now)
	}
	return c
}

// add leaves the ages of suspended images out: they are meant to grow old.
func (c *census) add(image *v1alpha1.BaseImage, now time.Time) {
	c.ready[readiness(image)]++
	if image.Spec.Suspend {
		c.suspended++
		return
	}
	if image.Status.Image == nil || image.Status.Image.BuiltAt == nil {
		return
	}
	age := max(0, now.Sub(image.Status.Image.BuiltAt.Time).Seconds())
	c.aged, c.sum, c.oldest = c.aged+1, c.sum+age, max(c.oldest, age)
	for _, bucket := range ageBuckets {
		if age <= bucket {
			c.upTo[bucket]++
		}
	}
}

func readiness(image *v1alpha1.BaseImage) metav1.ConditionStatus {
	c := meta.FindStatusCondition(image.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil || (c.Status != metav1.ConditionTrue && c.Status != metav1.ConditionFalse) {
		return metav1.ConditionUnknown
	}
	return c.Status
}

func (c *census) collect(to chan<- prometheus.Metric) {
	for ready, n := range c.ready {
		to <- gauge(imagesDesc, float64(n), string(ready))
	}
	to <- gauge(suspendedDesc, float64(c.suspended))
	to <- prometheus.MustNewConstHistogram(agesDesc, c.aged, c.sum, c.upTo)
	to <- gauge(oldestDesc, c.oldest)
}
