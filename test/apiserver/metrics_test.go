//go:build apiserver

package apiserver

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// scrape has what the operator reports now: name and values of labels to the value, of a histogram the count.
func (o *operator) scrape() map[string]float64 {
	o.t.Helper()
	families, err := o.metrics.Gather()
	o.check(err, "scraping the metrics")
	all := map[string]float64{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			key := f.GetName()
			for _, l := range s.GetLabel() {
				key += " " + l.GetValue()
			}
			all[key] = s.GetCounter().GetValue() + s.GetGauge().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// awaitMetrics waits until a scrape has these.
func (o *operator) awaitMetrics(want map[string]float64) {
	o.t.Helper()
	o.await("the metrics", func() (bool, string) {
		got := o.scrape()
		for key, value := range want {
			if present, ok := got[key]; !ok || present != value {
				return false, fmt.Sprintf("%s is %v (%t), want %v", key, present, ok, value)
			}
		}
		return true, ""
	})
}

func TestAScrapeTellsOfABuild(t *testing.T) {
	o := newOperator(t)
	image := o.image("counted")
	jobs := o.awaitJobs(o.awaitBuild(1).Name)
	o.awaitMetrics(map[string]float64{"basewright_build_starts_total SpecChanged": 1, "basewright_builds_running": 1,
		"basewright_builds_queued urgent": 0, "basewright_images False": 1, "basewright_oldest_image_age_seconds": 0})
	for _, job := range jobs {
		o.succeed(job)
	}
	o.awaitCondition(image, "Ready", metav1.ConditionTrue, "Promoted")
	ended := map[string]float64{"basewright_builds_total  succeeded": 1, "basewright_build_starts_total SpecChanged": 1, "basewright_builds_running": 0,
		"basewright_build_duration_seconds total": 1, "basewright_build_duration_seconds index": 1, "basewright_schedule_lag_seconds": 0,
		"basewright_images True": 1, "basewright_images False": 0, "basewright_image_age_seconds": 1}
	o.awaitMetrics(ended)
	o.clock.SetTime(o.clock.Now().Add(48 * time.Hour))
	if age := o.scrape()["basewright_oldest_image_age_seconds"]; age < 48*60*60 || age > 49*60*60 {
		t.Errorf("two days later the image is %v seconds old", age)
	}
	o.stop()
	if got, leads := o.scrape()["basewright_images True"]; leads {
		t.Errorf("an operator that has ended reports %v images", got)
	}
	o.start() // What has ended is not counted anew.
	o.awaitMetrics(map[string]float64{"basewright_images True": 1, "basewright_builds_total  succeeded": 0, "basewright_build_starts_total SpecChanged": 0})
}
