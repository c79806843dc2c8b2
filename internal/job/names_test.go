package job

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestNamesAreValid(t *testing.T) {
	var names []string
	for length := 1; length <= 63; length++ {
		a := strings.Repeat("a", length)
		names = append(names, a)
		for dashes := 1; dashes < length-1; dashes++ {
			names = append(names, "a"+strings.Repeat("-", dashes)+a[dashes+1:])
		}
	}
	for _, base := range names {
		for _, attempt := range []int64{1, 99, 1<<63 - 1} {
			name := BuildName(base, attempt, "decision")
			if len(name) > 41 {
				t.Fatalf("%s has %d characters", name, len(name))
			}
			for _, n := range []string{name, name + "-scan-input", Name(name, "test-arm64"), Name(base, "test-arm64")} {
				if strings.HasPrefix(n, NamePrefix) && !strings.HasSuffix(n, "-test-arm64") {
					t.Fatalf("%s does not say what it is for", n)
				}
				if errs := validation.IsDNS1123Label(n); len(errs) > 0 {
					t.Fatalf("BuildName(%q, %d): %q: %v", base, attempt, n, errs)
				}
			}
		}
	}
}

func TestNamesOfWhatABuildNeeds(t *testing.T) {
	long := strings.Repeat("a", 52)
	tests := map[string]struct{ build, want string }{
		"a build is named in full":                    {"wolfi-3-ab12cd", "basewright-wolfi-3-ab12cd-test-arm64"},
		"the longest build too":                       {long[:41], "basewright-" + long[:41] + "-test-arm64"},
		"one that an older operator has named is cut": {long, "basewright-" + long[:34] + "-6c1b3d-test-arm64"},
		"and one that differs at its end is another":  {long[1:] + "b", "basewright-" + long[:34] + "-cfb5e7-test-arm64"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if got := Name(tt.build, "test-arm64"); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestBuildNameIsTheSameForTheSameDecision(t *testing.T) {
	for _, base := range []string{"wolfi", strings.Repeat("a", 63)} {
		if a, b := BuildName(base, 3, "x", "y"), BuildName(base, 3, "x", "y"); a != b {
			t.Errorf("%s is not %s", a, b)
		}
	}
	if got, prefix := BuildName("wolfi", 3, "x"), "wolfi-3-"; !strings.HasPrefix(got, prefix) || len(got) != len(prefix)+6 {
		t.Errorf("got %s", got)
	}
}

func TestBuildNameDiffers(t *testing.T) {
	long := strings.Repeat("a", 60)
	seen := map[string]string{}
	for desc, name := range map[string]string{
		"a name":                           BuildName("wolfi", 3, "x", "y"),
		"another base image":               BuildName("wolfi2", 3, "x", "y"),
		"another attempt":                  BuildName("wolfi", 4, "x", "y"),
		"another decision":                 BuildName("wolfi", 3, "x", "z"),
		"the same text in other parts":     BuildName("wolfi", 3, "xy"),
		"no decision":                      BuildName("wolfi", 3),
		"a long name":                      BuildName(long+"x", 3, "x", "y"),
		"a long name with the same start":  BuildName(long+"y", 3, "x", "y"),
		"a long name, another decision":    BuildName(long+"x", 3, "x"),
		"a long name with another attempt": BuildName(long+"x", 33, "x", "y"),
	} {
		if other, twice := seen[name]; twice {
			t.Errorf("%s and %s are both called %s", desc, other, name)
		}
		seen[name] = desc
	}
}
