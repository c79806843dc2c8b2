package controllers

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// decidable is an image created at ten o'clock on a Monday with a weekly schedule.
func decidable(t *testing.T) *v1alpha1.BaseImage {
	image := scheduled("0 0 * * 0", "UTC", 0, 24*time.Hour)
	image.CreationTimestamp = metav1.NewTime(at(t, "2026-11-23T10:00:00Z"))
	image.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://git.example/images", Ref: "main"}
	image.Spec.Output.Repository = "registry.example/base/one"
	return image
}

func TestDecide(t *testing.T) {
	tests := map[string]struct {
		now    string
		change func(*v1alpha1.BaseImage)
		// built says when the last build of the unchanged spec was started; empty before the first.
		built string
		want  []v1alpha1.BuildReasonType
		next  string
	}{
		"a new image is built": {
			now: "2026-11-23T10:00:01Z", want: []v1alpha1.BuildReasonType{v1alpha1.BuildReasonSpecChanged}, next: "2026-11-29T00:00:00Z"},
		"an image that was built rests until its schedule": {
			now: "2026-11-25T10:00:00Z", built: "2026-11-23T10:00:01Z", next: "2026-11-29T00:00:00Z"},
		"a restart of the operator builds nothing": {
			now: "2026-11-23T10:00:02Z", built: "2026-11-23T10:00:01Z", next: "2026-11-29T00:00:00Z"},
		"the schedule builds": {
			now: "2026-11-29T00:00:00Z", built: "2026-11-23T10:00:01Z", want: []v1alpha1.BuildReasonType{v1alpha1.BuildReasonScheduled}, next: "2026-12-06T00:00:00Z"},
		"another repository builds": {
			now: "2026-11-25T10:00:00Z", built: "2026-11-23T10:00:01Z", next: "2026-11-29T00:00:00Z",
			change: func(i *v1alpha1.BaseImage) { i.Spec.Output.Repository = "registry.example/base/two" },
			want:   []v1alpha1.BuildReasonType{v1alpha1.BuildReasonSpecChanged}},
		"another build argument builds": {
			now: "2026-11-25T10:00:00Z", built: "2026-11-23T10:00:01Z", next: "2026-11-29T00:00:00Z",
			change: func(i *v1alpha1.BaseImage) { i.Spec.BuildArgs = []v1alpha1.BuildArg{{Name: "A", Value: "1"}} },
			want:   []v1alpha1.BuildReasonType{v1alpha1.BuildReasonSpecChanged}},
		"another schedule builds nothing": {
			now: "2026-11-25T10:00:00Z", built: "2026-11-23T10:00:01Z", next: "2026-11-26T00:00:00Z",
			change: func(i *v1alpha1.BaseImage) {
				i.Spec.Schedule = "0 0 * * *"
				i.Spec.StartingDeadline.Duration = time.Hour
			}},
		"another schedule builds nothing for times that have passed": {
			now: "2026-11-25T10:00:00Z", built: "2026-11-23T10:00:01Z", next: "2026-11-26T00:00:00Z",
			change: func(i *v1alpha1.BaseImage) {
				i.Status.ObservedSchedule = "0 0 * * 0 UTC +0s"
				i.Spec.Schedule = "0 0 * * *"
			}},
		"a shorter delay loses no run": {
			now: "2026-11-29T00:00:01Z", built: "2026-11-23T10:00:01Z", next: "2026-12-06T00:00:00Z",
			change: func(i *v1alpha1.BaseImage) { i.Status.ObservedSchedule = "0 0 * * 0 UTC +6h0m0s" },
			want:   []v1alpha1.BuildReasonType{v1alpha1.BuildReasonScheduled}},
		"a run that was missed is made up for": {
			now: "2026-11-29T10:00:00Z", built: "2026-11-23T10:00:01Z", next: "2026-12-06T00:00:00Z",
			change: func(i *v1alpha1.BaseImage) { i.Status.ObservedSchedule = "0 0 * * 0 UTC +0s" },
			want:   []v1alpha1.BuildReasonType{v1alpha1.BuildReasonScheduled}},
		"another history limit builds nothing": {
			now: "2026-11-25T10:00:00Z", built: "2026-11-23T10:00:01Z", next: "2026-11-29T00:00:00Z",
			change: func(i *v1alpha1.BaseImage) { i.Spec.History.Failed = ptr.To[int32](9) }},
		"a request builds": {
			now: "2026-11-25T10:00:00Z", built: "2026-11-23T10:00:01Z", next: "2026-11-29T00:00:00Z",
			change: func(i *v1alpha1.BaseImage) {
				i.Annotations = map[string]string{v1alpha1.BuildRequestedAtAnnotation: "2026-11-25T09:59:00Z"}
			},
			want: []v1alpha1.BuildReasonType{v1alpha1.BuildReasonRequested}},
		"all reasons are told": {
			now: "2026-11-29T00:00:00Z", built: "2026-11-23T10:00:01Z", next: "2026-12-06T00:00:00Z",
			change: func(i *v1alpha1.BaseImage) {
				i.Annotations = map[string]string{v1alpha1.BuildRequestedAtAnnotation: "now"}
				i.Spec.Target = "debug"
			},
			want: []v1alpha1.BuildReasonType{v1alpha1.BuildReasonSpecChanged, v1alpha1.BuildReasonRequested, v1alpha1.BuildReasonScheduled}},
		"a suspended image has no scheduled run due": {
			now: "2026-11-29T00:00:00Z", built: "2026-11-23T10:00:01Z", next: "2026-12-06T00:00:00Z",
			change: func(i *v1alpha1.BaseImage) { i.Spec.Suspend = true }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			image := decidable(t)
			s := &state{image: image, set: standard(image), now: at(t, tc.now)}
			if tc.built != "" {
				s.last = &v1alpha1.BuildSummary{Attempt: 1, Phase: v1alpha1.PhaseSucceeded, Inputs: v1alpha1.BuildInputs{Spec: specDigest(&image.Spec)},
					CreatedAt: new(metav1.NewTime(at(t, tc.built)))}
			}
			if tc.change != nil {
				tc.change(image)
			}
			s.set = standard(image)
			p, err := decide(s)
			if err != nil {
				t.Fatalf("decide: %v", err)
			}
			var got []v1alpha1.BuildReasonType
			for _, r := range p.reasons {
				got = append(got, r.Type)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			if got := timestamp(p.next); got != tc.next {
				t.Errorf("next = %s, want %s", got, tc.next)
			}
		})
	}
}

func TestDecideAfterTheNewestBuildWasDeleted(t *testing.T) {
	for phase, want := range map[v1alpha1.BuildPhase]int{
		"": 1, v1alpha1.PhaseBuilding: 1, v1alpha1.PhasePromoting: 1, v1alpha1.PhaseSucceeded: 0, v1alpha1.PhaseFailed: 0,
	} {
		image := decidable(t)
		s := &state{image: image, set: standard(image), now: at(t, "2026-11-25T10:00:00Z"),
			builds: []v1alpha1.BaseImageBuild{attempt(1, v1alpha1.PhaseSucceeded, "SpecChanged")},
			last: &v1alpha1.BuildSummary{Name: "one-2", Attempt: 2, Phase: phase, Inputs: v1alpha1.BuildInputs{Spec: specDigest(&image.Spec)},
				CreatedAt: new(metav1.NewTime(at(t, "2026-11-24T10:00:00Z")))}}
		p, err := decide(s)
		if err != nil || len(p.reasons) != want {
			t.Errorf("after a build in phase %q was deleted: reasons %v (%v), want %d", phase, p.reasons, err, want)
		}
		if want == 1 && p.reasons[0].Type != v1alpha1.BuildReasonBuildDeleted {
			t.Errorf("reason = %s, want BuildDeleted", p.reasons[0].Type)
		}
	}
}

func TestARunIsNotBuiltTwiceByAClockThatIsAhead(t *testing.T) {
	image := decidable(t)
	s := &state{image: image, set: standard(image), now: at(t, "2026-11-29T00:00:10Z"), last: &v1alpha1.BuildSummary{Attempt: 2, Phase: v1alpha1.PhaseSucceeded,
		Inputs: v1alpha1.BuildInputs{Spec: specDigest(&image.Spec), ScheduledFor: "2026-11-29T00:00:00Z"},
		// The apiserver dated the build a little before the run it is for.
		CreatedAt: new(metav1.NewTime(at(t, "2026-11-28T23:59:57Z")))}}
	if p, err := decide(s); err != nil || len(p.reasons) != 0 {
		t.Errorf("reasons = %v (%v), want none", p.reasons, err)
	}
}

func TestALongerDelayDoesNotBuildARunAgain(t *testing.T) {
	image := decidable(t)
	image.Spec.Jitter.Duration = 20 * time.Hour
	table, err := timetableOf(image)
	if err != nil || table.offset < time.Hour {
		t.Fatalf("the delay is %s (%v), want some", table.offset, err)
	}
	image.Status.ObservedSchedule = observed{name: table.name}.String() // Without any delay.
	s := &state{image: image, set: standard(image), now: at(t, "2026-11-29T00:00:00Z").Add(table.offset + time.Minute),
		last: &v1alpha1.BuildSummary{Attempt: 2, Phase: v1alpha1.PhaseSucceeded,
			Inputs:    v1alpha1.BuildInputs{Spec: specDigest(&image.Spec), ScheduledFor: "2026-11-29T00:00:00Z"},
			CreatedAt: new(metav1.NewTime(at(t, "2026-11-29T00:00:02Z")))}}
	if p, err := decide(s); err != nil || len(p.reasons) != 0 {
		t.Errorf("reasons = %v (%v), want none", p.reasons, err)
	}
}

func TestWhatIsObservedOfAScheduleCanBeReadAgain(t *testing.T) {
	o := observed{name: "0 0 * * 0 Etc/GMT+3", offset: 28*time.Minute + 8*time.Second}
	if got, ok := parseObserved(o.String()); !ok || got != o {
		t.Errorf("parseObserved(%q) = %+v, %t", o, got, ok)
	}
	for _, text := range []string{"", "0 0 * * 0 UTC", "0 0 * * 0 UTC +soon"} {
		if o, ok := parseObserved(text); ok {
			t.Errorf("parseObserved(%q) = %+v", text, o)
		}
	}
}

func TestALongRequestIsTheSameWhenItComesBack(t *testing.T) {
	image := decidable(t)
	image.Annotations = map[string]string{v1alpha1.BuildRequestedAtAnnotation: strings.Repeat("a", 255) + "é"}
	s := &state{image: image, set: standard(image), now: at(t, "2026-11-25T10:00:00Z")}
	p, err := decide(s)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(p.inputs)
	if err != nil {
		t.Fatal(err)
	}
	s.last = &v1alpha1.BuildSummary{Name: "one-1", Attempt: 1, Phase: v1alpha1.PhaseSucceeded, CreatedAt: new(metav1.NewTime(s.now))}
	if err := json.Unmarshal(raw, &s.last.Inputs); err != nil {
		t.Fatal(err)
	}
	if p, err = decide(s); err != nil || len(p.reasons) != 0 {
		t.Errorf("the same request builds again: %v (%v)", p.reasons, err)
	}
}

func TestDecideRecordsOldAndNewValues(t *testing.T) {
	image := decidable(t)
	image.Annotations = map[string]string{v1alpha1.BuildRequestedAtAnnotation: "second"}
	s := &state{image: image, set: standard(image), now: at(t, "2026-11-25T10:00:00Z"), last: &v1alpha1.BuildSummary{Phase: v1alpha1.PhaseSucceeded,
		Inputs:    v1alpha1.BuildInputs{Spec: specDigest(&image.Spec), RequestedAt: "first"},
		CreatedAt: new(metav1.NewTime(at(t, "2026-11-24T10:00:00Z")))}}
	p, err := decide(s)
	if err != nil {
		t.Fatal(err)
	}
	want := []v1alpha1.BuildReason{{Type: v1alpha1.BuildReasonRequested, Old: "first", New: "second"}}
	if diff := cmp.Diff(want, p.reasons); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
}
