package main

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ibshafique/base-images/internal/metrics"
)

// series are the types and labels of all metrics of ours, by name.
func series(t *testing.T) map[string]string {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.NewAdmission(), (&certificates{}).expiry())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range families {
		labels := []string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		all[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
	}
	return all
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| `(basewright_\\w+)` \\| (\\w+) \\| ([^|]*) \\| [^|]+ \\|$")
	word      = regexp.MustCompile("`(\\w+)`")
	asksFor   = regexp.MustCompile(`\b(basewright_\w+?)(_bucket)?\b(?:\{decision="(\w+)"\})?[^\w]`)
	alertRow  = regexp.MustCompile("(?m)^\\| `(Basewright\\w+)` \\| [^|]+ \\|$")
	alert     = regexp.MustCompile(`(?m)^ *- alert: (\w+)$`)
)

func file(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheDocumentedMetricsAreThoseOfTheCode(t *testing.T) {
	docs := map[string]string{}
	for _, row := range metricRow.FindAllStringSubmatch(file(t, "../../docs/webhook.md"), -1) {
		labels := []string{}
		for _, l := range word.FindAllStringSubmatch(row[3], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		docs[row[1]] = row[2] + " " + strings.Join(labels, ",")
	}
	if diff := cmp.Diff(series(t), docs); diff != "" {
		t.Errorf("docs/webhook.md (-code +documentation):\n%s", diff)
	}
}

func TestTheAlertsAskForWhatThereIs(t *testing.T) {
	rules := file(t, "../../config/prometheus/webhook_rules.yaml")
	code, asked := series(t), 0
	for _, s := range asksFor.FindAllStringSubmatch(rules, -1) {
		asked++
		what, ok := code[s[1]]
		if !ok || (s[2] != "") != strings.HasPrefix(what, "histogram") {
			t.Errorf("there is no %s%s, but %v", s[1], s[2], slices.Sorted(maps.Keys(code)))
		}
		if s[3] != "" && s[3] != "failed" {
			t.Errorf("there is no decision %s", s[3])
		}
	}
	if asked < 6 {
		t.Errorf("the alerts ask for %d metrics", asked)
	}
	var there, documented []string
	for _, a := range alert.FindAllStringSubmatch(rules, -1) {
		there = append(there, a[1])
	}
	for _, a := range alertRow.FindAllStringSubmatch(file(t, "../../docs/webhook.md"), -1) {
		documented = append(documented, a[1])
	}
	if diff := cmp.Diff(there, documented); diff != "" {
		t.Errorf("alerts (-there +documented): %s", diff)
	}
}

var flagRow = regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| (?:`([^`]+)`|none) \\| [^|]+ \\|$")

func TestTheDocumentedFlagsAreThoseOfTheCode(t *testing.T) {
	var help strings.Builder
	_, _ = parse([]string{"--help"}, &help)
	documented := 0
	for _, row := range flagRow.FindAllStringSubmatch(file(t, "../../docs/webhook.md"), -1) {
		documented++
		_, text, found := strings.Cut(help.String(), "\n  -"+row[1]+" ")
		line := strings.SplitN(text, "\n", 3)
		if !found || row[2] != "" && !strings.Contains(strings.ReplaceAll(line[1], `"`, ""), "(default "+row[2]+")") {
			t.Errorf("--%s: %q", row[1], line)
		}
	}
	if ours := strings.Count(help.String(), "\n  -") - strings.Count(help.String(), "\n  -zap-"); documented != ours {
		t.Errorf("%d flags are documented, there are %d", documented, ours)
	}
}
