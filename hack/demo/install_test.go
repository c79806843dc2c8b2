package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/ibshafique/base-images/internal/config"
)

// The demo makes its configuration from a map, which no compiler compares with the operator's.
func TestTheOperatorAcceptsWhatIsInstalled(t *testing.T) {
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
	images := object{"kaniko": kanikoImage(), "worker": registryHost + "/basewright/worker" + digest}
	for _, scanner := range []string{"syft", "grype", "trivy"} {
		images[scanner] = registryHost + "/sandbox/" + scanner + digest
	}
	if err := writeOverlay(registryHost+"/basewright/operator"+digest, images); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(filepath.Join(installDir, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Registries.CABundle != string(ca) || len(cfg.Registries.Mirrors) != 3 || cfg.Images.Worker != registryHost+"/basewright/worker"+digest {
		t.Errorf("got %+v", cfg)
	}
}
