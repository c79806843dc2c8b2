package config

import (
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const head = "apiVersion: config.basewright.dev/v1alpha1\nkind: OperatorConfiguration\n"

const images = "images:\n  kaniko: registry.example/kaniko:1\n  worker: registry.example/worker@sha256:" +
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"

func TestParse(t *testing.T) {
	want := &Operator{
		APIVersion: APIVersion, Kind: Kind,
		Images: Images{Kaniko: "registry.example/kaniko:1", Worker: "registry.example/worker@sha256:" + strings.Repeat("a", 64)},
	}
	got, err := Parse([]byte(head + images))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("what is required: %v %s", err, diff)
	}
	ca := certificate(t)
	want.Registries = Registries{
		CABundle:     ca,
		Mirrors:      []Mirror{{Prefix: "docker.io", Endpoint: "mirror.example/hub"}},
		PrivateHosts: []string{"registry.example", "git.example:8443", "[fd00::1]:443"},
	}
	got, err = Parse([]byte(head + images + "registries:\n" +
		"  caBundle: |\n    " + strings.ReplaceAll(strings.TrimSpace(ca), "\n", "\n    ") + "\n" +
		"  mirrors: [{prefix: docker.io, endpoint: mirror.example/hub}]\n" +
		"  privateHosts: [registry.example, 'git.example:8443', '[fd00::1]:443']\n"))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("everything: %v %s", err, diff)
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

func TestParseNamesWhatIsWrong(t *testing.T) {
	tests := map[string]struct {
		content string
		names   []string
	}{
		"nothing":               {"", []string{"apiVersion", "images.kaniko", "images.worker"}},
		"no YAML":               {"a: b: c", []string{"yaml", "mapping values"}},
		"another version":       {strings.Replace(head, "v1alpha1", "v1", 1) + images, []string{"apiVersion", `"config.basewright.dev/v1"`}},
		"another kind":          {strings.Replace(head, Kind, "Config", 1) + images, []string{"kind", `"Config"`}},
		"no images":             {head, []string{"images.kaniko: is required", "images.worker: is required"}},
		"one image":             {head + "images: {kaniko: a.b/c}", []string{"images.worker: is required"}},
		"an image that is none": {head + "images: {kaniko: a.b/C, worker: a.b/c}", []string{"images.kaniko", `"a.b/C"`}},
		"a misspelt field":      {head + images + "registry: {}", []string{`"registry"`}},
		"a misspelt field deep inside": {head + images + "registries: {mirrors: [{prefix: docker.io, endpoints: x}]}",
			[]string{`"endpoints"`}},
		"a field twice":                         {head + images + "images: {}", []string{`"images"`}},
		"another type":                          {head + images + "registries: {privateHosts: registry.example}", []string{"privateHosts"}},
		"authorities that are none":             {head + images + "registries: {caBundle: x}", []string{"registries.caBundle"}},
		"too many authorities":                  {head + images + "registries: {caBundle: " + strings.Repeat("x", 256<<10+1) + "}", []string{"registries.caBundle", "262145", "262144"}},
		"a private host that is a URL":          {head + images + "registries: {privateHosts: [a.example, 'https://b.example']}", []string{"registries.privateHosts[1]", `"https://b.example"`}},
		"a private host that is a path":         {head + images + "registries: {privateHosts: [a.example/b]}", []string{"registries.privateHosts[0]"}},
		"a private host that is a pattern":      {head + images + "registries: {privateHosts: ['*.example']}", []string{"registries.privateHosts[0]"}},
		"a private host that is empty":          {head + images + "registries: {privateHosts: ['']}", []string{"registries.privateHosts[0]"}},
		"several mistakes are all named at one": {"registries: {privateHosts: ['']}", []string{"apiVersion", "images.kaniko", "images.worker", "registries.privateHosts[0]"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, err := Parse([]byte(tt.content))
			if err == nil {
				t.Fatal("no error")
			}
			for _, name := range tt.names {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("%v does not name %s", err, name)
				}
			}
		})
	}
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
		content := head + images + "#"
		return content + strings.Repeat("x", size-len(content))
	}
	for desc, path := range map[string]string{
		"a file":                     file(head + images),
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
