package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

type summed struct{ count, sum float64 }

// observed is what a histogram has, by the value of its only label.
func observed(t *testing.T, registry prometheus.Gatherer, name string) map[string]summed {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]summed{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			if f.GetName() != name {
				continue
			}
			value := ""
			for _, l := range s.GetLabel() {
				value = l.GetValue()
			}
			all[value] = summed{float64(s.GetHistogram().GetSampleCount()), s.GetHistogram().GetSampleSum()}
		}
	}
	return all
}

// constants are the values of the string constants of a package whose names begin with prefix.
func constants(t *testing.T, dir, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s (%v)", dir, err)
	}
	var values []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) == 0 {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
			return true
		})
	}
	return values
}

// notOfFailedBuilds are reasons that no build fails for.
var notOfFailedBuilds = []string{"Promoted", "Building", "BuildCreated", "Queued", "Superseded", "Suspended", "Succeeded", "Pending", "ScheduleInvalid",
	"Scanning", "NoPackagesFound", "Testing", "TestsSkipped", "CodeScanningRefused", "CodeScanningUnavailable", "GitHubTokenInvalid",
	"ImageRefused", "PlatformMissing", "AdmissionBusy",
	"NoPolicy", "TooManyImages", "TagRefused", "RuntimeRule", "PolicyNotReady", "AdmissionTimeout",
	"InForce", "PolicyUnsupported", "PolicyKeyNotFound", "PoliciesNotLoaded"}

func TestEveryReasonIsInItsList(t *testing.T) {
	const api = "../../api/v1alpha1"
	for name, tt := range map[string]struct{ list, want []string }{
		"of failures": {slices.Concat(failureReasons, notOfFailedBuilds), append(slices.Concat(constants(t, api, "Reason"), constants(t, "../pipeline", "Reason")), other)},
		"of builds":   {buildReasons, append(constants(t, api, "BuildReason"), other)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(slices.Sorted(slices.Values(tt.want)), slices.Sorted(slices.Values(tt.list))); diff != "" {
				t.Errorf("constants and lists differ: say of a new reason whether builds fail for it (-constants +lists):\n%s", diff)
			}
		})
	}
}

// documented is what the code or the documentation says of a metric: its type, and the values of its labels.
type documented struct {
	Type   string
	Labels map[string][]string
}

// catalogue has what the code says. Every series is there from the start.
func catalogue(t *testing.T) map[string]documented {
	t.Helper()
	_, registry := newMetrics(t)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]documented{}
	for _, f := range families {
		d := documented{strings.ToLower(f.GetType().String()), map[string][]string{}}
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if v := l.GetValue(); v != "" && !slices.Contains(d.Labels[l.GetName()], v) {
					d.Labels[l.GetName()] = append(d.Labels[l.GetName()], v)
				}
			}
		}
		all[f.GetName()] = d
	}
	return all
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| `(basewright_\\w+)` \\| (\\w+) \\| ([^|]*) \\| [^|]+ \\|$")
	// A label with its values, or with words in their place where they are listed elsewhere.
	labelCell = regexp.MustCompile("`(\\w+)`(?:: ([^;]+))?")
	quoted    = regexp.MustCompile("`(\\w+)`")
)

func TestTheDocumentedMetricsAreThoseOfTheCode(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	code, docs := catalogue(t), map[string]documented{}
	for _, row := range metricRow.FindAllStringSubmatch(string(text), -1) {
		d := documented{row[2], map[string][]string{}}
		for _, label := range labelCell.FindAllStringSubmatch(row[3], -1) {
			for _, value := range quoted.FindAllStringSubmatch(label[2], -1) {
				d.Labels[label[1]] = append(d.Labels[label[1]], value[1])
			}
			if len(d.Labels[label[1]]) == 0 { // In words.
				d.Labels[label[1]] = code[row[1]].Labels[label[1]]
			}
			slices.Sort(d.Labels[label[1]])
		}
		docs[row[1]] = d
	}
	for _, d := range code {
		for label := range d.Labels {
			slices.Sort(d.Labels[label])
		}
	}
	if diff := cmp.Diff(code, docs); diff != "" {
		t.Errorf("docs/configuration.md (-code +documentation):\n%s", diff)
	}
}

var (
	selector = regexp.MustCompile(`\b(basewright_\w+?)(_bucket|_count|_sum)?\b(?:\{([^}]*)\})?[^\w]`)
	matcher  = regexp.MustCompile(`(\w+)(=~?)"([^"]*)"`)
)

func TestTheAlertsAskForWhatThereIs(t *testing.T) {
	rules, err := os.ReadFile("../../config/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	code := catalogue(t)
	found := selector.FindAllStringSubmatch(string(rules), -1)
	if len(found) < 5 {
		t.Fatalf("found %d selectors", len(found))
	}
	for _, s := range found {
		d, ok := code[s[1]]
		if !ok || (s[2] != "") != (d.Type == "histogram") {
			t.Errorf("there is no %s%s, but %v", s[1], s[2], slices.Sorted(maps.Keys(code)))
		}
		for _, m := range matcher.FindAllStringSubmatch(s[3], -1) {
			if m[1] == "le" && s[2] == "_bucket" {
				if !slices.Contains(lagBuckets, 3600) {
					t.Errorf("%s has no bucket of an hour", s[1])
				}
				continue
			}
			if !slices.Contains(d.Labels[m[1]], m[3]) {
				t.Errorf("%s has no %s=%s", s[1], m[1], m[3])
			}
		}
	}
}
