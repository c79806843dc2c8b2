package verdict

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/rules"
)

func TestWhatPlatformsAgreeOn(t *testing.T) {
	of := func(user string, labels ...string) rules.ImageFacts {
		f := rules.ImageFacts{Known: true, User: user, Labels: map[string]string{}}
		for _, l := range labels {
			f.Labels[l] = "x"
		}
		return f
	}
	other := of("1", "a")
	other.Labels["a"] = "y"
	for desc, tt := range map[string]struct{ a, b, want rules.ImageFacts }{
		"everything":               {of("1", "a"), of("1", "a"), of("1", "a")},
		"not on the user":          {of("1", "a"), of("0", "a"), of("", "a")},
		"one has a user":           {of("1"), of(""), of("")},
		"not on the labels":        {of("1", "a", "b"), of("1", "b", "c"), of("1", "b")},
		"not on the value of one":  {of("1", "a"), other, of("1")},
		"nobody has looked at one": {of("1"), rules.ImageFacts{User: "1"}, rules.ImageFacts{User: "1", Labels: map[string]string{}}},
	} {
		t.Run(desc, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, agree(tt.a, tt.b)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatTestsSayOfShells(t *testing.T) {
	for desc, tt := range map[string]struct {
		statement string
		want      rules.Shells
	}{
		"none was found":         {`{"predicate":{"result":"PASSED","passedTests":["user","no-shell"]}}`, rules.ShellsNone},
		"one was found":          {`{"predicate":{"result":"FAILED","failedTests":["no-shell"]}}`, rules.ShellsFound},
		"both":                   {`{"predicate":{"passedTests":["no-shell"],"failedTests":["no-shell"]}}`, rules.ShellsFound},
		"another test failed":    {`{"predicate":{"passedTests":["no-shell"],"failedTests":["user"]}}`, rules.ShellsNone},
		"nobody looked for them": {`{"predicate":{"result":"PASSED","passedTests":["user"]}}`, rules.ShellsUnknown},
		"a result alone":         {`{"predicate":{"result":"PASSED"}}`, rules.ShellsUnknown},
		"another predicate":      {`{"predicate":"no-shell"}`, rules.ShellsUnknown},
		"nothing":                {``, rules.ShellsUnknown},
	} {
		t.Run(desc, func(t *testing.T) {
			if got := shellsOf([]byte(tt.statement)); got != tt.want {
				t.Errorf("%q", got)
			}
		})
	}
	if worst(rules.ShellsNone, rules.ShellsUnknown) != rules.ShellsUnknown || worst(rules.ShellsUnknown, rules.ShellsFound) != rules.ShellsFound {
		t.Error("what nobody knows is taken for known")
	}
}
