//go:build linux

package main

import (
	"os"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestScannerImagesAreLaidOutAsReleased(t *testing.T) {
	d := fakeDebian(t)
	b := builds{}
	for _, group := range []string{"syft", "grype", "trivy"} {
		b[group] = t.TempDir()
		if err := os.WriteFile(b.bin(group, group), []byte("program of "+group), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]struct{ target, program, entrypoint string }{
		"syft":  {"/sandbox/syft:v" + syftVersion, "syft", "/syft"},
		"grype": {"/sandbox/grype:v" + grypeVersion, "grype", "/grype"},
		"trivy": {"/sandbox/trivy:" + trivyVersion, "usr/local/bin/trivy", "trivy"},
	} {
		all := recipes()
		r := all[slices.IndexFunc(all, func(r recipe) bool { return r.name == name })]
		made, err := r.make(t.Context(), b, d)
		if err != nil {
			t.Fatal(err)
		}
		image, ok := made.(v1.Image)
		if !ok {
			t.Fatalf("%s is no image", name)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		got := files(t, image)
		delete(got, "tmp")
		if r.target != registryHost+want.target || !slices.Equal(config.Config.Entrypoint, []string{want.entrypoint}) || got[want.program] != "program of "+name {
			t.Errorf("%s: %s has %v, entrypoint %v", name, r.target, got, config.Config.Entrypoint)
		}
		for path, content := range got {
			if content != "" && path != want.program && path != bundlePath {
				t.Errorf("%s also has %s", name, path)
			}
		}
	}
}
