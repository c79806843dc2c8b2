package limits

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAdmissionHasDefaultsAndMaxima(t *testing.T) {
	defaults, most := reflect.ValueOf(Admission{}.WithDefaults()), MaximumAdmission()
	over := reflect.New(reflect.TypeFor[Admission]()).Elem()
	over.Set(reflect.ValueOf(most))
	for i := range over.NumField() {
		if defaults.Field(i).IsZero() || over.Field(i).IsZero() {
			t.Errorf("%s has no default, or no hard maximum", over.Type().Field(i).Name)
		}
		over.Field(i).SetInt(over.Field(i).Int() + 1)
	}
	set := over.Interface().(Admission)
	if got := set.WithDefaults(); got != set {
		t.Errorf("WithDefaults changed %+v to %+v", set, got)
	}
	if got := admissionProblems(set); len(got) != over.NumField() {
		t.Errorf("%d of %d limits above their maximum were refused: %v", len(got), over.NumField(), got)
	}
}

func TestAdmissionIsValidated(t *testing.T) {
	tests := map[string]struct {
		limits Admission
		want   map[string]string
	}{
		"the defaults":    {Admission{}, map[string]string{}},
		"the hard maxima": {MaximumAdmission(), map[string]string{}},
		"less than none, and too long": {Admission{Verdicts: -1, Timeout: Duration(30 * time.Second)}, map[string]string{
			"admission.verdicts": "-1 must be more than 0", "admission.timeout": "30s is more than the hard maximum of 25s"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, admissionProblems(tt.limits.WithDefaults())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func admissionProblems(l Admission) map[string]string {
	found := map[string]string{}
	l.Validate(func(section, field, problem string) { found[section+"."+field] = problem })
	return found
}
