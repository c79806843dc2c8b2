package limits

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// problems by the path of their field.
func problems(l Limits) map[string]string {
	found := map[string]string{}
	l.Validate(func(section, field, problem string) { found[section+"."+field] = problem })
	return found
}

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*Limits)
		want   map[string]string
	}{
		"the defaults":    {func(*Limits) {}, map[string]string{}},
		"the hard maxima": {func(l *Limits) { *l = Maximum() }, map[string]string{}},
		"a manifest of 256Gi": {func(l *Limits) { l.Registry.ManifestBytes = 256 << 30 },
			map[string]string{"registry.manifestBytes": "256Gi is more than the hard maximum of 64Mi"}},
		"one nanosecond too long": {func(l *Limits) { l.Source.Timeout = Duration(time.Hour + 1) },
			map[string]string{"source.timeout": "1h0m0.000000001s is more than the hard maximum of 1h"}},
		"none and less than none": {func(l *Limits) { l.Source.Files, l.Build.PassTimeout = 0, -1 },
			map[string]string{"source.files": "0 must be more than 0", "build.passTimeout": "-1ns must be more than 0"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := Limits{}.WithDefaults()
			tt.change(&l)
			if diff := cmp.Diff(tt.want, problems(l)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryLimitHasAMaximum(t *testing.T) {
	most := Maximum()
	if filled := most.WithDefaults(); filled != most {
		t.Errorf("a limit has no hard maximum: %+v", cmp.Diff(most, filled))
	}
	over := reflect.New(reflect.TypeFor[Limits]()).Elem()
	over.Set(reflect.ValueOf(most))
	fields := 0
	for _, section := range over.Fields() {
		for _, limit := range section.Fields() {
			limit.SetInt(limit.Int() + 1)
			fields++
		}
	}
	if found := problems(over.Interface().(Limits)); len(found) != fields {
		t.Errorf("%d of %d limits above their maximum were refused: %v", len(found), fields, found)
	}
}
