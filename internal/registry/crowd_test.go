package registry

import (
	"strings"
	"testing"
)

func TestCrowdedManifests(t *testing.T) {
	for desc, tt := range map[string]struct {
		raw  string
		want bool
	}{
		"few":                  {`{"a":[{},{}]}`, false},
		"many":                 {`[` + strings.Repeat("{},", maxValues/2) + `{}]`, true},
		"many in a text":       {`["` + strings.Repeat("{},", maxValues) + `"]`, false},
		"many after a quote":   {`["\"",` + strings.Repeat("{},", maxValues) + `{}]`, true},
		"many after an escape": {`["\\",` + strings.Repeat("{},", maxValues) + `{}]`, true},
		"no JSON":              {strings.Repeat(",", maxValues+1), true},
	} {
		t.Run(desc, func(t *testing.T) {
			if got := crowded([]byte(tt.raw)); got != tt.want {
				t.Errorf("%v", got)
			}
		})
	}
}
