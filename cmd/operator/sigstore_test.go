package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/internal/config"
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
		change func(*config.Sigstore)
		starts bool
	}{
		"the public good instance, without a network": {func(*config.Sigstore) {}, true},
		"a file":               {func(s *config.Sigstore) { s.TrustedRootFile = "../../internal/trustroot/public-good/trusted_root.json" }, true},
		"a file that is wrong": {func(s *config.Sigstore) { s.TrustedRootFile = wrong }, false},
		"a repository whose root is wrong": {func(s *config.Sigstore) {
			s.TUF = config.TUF{Mirror: "https://tuf.example", RootFile: wrong}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default().Sigstore
			tt.change(&cfg)
			root, err := trustRoot(cfg, &http.Client{Transport: noNetwork{t}}, nil)
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

// A replica that takes over must not begin with a trust root of long ago.
func TestTheTrustRootIsRefreshedByEveryReplica(t *testing.T) {
	var runs manager.LeaderElectionRunnable = everywhere{}
	if runs.NeedLeaderElection() {
		t.Error("only the leader refreshes it")
	}
}

// TUF's metadata is kept in a directory that can be written to.
func TestTheDeploymentHasATemporaryDirectory(t *testing.T) {
	raw, err := os.ReadFile("../../config/operator/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(raw, &d); err != nil {
		t.Fatal(err)
	}
	for _, mount := range d.Spec.Template.Spec.Containers[0].VolumeMounts {
		if mount.MountPath == "/tmp" && !mount.ReadOnly {
			return
		}
	}
	t.Error("nothing can be written to /tmp")
}
