package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// failedAt is the newest build of an image: it failed at noon on Tuesday for a cause that may pass.
func failedAt(t *testing.T, image *v1alpha1.BaseImage, retry int32, retryable bool) *state {
	t.Helper()
	build := attempt(1, v1alpha1.PhaseFailed, "SpecChanged")
	build.CreationTimestamp = metav1.NewTime(at(t, "2026-11-24T11:00:00Z"))
	build.Spec.Retry, build.Spec.Inputs.Spec = retry, specDigest(&image.Spec)
	build.Status.Retryable, build.Status.CompletedAt = retryable, new(metav1.NewTime(at(t, "2026-11-24T12:00:00Z")))
	return &state{image: image, builds: []v1alpha1.BaseImageBuild{build}, last: summary(&build), set: standard(image)}
}

func TestAFailureThatMayPassIsRetried(t *testing.T) {
	tests := map[string]struct {
		retry     int32
		final     bool
		now       string
		change    func(*v1alpha1.BaseImage)
		want      v1alpha1.BuildReasonType
		wantRetry int32
		next      v1alpha1.BuildReasonType
	}{
		"not at once": {now: "2026-11-24T12:00:59Z", next: v1alpha1.BuildReasonRetried},
		"after a minute and its share of a quarter of one": {now: "2026-11-24T12:01:15Z",
			want: v1alpha1.BuildReasonRetried, wantRetry: 1, next: v1alpha1.BuildReasonScheduled},
		"the second time not after a minute": {retry: 1, now: "2026-11-24T12:03:59Z", next: v1alpha1.BuildReasonRetried},
		"the second time after four":         {retry: 1, now: "2026-11-24T12:05:00Z", want: v1alpha1.BuildReasonRetried, wantRetry: 2, next: v1alpha1.BuildReasonScheduled},
		"the third time after sixteen":       {retry: 2, now: "2026-11-24T12:20:00Z", want: v1alpha1.BuildReasonRetried, wantRetry: 3, next: v1alpha1.BuildReasonScheduled},
		"no fourth time":                     {retry: 3, now: "2026-11-25T12:00:00Z", next: v1alpha1.BuildReasonScheduled},
		"as often as the spec says": {now: "2026-11-24T14:00:00Z", retry: 3, change: func(i *v1alpha1.BaseImage) { i.Spec.Retries = new(int32(4)) },
			want: v1alpha1.BuildReasonRetried, wantRetry: 4, next: v1alpha1.BuildReasonScheduled},
		"never, if the spec says so":           {now: "2026-11-24T14:00:00Z", change: func(i *v1alpha1.BaseImage) { i.Spec.Retries = new(int32(0)) }, next: v1alpha1.BuildReasonScheduled},
		"never, if only another input helps":   {final: true, now: "2026-11-25T12:00:00Z", next: v1alpha1.BuildReasonScheduled},
		"another reason counts from the start": {retry: 2, now: "2026-11-24T12:20:00Z", want: v1alpha1.BuildReasonRequested, next: v1alpha1.BuildReasonScheduled, change: request},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			image := decidable(t)
			s := failedAt(t, image, tc.retry, !tc.final)
			if tc.change != nil {
				tc.change(image)
			}
			s.set, s.now = standard(image), at(t, tc.now)
			p, err := decide(s)
			if err != nil {
				t.Fatal(err)
			}
			var got v1alpha1.BuildReasonType
			if len(p.reasons) == 1 {
				got = p.reasons[0].Type
			}
			if got != tc.want || len(p.reasons) > 1 || p.retry != tc.wantRetry || p.nextReason != tc.next {
				t.Errorf("reasons = %v, retry %d, next %s; want %q, %d, %s", p.reasons, p.retry, p.nextReason, tc.want, tc.wantRetry, tc.next)
			}
		})
	}
}

func request(i *v1alpha1.BaseImage) {
	i.Annotations = map[string]string{v1alpha1.BuildRequestedAtAnnotation: "now"}
}

func TestRetriesOfManyImagesComeApart(t *testing.T) {
	seen := map[time.Duration]bool{}
	for i := range 50 {
		delay := retryDelay(1, time.Duration(i).String())
		if delay < 4*time.Minute || delay >= 5*time.Minute {
			t.Errorf("delay = %s, want it in [4m, 5m)", delay)
		}
		seen[delay] = true
	}
	if len(seen) < 20 {
		t.Errorf("50 images have %d delays", len(seen))
	}
}

func TestWhatCancelsARunningBuild(t *testing.T) {
	tests := map[string]struct {
		reason     v1alpha1.BuildReasonType
		supersedes string // what the running build has taken the place of
		want       bool
	}{
		"another spec":            {reason: v1alpha1.BuildReasonSpecChanged, want: true},
		"a new commit":            {reason: v1alpha1.BuildReasonSourceChanged, want: true},
		"a new upstream":          {reason: v1alpha1.BuildReasonUpstreamChanged, want: true},
		"not a request":           {reason: v1alpha1.BuildReasonRequested},
		"not the schedule":        {reason: v1alpha1.BuildReasonScheduled},
		"not a second new commit": {reason: v1alpha1.BuildReasonSourceChanged, supersedes: "one-1"},
		"a second new spec":       {reason: v1alpha1.BuildReasonSpecChanged, supersedes: "one-1", want: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			running := attempt(2, v1alpha1.PhaseBuilding, "SpecChanged")
			running.Spec.Supersedes = tc.supersedes
			s := &state{builds: []v1alpha1.BaseImageBuild{running}}
			p := &plan{}
			if p.mayStart(s) {
				t.Error("a build starts without a reason")
			}
			p.because(tc.reason, "a", "b")
			if got := p.mayStart(s); got != tc.want {
				t.Errorf("mayStart = %t, want %t", got, tc.want)
			}
			s.builds[0].Status.Phase = v1alpha1.PhaseFailed
			if !p.mayStart(s) {
				t.Error("nothing runs, and the build does not start")
			}
		})
	}
}

// An upgrade must not build every image: these digests are in the status of images that older versions have built.
func TestTheDigestOfASpecNeverChanges(t *testing.T) {
	full := v1alpha1.BaseImageSpec{Dockerfile: "Dockerfile", Target: "final",
		Source:    v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://git.example/images", Ref: "main", Path: "wolfi"}},
		BuildArgs: []v1alpha1.BuildArg{{Name: "A", Value: "1"}},
		Platforms: []v1alpha1.PlatformBuild{{Platform: "linux/amd64"}, {Platform: "linux/arm64", NodeSelector: map[string]string{"a": "b"}}},
		Output:    v1alpha1.Output{Repository: "registry.example/base/one", Tags: []v1alpha1.Tag{"1", "latest"}, PushSecretRef: &v1alpha1.LocalReference{Name: "push"}},
		Upstream:  v1alpha1.UpstreamPolicy{Refresh: v1alpha1.RefreshAlways}}
	inline := v1alpha1.BaseImageSpec{Source: v1alpha1.Source{Inline: &v1alpha1.InlineSource{Dockerfile: "FROM scratch\n"}}}
	for want, spec := range map[string]*v1alpha1.BaseImageSpec{
		"sha256:58e1578535157ea2699a6a85fa4726d34155af3f45e7853c77dce056a9f32639": &full,
		"sha256:64734724beb52b32cd72b08c5c36052553e13d1fe357c343ee4ffabc019e538f": &inline,
	} {
		if got := specDigest(spec); got != want {
			t.Errorf("digest = %s, it was %s", got, want)
		}
		// What does not decide what is built.
		spec.Schedule, spec.TimeZone, spec.Suspend, spec.Retries = "@daily", "Europe/Berlin", true, new(int32(9))
		interval := metav1.Duration{Duration: time.Hour}
		spec.Jitter, spec.StartingDeadline, spec.Timeout = &interval, &interval, &interval
		spec.Source.PollInterval, spec.Upstream.PollInterval = &interval, &interval
		spec.History.Failed = new(int32(9))
		if got := specDigest(spec); got != want {
			t.Errorf("digest = %s after a change that builds nothing, it was %s", got, want)
		}
	}
}
