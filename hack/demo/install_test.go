package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ibshafique/base-images/internal/config"
)

// The demo makes its configuration from a map, which no compiler compares with those of the programs.
func TestWhatIsInstalledIsAccepted(t *testing.T) {
	digest := "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	t.Chdir(t.TempDir())
	t.Setenv("KANIKO_IMAGE", "")
	if err := os.Mkdir(sandboxDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sandboxDir, "ca.crt"), ca, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sandboxDir, trustedRoot), []byte(`{"mediaType":"x"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	images := object{"kaniko": kanikoImage(), "worker": registryHost + "/basewright/worker" + digest}
	for _, scanner := range []string{"syft", "grype", "trivy"} {
		images[scanner] = registryHost + "/sandbox/" + scanner + digest
	}
	if err := writeOverlay(registryHost+"/basewright/operator"+digest, registryHost+"/basewright/webhook"+digest, images); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(filepath.Join(installDir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Registries.CABundle != string(ca) || len(cfg.Registries.Mirrors) != 3 || cfg.Images.Worker != registryHost+"/basewright/worker"+digest {
		t.Errorf("got %+v", cfg)
	}
	// The ConfigMap has what is beside the configuration, and the operator looks for it where the ConfigMap is mounted.
	if file := cfg.Sigstore.TrustedRootFile; filepath.Dir(file) != "/etc/basewright" {
		t.Errorf("the trust root is looked for at %s", file)
	} else if _, err := os.Stat(filepath.Join(installDir, filepath.Base(file))); err != nil {
		t.Error(err)
	}
	webhook, err := config.LoadWebhook(filepath.Join(installDir, webhookConfig))
	if err != nil {
		t.Fatal(err)
	}
	if webhook.Sigstore.TrustedRootFile != cfg.Sigstore.TrustedRootFile || webhook.Registries.CABundle != string(ca) || !slices.Contains(webhook.Registries.PrivateHosts, registryHost) {
		t.Errorf("the webhook has %+v", webhook)
	}
	kustomization, err := os.ReadFile(filepath.Join(installDir, "kustomization.yaml"))
	if err != nil || strings.Count(string(kustomization), `"`+trustedRoot+`"`) != 2 {
		t.Errorf("the ConfigMaps have no trust root: %v\n%s", err, kustomization)
	}
	for _, service := range []string{cfg.Sigstore.FulcioURL, cfg.Sigstore.RekorURL, cfg.Sigstore.TimestampURL} {
		if u, err := url.Parse(service); err != nil || !slices.Contains(cfg.Registries.PrivateHosts, u.Host) {
			t.Errorf("%s is at a private address, which nobody has allowed: %v", service, err)
		}
	}
}
