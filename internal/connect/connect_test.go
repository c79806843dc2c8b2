package connect

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/utils/clock"

	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/metrics"
	"github.com/ibshafique/base-images/internal/trustroot"
)

type noNetwork struct{ t *testing.T }

func (n noNetwork) RoundTrip(req *http.Request) (*http.Response, error) {
	n.t.Errorf("asked for %s", req.URL)
	return nil, errors.New("there is no network")
}

func TestTheTrustRootComesFromWhereTheConfigurationSays(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "trusted_root.json")
	if err := os.WriteFile(wrong, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*config.TrustRoot)
		starts bool
	}{
		"the public good instance, without a network": {func(*config.TrustRoot) {}, true},
		"a file":               {func(s *config.TrustRoot) { s.TrustedRootFile = "../trustroot/public-good/trusted_root.json" }, true},
		"a file that is wrong": {func(s *config.TrustRoot) { s.TrustedRootFile = wrong }, false},
		"a repository whose root is wrong": {func(s *config.TrustRoot) {
			s.TUF = config.TUF{Mirror: "https://tuf.example", RootFile: wrong}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default().Sigstore.TrustRoot
			tt.change(&cfg)
			root, err := TrustRoot(cfg, &http.Client{Transport: noNetwork{t}}, logr.Discard(), metrics.New(clock.RealClock{}))
			if (err == nil) != tt.starts {
				t.Fatalf("got %v", err)
			}
			if !tt.starts {
				return
			}
			if material, err := root.Material(); err != nil || len(material.CTLogs()) == 0 {
				t.Errorf("got %v, %v", material, err)
			}
		})
	}
}

func TestATrustRootThatStaysAwayIsToldOfOnceAndCounted(t *testing.T) {
	var told []string
	log := funcr.NewJSON(func(line string) { told = append(told, line) }, funcr.Options{})
	counted := metrics.New(clock.RealClock{})
	away := errors.New("away")
	tell := observe(log, counted)
	for _, r := range []trustroot.Refresh{
		{Err: away}, {Err: away, Again: true}, {Err: away, Again: true}, {Version: "sha256:1", Changed: true}, {Version: "sha256:1"}, {Version: "sha256:1", Err: away},
	} {
		tell(r)
	}
	want := []string{
		`{"logger":"","msg":"The trust root can't be refreshed: the last good one stays in force","error":"away","version":""}`,
		`{"logger":"","level":0,"msg":"There is another trust root","version":"sha256:1"}`,
		`{"logger":"","msg":"The trust root can't be refreshed: the last good one stays in force","error":"away","version":"sha256:1"}`,
	}
	if !slices.Equal(told, want) {
		t.Errorf("told %q", told)
	}
	const series = "basewright_trust_root_refreshes_total"
	if err := testutil.CollectAndCompare(counted, strings.NewReader(`
# HELP basewright_trust_root_refreshes_total Looks at where the trust root of Sigstore comes from, by result.
# TYPE basewright_trust_root_refreshes_total counter
basewright_trust_root_refreshes_total{result="changed"} 1
basewright_trust_root_refreshes_total{result="failed"} 4
basewright_trust_root_refreshes_total{result="unchanged"} 1
`), series); err != nil {
		t.Error(err)
	}
}

func TestTheClientTakesTheMirrors(t *testing.T) {
	client, err := Registries(config.Registries{Mirrors: []config.Mirror{{Prefix: "docker.io", Endpoint: "mirror.example/hub"}}}, limits.Registry{}, "test", metrics.New(clock.RealClock{}))
	if err != nil {
		t.Fatal(err)
	}
	ref, err := client.Parse("alpine:3")
	if err != nil {
		t.Fatal(err)
	}
	if pulls := client.Pulls(ref); len(pulls) != 2 || pulls[0].String() != "mirror.example/hub/library/alpine:3" {
		t.Errorf("got %v", pulls)
	}
}
