// Package layering holds the test that keeps imports pointing in one direction.
package layering

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ibshafique/base-images/"

// allowed lists what of this module each package may import. A package that is not here fails the
// test, so that its place is decided when it is made.
var allowed = map[string][]string{
	"api/v1alpha1":                                 {},
	"api/v1alpha1/applyconfiguration":              {"api/v1alpha1", "api/v1alpha1/applyconfiguration/api/v1alpha1", "api/v1alpha1/applyconfiguration/internal"},
	"api/v1alpha1/applyconfiguration/api/v1alpha1": {"api/v1alpha1", "api/v1alpha1/applyconfiguration/internal"},
	"api/v1alpha1/applyconfiguration/internal":     {},
	"internal/layering":                            {},
	"internal/limits":                              {},
	"internal/pipeline":                            {"api/v1alpha1", "internal/limits"},
	"internal/config":                              {"api/v1alpha1", "internal/limits", "internal/pipeline"},
	"internal/netmessage":                          {},
	"internal/retryafter":                          {},
	"internal/stall":                               {"internal/limits"},
	"internal/stall/stalltest":                     {"internal/stall"},
	"internal/registry":                            {"internal/limits", "internal/netmessage", "internal/pipeline", "internal/retryafter", "internal/stall"},
	"internal/vulndb":                              {"internal/limits", "internal/pipeline", "internal/registry", "internal/retryafter", "internal/stall"},
	"internal/source":                              {"internal/limits", "internal/netmessage", "internal/pipeline", "internal/retryafter", "internal/stall"},
	"internal/dockerfile":                          {"internal/pipeline"},
	"policy":                                       {},
	"internal/rules":                               {"internal/pipeline", "policy"},
	"internal/verify":                              {"api/v1alpha1", "internal/limits", "internal/pipeline", "internal/registry"},
	"internal/sign":                                {"api/v1alpha1", "internal/limits", "internal/netmessage", "internal/pipeline", "internal/registry", "internal/retryafter", "internal/verify"},
	"internal/upstream":                            {"internal/pipeline", "internal/registry"},
	"internal/trustroot":                           {"internal/netmessage", "internal/pipeline"},
	"internal/job":                                 {"api/v1alpha1", "internal/limits", "internal/pipeline"},
	"internal/kaniko":                              {"api/v1alpha1", "internal/job", "internal/limits", "internal/pipeline"},
	"internal/inspect":                             {"internal/limits", "internal/pipeline", "internal/registry"},
	"internal/scan":                                {"api/v1alpha1", "internal/job", "internal/limits", "internal/pipeline"},
	"internal/codescanning":                        {"internal/netmessage", "internal/pipeline", "internal/retryafter"},
	"internal/attest":                              {"api/v1alpha1", "internal/pipeline"},
	"internal/index":                               {"internal/inspect", "internal/pipeline", "internal/registry"},
	"internal/promote":                             {"internal/pipeline", "internal/registry"},
	// The probe is a small program of its own: nothing but the standard library.
	"internal/probe":       {},
	"internal/runtimetest": {"api/v1alpha1", "internal/job", "internal/limits", "internal/pipeline", "internal/probe"},
	"internal/metrics":     {"api/v1alpha1", "internal/pipeline"},
	"internal/worker":      {"internal/inspect", "internal/limits", "internal/pipeline", "internal/registry", "internal/source", "internal/vulndb"},
	"internal/connect":     {"internal/config", "internal/limits", "internal/registry", "internal/trustroot"},
	"config/admission":     {},
	"config/webhook":       {},
	"internal/imageglob":   {},
	"internal/workload":    {},
	"internal/flight":      {"internal/pipeline"},
	"internal/pullsecret":  {"internal/flight", "internal/limits", "internal/netmessage", "internal/pipeline", "internal/registry"},
	"internal/imagepolicy": {"api/v1alpha1", "internal/imageglob", "internal/limits", "internal/pipeline", "internal/registry", "internal/rules", "internal/verify"},
	"internal/verdict":     {"api/v1alpha1", "internal/imagepolicy", "internal/limits", "internal/pipeline", "internal/registry", "internal/rules", "internal/verify"},
	"webhook": {"api/v1alpha1", "internal/config", "internal/flight", "internal/imageglob", "internal/imagepolicy", "internal/limits", "internal/metrics", "internal/pipeline", "internal/pullsecret", "internal/registry",
		"internal/rules", "internal/verdict", "internal/verify", "internal/workload"},
	"cmd/webhook": {"api/v1alpha1", "internal/config", "internal/connect", "internal/imagepolicy", "internal/metrics", "internal/pullsecret", "internal/registry", "internal/rules", "internal/trustroot", "internal/verdict", "webhook"},
	"controllers": {"api/v1alpha1", "config/admission", "internal/attest", "internal/codescanning", "internal/config", "internal/dockerfile", "internal/index", "internal/inspect", "internal/job",
		"internal/kaniko", "internal/limits", "internal/metrics", "internal/pipeline", "internal/promote", "internal/registry", "internal/rules",
		"internal/runtimetest", "internal/scan", "internal/sign", "internal/source", "internal/upstream", "internal/verify"},
	"cmd/operator": {"api/v1alpha1", "controllers", "internal/config", "internal/connect", "internal/metrics", "internal/registry", "internal/rules", "internal/sign", "internal/source", "internal/trustroot", "internal/upstream"},
	"cmd/probe":    {"internal/probe"},
	"cmd/worker":   {"internal/pipeline", "internal/worker"},
	"test/policy":  {},
	// Tools of development use the product from outside.
	"hack/demo":        {"hack/publish"},
	"hack/idlewebhook": {},
	"hack/inventory":   {"api/v1alpha1"},
	"hack/publish":     {},
	"hack/sandbox":     {},
	// A Sigstore for tests: nothing of the product imports it.
	"internal/sigstoretest": {},
}

// mayUseControllerRuntime are the only packages that write to Kubernetes.
var mayUseControllerRuntime = []string{"controllers", "webhook", "cmd/operator", "cmd/webhook"}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportsPointInOneDirection(t *testing.T) {
	packages := list(t)
	if len(packages) < len(allowed) {
		t.Fatalf("go list found %d packages, the table has %d: is the test run inside the module?", len(packages), len(allowed))
	}
	for _, p := range packages {
		name := strings.TrimPrefix(p.ImportPath, module)
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s is not in the table: decide what it may import", name)
			continue
		}
		for _, imported := range p.Imports {
			if own, ok := strings.CutPrefix(imported, module); ok && !slices.Contains(may, own) {
				t.Errorf("%s imports %s, which is not below it", name, own)
			}
			if strings.HasPrefix(imported, "sigs.k8s.io/controller-runtime") && !slices.Contains(mayUseControllerRuntime, name) {
				t.Errorf("%s imports %s: only %v talk to Kubernetes", name, imported, mayUseControllerRuntime)
			}
		}
	}
}

func list(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("listing the packages: %v\n%s", err, failed.Stderr)
	}
	if err != nil {
		t.Fatalf("listing the packages: %v", err)
	}
	var packages []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("reading the list of packages: %v", err)
		}
		packages = append(packages, p)
	}
}
