package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// newMetrics are those of a leader, in a registry of their own.
func newMetrics(t *testing.T, images ...v1alpha1.BaseImage) (*Metrics, *prometheus.Registry) {
	t.Helper()
	m, registry := New(clocktesting.NewFakePassiveClock(noon)), prometheus.NewPedanticRegistry()
	if err := registry.Register(m); err != nil {
		t.Fatal(err)
	}
	m.Report(&State{
		Images: func(context.Context) ([]v1alpha1.BaseImage, error) { return images, nil },
		Queue:  func() (int, int, int) { return 3, 2, 1 },
		Failed: func(err error) { t.Errorf("failed: %v", err) },
	})
	return m, registry
}

// series are all that a registry has, as name{label=value,…}.
func series(t *testing.T, registry prometheus.Gatherer) []string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		for _, s := range f.GetMetric() {
			var labels []string
			for _, l := range s.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all = append(all, f.GetName()+"{"+strings.Join(labels, ",")+"}")
		}
	}
	return all
}

func TestMetricsFollowTheConventions(t *testing.T) {
	_, registry := newMetrics(t)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v", problems, err)
	}
}

func TestAnotherRegistrationIsAnErrorAndNoPanic(t *testing.T) {
	_, registry := newMetrics(t)
	var twice prometheus.AlreadyRegisteredError
	if err := registry.Register(New(clocktesting.NewFakePassiveClock(noon))); !errors.As(err, &twice) {
		t.Errorf("got %v", err)
	}
}

func TestNilMetricsCountNothing(t *testing.T) {
	var m *Metrics
	m.BuildChanged("", &v1alpha1.BaseImageBuild{Status: v1alpha1.BaseImageBuildStatus{Phase: v1alpha1.PhaseFailed}})
	m.Polled(Source, true, nil)
	m.RegistryRequest(http.MethodGet, 200)
	m.TrustRootRefreshed(true, nil)
	m.Report(&State{})
}

// Whatever happens, there are the same series as at the start: no text from outside becomes the value of a label.
func TestEveryLabelHasAClosedSetOfValues(t *testing.T) {
	hostile := v1alpha1.BaseImage{ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "secret-project"}}
	hostile.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: "Perhaps"}}
	m, registry := newMetrics(t, hostile)
	before := series(t, registry)
	for _, phase := range []v1alpha1.BuildPhase{v1alpha1.PhaseQueued, v1alpha1.PhaseBuilding, v1alpha1.PhaseSucceeded, v1alpha1.PhaseFailed, v1alpha1.PhaseSuperseded, "Invented"} {
		for _, reason := range []string{"", "Invented", "registry.example", v1alpha1.ReasonTimedOut, v1alpha1.ReasonSuperseded} {
			b := build(t, phase, "Scheduled", v1alpha1.BuildReasonType(reason))
			b.Status.Conditions = append(b.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionSucceeded, Reason: reason})
			m.BuildChanged("", b)
		}
	}
	for status := range 1000 {
		m.RegistryRequest(fmt.Sprintf("METHOD%d", status), status)
		m.RegistryRequest(http.MethodGet, status)
	}
	for _, input := range []Input{Source, Upstream} {
		m.Polled(input, true, nil)
		m.Polled(input, false, nil)
		m.Polled(input, true, errors.New("https://git.example/payments: no such host"))
	}
	m.TrustRootRefreshed(true, errors.New("https://tuf.example: no such host"))
	if diff := cmp.Diff(before, series(t, registry)); diff != "" {
		t.Errorf("there are other series (-before +after):\n%s", diff)
	}
	if len(before) > 150 {
		t.Errorf("there are %d series, more than a scrape should carry", len(before))
	}
}

func TestRequestsCountByWhatTheyDoAndTheClassOfTheAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		method, operation string
		status            int
		result            string
	}{
		"a manifest is read":           {http.MethodGet, "read", 200, "2xx"},
		"a tag is looked at":           {http.MethodHead, "read", 404, "4xx"},
		"a blob is elsewhere":          {http.MethodGet, "read", 307, "3xx"},
		"a manifest is written":        {http.MethodPut, "write", 201, "2xx"},
		"an upload is throttled":       {http.MethodPost, "write", 429, "429"},
		"a registry is down":           {http.MethodPatch, "write", 503, "5xx"},
		"nobody answers":               {http.MethodGet, "read", 0, "error"},
		"an answer that means nothing": {http.MethodGet, "read", 999, "error"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := newMetrics(t)
			m.RegistryRequest(tt.method, tt.status)
			if got := testutil.ToFloat64(m.requests.WithLabelValues(tt.operation, tt.result)); got != 1 {
				t.Errorf("counted %v", got)
			}
		})
	}
}

func TestLooksAtTheTrustRootCountByWhatCameOfThem(t *testing.T) {
	away := errors.New("no such host")
	for name, tt := range map[string]struct {
		changed bool
		failure error
		result  string
	}{
		"it is the same":       {false, nil, "unchanged"},
		"it is another one":    {true, nil, "changed"},
		"it can't be had":      {false, away, "failed"},
		"it changed, and away": {true, away, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := newMetrics(t)
			m.TrustRootRefreshed(tt.changed, tt.failure)
			for _, result := range []string{"unchanged", "changed", "failed"} {
				if got := testutil.ToFloat64(m.trust.WithLabelValues(result)); (got == 1) != (result == tt.result) {
					t.Errorf("%s: counted %v", result, got)
				}
			}
		})
	}
}

func TestOnlyTheLeaderReportsTheState(t *testing.T) {
	m, registry := newMetrics(t)
	names := []string{"basewright_builds_running", "basewright_builds_queued", "basewright_images", "basewright_images_suspended",
		"basewright_image_age_seconds", "basewright_oldest_image_age_seconds"}
	if n, err := testutil.GatherAndCount(registry, names...); err != nil || n != 9 {
		t.Errorf("the leader reports %d series (%v), want 9", n, err)
	}
	m.Report(nil)
	if n, err := testutil.GatherAndCount(registry, names...); err != nil || n != 0 {
		t.Errorf("another replica reports %d series (%v), want none", n, err)
	}
}

func TestImagesThatCannotBeReadAreLeftOutAndTheRestIsThere(t *testing.T) {
	m, registry := newMetrics(t)
	away := errors.New("the cache is away")
	var told error
	m.Report(&State{Queue: func() (int, int, int) { return 1, 0, 0 }, Failed: func(err error) { told = err },
		Images: func(ctx context.Context) ([]v1alpha1.BaseImage, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("a scrape may wait forever")
			}
			return nil, away
		}})
	n, err := testutil.GatherAndCount(registry, "basewright_images", "basewright_oldest_image_age_seconds", "basewright_image_age_seconds")
	if err != nil || n != 0 || !errors.Is(told, away) {
		t.Errorf("there are %d series of images (%v), told %v", n, err, told)
	}
	if n, err := testutil.GatherAndCount(registry, "basewright_builds_running"); err != nil || n != 1 {
		t.Errorf("there are %d series of the queue (%v)", n, err)
	}
}

func image(ready metav1.ConditionStatus, days int, suspend bool) v1alpha1.BaseImage {
	var i v1alpha1.BaseImage
	i.Spec.Suspend = suspend
	if ready != "" {
		i.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: ready}}
	}
	if days > 0 {
		i.Status.Image = &v1alpha1.PromotedImage{BuiltAt: new(metav1.NewTime(noon.AddDate(0, 0, -days)))}
	}
	return i
}

func TestImagesAreReportedAsTheyAreNow(t *testing.T) {
	_, registry := newMetrics(t,
		image(metav1.ConditionTrue, 1, false), image(metav1.ConditionTrue, 8, false), image(metav1.ConditionFalse, 100, false),
		image(metav1.ConditionUnknown, 0, false), image("", 0, false), image(metav1.ConditionTrue, 365, true))
	const day = 24 * 60 * 60
	want := `
# HELP basewright_builds_queued Builds that wait for a slot.
# TYPE basewright_builds_queued gauge
basewright_builds_queued{priority="scheduled"} 1
basewright_builds_queued{priority="urgent"} 2
# HELP basewright_builds_running Builds that have a slot.
# TYPE basewright_builds_running gauge
basewright_builds_running 3
# HELP basewright_images BaseImages, by their condition Ready; Unknown if it has none.
# TYPE basewright_images gauge
basewright_images{ready="False"} 1
basewright_images{ready="True"} 3
basewright_images{ready="Unknown"} 2
# HELP basewright_images_suspended BaseImages with spec.suspend.
# TYPE basewright_images_suspended gauge
basewright_images_suspended 1
` + fmt.Sprintf(`
# HELP basewright_image_age_seconds Time since the images of BaseImages that are not suspended were built, as of now: it does not add up over time.
# TYPE basewright_image_age_seconds histogram
basewright_image_age_seconds_bucket{le="%d"} 1
basewright_image_age_seconds_bucket{le="%d"} 1
basewright_image_age_seconds_bucket{le="%d"} 2
basewright_image_age_seconds_bucket{le="%s"} 2
basewright_image_age_seconds_bucket{le="%s"} 2
basewright_image_age_seconds_bucket{le="+Inf"} 3
basewright_image_age_seconds_sum %d
basewright_image_age_seconds_count 3
# HELP basewright_oldest_image_age_seconds Time since the oldest of these images was built; 0 without any.
# TYPE basewright_oldest_image_age_seconds gauge
basewright_oldest_image_age_seconds %d
`, day, 7*day, 14*day, "2.592e+06", "7.776e+06", 109*day, 100*day)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "basewright_builds_queued", "basewright_builds_running",
		"basewright_images", "basewright_images_suspended", "basewright_image_age_seconds", "basewright_oldest_image_age_seconds"); err != nil {
		t.Error(err)
	}
}
