package config

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const head = "apiVersion: config.basewright.dev/v1alpha1\nkind: OperatorConfiguration\n"

// good has five lines.
const good = head + "images: {" + scanners + ",\n  kaniko: registry.example/kaniko:1,\n  worker: 'registry.example/worker@sha256:" +
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}\n"

// scanners are the other images.
const scanners = "syft: 'a.b/syft:1', trivy: 'a.b/trivy:1', grype: 'a.b/grype:1'"

var goodImages = Images{
	Kaniko: "registry.example/kaniko:1", Worker: "registry.example/worker@sha256:" + strings.Repeat("a", 64),
	Syft: "a.b/syft:1", Trivy: "a.b/trivy:1", Grype: "a.b/grype:1",
}

func TestParseFillsInWhatIsLeftOut(t *testing.T) {
	want := &Operator{
		APIVersion: APIVersion, Kind: Kind,
		Images: goodImages,
		Builds: Builds{MaxConcurrent: 10},
		Databases: Databases{
			Trivy: Database{Location: "oci://ghcr.io/aquasecurity/trivy-db:2"}, Grype: Database{Location: "https://grype.anchore.io/databases/v6/latest.json"},
			MaxAge: limits.Duration(120 * time.Hour),
		},
		GitHub: GitHub{APIURL: "https://api.github.com"},
		Sigstore: Sigstore{
			FulcioURL: "https://fulcio.sigstore.dev", RekorURL: "https://rekor.sigstore.dev",
			TrustRoot: TrustRoot{TUF: TUF{Mirror: "https://tuf-repo-cdn.sigstore.dev"}}, Formats: []v1alpha1.SignatureFormat{"Legacy", "Bundle"}, Audience: "sigstore",
			ServiceAccount: ServiceAccount{Namespace: "basewright-system", Name: "basewright-signer"},
		},
		Defaults: Defaults{
			Jitter: limits.Duration(30 * time.Minute), StartingDeadline: limits.Duration(24 * time.Hour), Timeout: limits.Duration(time.Hour),
			Retries: 3, SourcePollInterval: limits.Duration(5 * time.Minute), UpstreamPollInterval: limits.Duration(time.Hour),
			MaxImageSize: 512 << 20,
			BuildPods: BuildPods{Resources: &corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("250m"), "memory": resource.MustParse("512Mi")},
				Limits:   corev1.ResourceList{"memory": resource.MustParse("2Gi")},
			}},
		},
		Limits: limits.Limits{}.WithDefaults(),
	}
	for desc, rest := range map[string]string{
		"absent": "",
		"null":   "registries:\nbuilds:\ndatabases:\ngithub:\nsigstore:\ndefaults: ~\nlimits: null\n",
		"empty":  "registries: {}\nbuilds: {}\ndatabases: {trivy: {}, grype: ~}\ngithub: {}\nsigstore: {rekorURL: , tuf: {}, formats: ~, serviceAccount: {}}\ndefaults: {buildPods: {}}\nlimits: {source: {}, registry: {}, build: }\n",
	} {
		t.Run(desc, func(t *testing.T) {
			got, err := Parse([]byte(good + rest))
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
	if diff := cmp.Diff(want.Defaults, Default().Defaults); diff != "" {
		t.Errorf("Default: %s", diff)
	}
}

func TestParseKeepsWhatIsSet(t *testing.T) {
	ca := certificate(t)
	want := Default()
	want.APIVersion, want.Kind = APIVersion, Kind
	want.Images = goodImages
	want.Registries = Registries{
		CABundle:     ca,
		Mirrors:      []Mirror{{Prefix: "docker.io", Endpoint: "mirror.example/hub"}},
		PrivateHosts: []string{"registry.example", "git.example:8443", "[fd00::1]:443", "10.0.0.1"},
		TokenHosts:   []pipeline.TokenHost{{Registry: "registry.example", Host: "auth.example"}},
	}
	want.Builds.MaxConcurrent = 1000
	want.Databases = Databases{
		Trivy: Database{Location: "https://db.example/trivy/db.tar.gz"}, Grype: Database{Location: "oci://db.example:5000/grype:6@sha256:" + strings.Repeat("b", 64)},
		MaxAge: limits.Duration(48 * time.Hour),
	}
	want.GitHub.APIURL = "https://github.example:8443/api/v3"
	want.Sigstore = Sigstore{
		FulcioURL: "https://fulcio.example:8443", TimestampURL: "https://tsa.example/api/v1/timestamp",
		TrustRoot: TrustRoot{TUF: TUF{Mirror: "https://tuf.example/sigstore", RootFile: "/etc/sigstore/root.json"}}, Formats: []v1alpha1.SignatureFormat{"Bundle"},
		Audience: "https://fulcio.example", ServiceAccount: ServiceAccount{Namespace: "signing", Name: "images.signer"},
	}
	want.Defaults.MaxImageSize = 1 << 30
	want.Defaults.Jitter, want.Defaults.Retries, want.Defaults.SourcePollInterval = 0, 0, 0
	want.Defaults.BuildPods = BuildPods{
		Resources:    &corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("1.5"), "example.com/gpu": resource.MustParse("1")}},
		NodeSelector: map[string]string{"kubernetes.io/arch": "amd64", "spot": ""},
		Tolerations:  []corev1.Toleration{{Operator: "Exists", Effect: "NoExecute", TolerationSeconds: ptr.To[int64](0)}},
	}
	want.Limits.Source.Bytes, want.Limits.Registry.RetryAfter = 1<<30, limits.Duration(2*time.Hour)
	got, err := Parse([]byte(good + "registries:\n" +
		"  caBundle: |\n    " + strings.ReplaceAll(strings.TrimSpace(ca), "\n", "\n    ") + `
  mirrors: [{prefix: docker.io, endpoint: mirror.example/hub}]
  privateHosts: [registry.example, 'git.example:8443', '[fd00::1]:443', 10.0.0.1]
  tokenHosts: [{registry: registry.example, host: auth.example}]
builds: {maxConcurrent: 1000}
databases:
  trivy: {location: 'https://db.example/trivy/db.tar.gz'}
  grype: {location: 'oci://db.example:5000/grype:6@sha256:` + strings.Repeat("b", 64) + `'}
  maxAge: 48h
github: {apiURL: 'https://github.example:8443/api/v3'}
sigstore:
  fulcioURL: https://fulcio.example:8443
  rekorURL: ''
  timestampURL: https://tsa.example/api/v1/timestamp
  tuf: {mirror: 'https://tuf.example/sigstore', rootFile: /etc/sigstore/root.json}
  formats: [Bundle]
  audience: https://fulcio.example
  serviceAccount: {namespace: signing, name: images.signer}
defaults:
  maxImageSize: 1Gi
  jitter: 0s
  retries: 0
  sourcePollInterval: 0s
  buildPods:
    resources: {limits: {cpu: 1.5, example.com/gpu: 1}}
    nodeSelector: {kubernetes.io/arch: amd64, spot: ''}
    tolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: 0}]
limits:
  source: {bytes: 1073741824}
  registry: {retryAfter: 2h}
`))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

func TestResourcesAreNotMergedWithTheDefault(t *testing.T) {
	cfg, err := Parse([]byte(good + "defaults: {buildPods: {resources: {}}}"))
	if err != nil || cfg.Defaults.BuildPods.Resources == nil || len(cfg.Defaults.BuildPods.Resources.Requests) != 0 {
		t.Errorf("got %+v, %v", cfg, err)
	}
}

func TestADefaultIsNotShared(t *testing.T) {
	first := Default()
	first.Defaults.BuildPods.Resources.Limits["memory"] = resource.MustParse("1Ti")
	if got := Default().Defaults.BuildPods.Resources.Limits["memory"]; got.String() != "2Gi" {
		t.Errorf("changing one default changed another: %s", got.String())
	}
}

func certificate(t *testing.T) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
}

func TestLoad(t *testing.T) {
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fill := func(size int) string {
		return good + "#" + strings.Repeat("x", size-len(good)-1)
	}
	for desc, path := range map[string]string{
		"a file":                     file(good),
		"a file of the largest size": file(fill(512 << 10)),
	} {
		if cfg, err := Load(path); err != nil || cfg.Images.Kaniko == "" {
			t.Errorf("%s: got %+v, %v", desc, cfg, err)
		}
	}
	for desc, path := range map[string]string{
		"a file that is too large": file(fill(512<<10 + 1)),
		"a file that is wrong":     file("a: b"),
		"a file that is missing":   filepath.Join(t.TempDir(), "missing.yaml"),
		"a directory":              t.TempDir(),
	} {
		cfg, err := Load(path)
		if err == nil || cfg != nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %+v, %v", desc, cfg, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestLoadNamesFileLineAndField(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(good+"registries:\n  privateHosts:\n  - a.example\n  - exa mple\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	field, ok := errors.AsType[*FieldError](err)
	if !ok || field.File != path || field.Line != 9 || field.Field != "registries.privateHosts[1]" {
		t.Errorf("got %#v", err)
	}
	want := path + `: line 9: registries.privateHosts[1]: "exa mple" is not a host: give a name such as registry.example or registry.example:5000`
	if err.Error() != want {
		t.Errorf("got %s, want %s", err, want)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	_, err := Parse(fmt.Appendf(nil, "%sregistries: {privateHosts: [%s]}", good, strings.Repeat("'*', ", 1000)))
	all, ok := errors.AsType[Errors](err)
	if !ok || len(all) != 1000 {
		t.Fatalf("got %d errors", len(all))
	}
	if text := err.Error(); strings.Count(text, "\n") != 50 || !strings.HasSuffix(text, "and 950 more errors") {
		t.Errorf("got %s", text)
	}
}

// What the operator is deployed with must be good.
func TestLoadTheDeployedConfiguration(t *testing.T) {
	if _, err := Load("../../config/operator/config.yaml"); err != nil {
		t.Error(err)
	}
}

func TestPrivateHostsIncludeMirrors(t *testing.T) {
	r := Registries{
		PrivateHosts: []string{"a.example", "b.example:5000"},
		Mirrors:      []Mirror{{Endpoint: "mirror.example/hub"}, {Endpoint: "b.example:5000/x"}, {Endpoint: "mirror.example/quay"}, {Endpoint: "other.example"}},
	}
	want := []string{"a.example", "b.example:5000", "mirror.example", "other.example"}
	if diff := cmp.Diff(want, r.Private()); diff != "" {
		t.Error(diff)
	}
	if len(r.PrivateHosts) != 2 {
		t.Errorf("the configuration was changed: %v", r.PrivateHosts)
	}
}
