package attest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ibshafique/base-images/internal/pipeline"
)

func buildTypePage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "build-type.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// firstCells are the fields that a section lists.
func firstCells(t *testing.T, page, section string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n## "+section+"\n")
	if !ok {
		t.Fatalf("docs/build-type.md has no section %q", section)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	var all []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// fieldsOf are the paths of the scalars and lists of parameters, other than below the names in whole.
func fieldsOf(parameters *structpb.Struct, path string, whole ...string) []string {
	var all []string
	for name, v := range parameters.GetFields() {
		if below := v.GetStructValue(); below != nil && !slices.Contains(whole, name) {
			all = append(all, fieldsOf(below, path+name+".", whole...)...)
			continue
		}
		all = append(all, path+name)
	}
	return all
}

func TestThePageListsEveryParameter(t *testing.T) {
	external, internal := map[string]bool{}, map[string]bool{}
	for _, in := range []ProvenanceInput{provenanceOf(gitBuild(), amd64), provenanceOf(configMapBuild(), amd64)} {
		b := provenance(t, in).GetBuildDefinition()
		for _, f := range fieldsOf(b.GetExternalParameters(), "", "buildArgs") {
			external[f] = true
		}
		for _, f := range fieldsOf(b.GetInternalParameters(), "") {
			internal[f] = true
		}
	}
	page := buildTypePage(t)
	for section, fields := range map[string]map[string]bool{"externalParameters": external, "internalParameters": internal} {
		listed := firstCells(t, page, section)
		slices.Sort(listed)
		if want := slices.Sorted(maps.Keys(fields)); !slices.Equal(want, listed) {
			t.Errorf("%s has %q, and docs/build-type.md lists %q", section, want, listed)
		}
	}
}

func TestThePageListsWhatIsNotThere(t *testing.T) {
	page := buildTypePage(t)
	var rows strings.Builder
	for _, path := range slices.Sorted(maps.Keys(untold)) {
		fmt.Fprintf(&rows, "| `%s` | %s |\n", strings.TrimSuffix(path, "{}"), untold[path])
	}
	if !strings.Contains(page, "\n| field | why |\n|---|---|\n"+rows.String()+"\n") {
		t.Errorf("docs/build-type.md must have the table\n%s", rows.String())
	}
}

func TestThePageHasTheExample(t *testing.T) {
	st, err := Provenance(provenanceOf(gitBuild(), arm64))
	if err != nil {
		t.Fatal(err)
	}
	var example bytes.Buffer
	if err := json.Indent(&example, st.Payload, "", "  "); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(buildTypePage(t), "```json\n"+example.String()+"\n```\n") {
		t.Errorf("docs/build-type.md must have the example\n%s", example.String())
	}
}

func TestThePageNamesEveryConstant(t *testing.T) {
	page := buildTypePage(t)
	for _, name := range []string{
		BuildType, BuilderIsolated, BuilderUnguarded, pipeline.PredicateProvenance, pipeline.PredicateSPDX, pipeline.PredicateCycloneDX,
		pipeline.PredicateVulnerabilities, pipeline.PredicateTestResult, pipeline.ReasonReportInvalid, pipeline.ReasonAttestationTooLarge,
		fmt.Sprintf("%d levels", maxDepth), fmt.Sprintf("%d MiB", maxDocument>>20),
	} {
		if !strings.Contains(page, name) {
			t.Errorf("docs/build-type.md does not name %s", name)
		}
	}
}

func TestThePageNamesFilesThatExist(t *testing.T) {
	paths := regexp.MustCompile("`((?:api|config|controllers|internal)/[a-z0-9_./-]+)`").FindAllStringSubmatch(buildTypePage(t), -1)
	if len(paths) < 10 {
		t.Fatalf("docs/build-type.md names %d files: is the expression right?", len(paths))
	}
	for _, m := range paths {
		if _, err := os.Stat(filepath.Join("..", "..", m[1])); err != nil {
			t.Errorf("docs/build-type.md: %v", err)
		}
	}
}
