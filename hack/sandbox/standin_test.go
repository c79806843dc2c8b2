//go:build linux

package main

import (
	"archive/tar"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// fakeDebian has the files that the stand-ins are made of.
func fakeDebian(t *testing.T) debian {
	t.Helper()
	d := debian{dir: t.TempDir()}
	const busybox = "#!/bin/sh\nprintf 'bin/busybox\\nbin/sh\\nusr/bin/awk\\n'\n"
	for path, content := range map[string]string{
		"busybox-static_amd64/bin/busybox":                            busybox,
		"busybox-static_arm64/bin/busybox":                            "arm",
		"base-files_amd64/etc/debian_version":                         "12.15\n",
		"base-files_arm64/etc/debian_version":                         "12.15\n",
		"base-files_amd64/etc/lsb-release":                            "of another distribution\n",
		"base-files_amd64/usr/lib/os-release":                         "ID=debian\n",
		"base-files_arm64/usr/lib/os-release":                         "ID=debian\n",
		"ca-certificates_all/usr/share/ca-certificates/mozilla/B.crt": "second",
		"ca-certificates_all/usr/share/ca-certificates/mozilla/A.crt": "first\n",
		"tzdata_all/usr/share/zoneinfo/Etc/UTC":                       "utc",
		"netbase_all/etc/protocols":                                   "tcp 6\n",
		"netbase_all/etc/services":                                    "https 443\n",
		"media-types_all/etc/mime.types":                              "text/plain\n",
	} {
		if err := writeFile(filepath.Join(d.dir, "content", path), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"busybox-static_amd64", "busybox-static_arm64", "base-files_amd64", "base-files_arm64",
		"ca-certificates_all", "media-types_all", "netbase_all", "tzdata_all"} {
		name, _, _ := strings.Cut(dir, "_")
		for file, content := range map[string]string{"control": "Package: " + name + "\n", "md5sums": "0123  bin/busybox\n4567  not/there\n"} {
			if err := writeFile(filepath.Join(d.dir, "content", dir, "DEBIAN", file), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Symlink("Etc/UTC", filepath.Join(d.content("tzdata", "all"), "usr/share/zoneinfo/UTC")); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestStandInsAreTheSameEveryTime(t *testing.T) {
	for _, s := range standIns {
		t.Run(s.original, func(t *testing.T) {
			var digests []v1.Hash
			for range 2 {
				index, err := s.index(t.Context(), fakeDebian(t))
				if err != nil {
					t.Fatal(err)
				}
				digest, err := index.Digest()
				if err != nil {
					t.Fatal(err)
				}
				digests = append(digests, digest)
			}
			if digests[0] != digests[1] {
				t.Errorf("got %v", digests)
			}
		})
	}
}

func TestStandInsAreIndexesOfTwoOrdinaryImages(t *testing.T) {
	for _, s := range standIns {
		t.Run(s.original, func(t *testing.T) {
			index, err := s.index(t.Context(), fakeDebian(t))
			if err != nil {
				t.Fatal(err)
			}
			manifest, err := index.IndexManifest()
			if err != nil {
				t.Fatal(err)
			}
			if manifest.Annotations[descriptionKey] == "" {
				t.Error("the index does not say what it is")
			}
			var architectures []string
			for _, m := range manifest.Manifests {
				architectures = append(architectures, m.Platform.Architecture)
				if m.ArtifactType != "" {
					t.Errorf("an image is called an artifact: %s", m.ArtifactType)
				}
			}
			if !slices.Equal(architectures, []string{"amd64", "arm64"}) {
				t.Errorf("got %v", architectures)
			}
		})
	}
}

// files lists what an image holds: content, or -> and a link's target.
func files(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	content := mutate.Extract(image)
	defer func() { _ = content.Close() }()
	found := map[string]string{}
	for reader := tar.NewReader(content); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		found[header.Name] = string(text)
		if header.Linkname != "" {
			found[header.Name] = "-> " + header.Linkname
		}
	}
}

func recordOf(name, source, version string) string {
	return "Package: " + name + "\nSource: " + source + "\nVersion: " + version + "\nArchitecture: arm64\n" +
		"Maintainer: the Basewright sandbox <sandbox@basewright.test>\nDescription: record of a package\n"
}

func TestStandInContents(t *testing.T) {
	d := fakeDebian(t)
	for original, want := range map[string]map[string]string{
		"docker.io/library/alpine:3.23": {
			"bin/busybox": "arm", "bin/sh": "-> /bin/busybox", "usr/bin/awk": "-> /bin/busybox",
			bundlePath: "first\nsecond\n", "etc/os-release": "-> ../usr/lib/os-release",
			"var/lib/dpkg/status.d/busybox-static":         "Package: busybox-static\n",
			"var/lib/dpkg/status.d/busybox-static.md5sums": "0123  bin/busybox\n",
			"etc/debian_version":                           "12.15\n",
			"lib/apk/db/installed":                         "P:basewright-sandbox-apk\nV:1-r0\nA:aarch64\nT:stand-in for apk\nL:Apache-2.0\nF:sbin\nR:apk\n\n",
		},
		"docker.io/library/debian:12.0-slim": {
			"bin/busybox": "arm", "bin/sh": "-> /bin/busybox", "etc/debian_version": "12.0\n", "etc/os-release": debianRelease,
			"var/lib/dpkg/status.d/libc6":                  recordOf("libc6", "glibc", "2.36-9"),
			"var/lib/dpkg/status.d/busybox-static":         recordOf("busybox-static", "busybox", "1:1.35.0-4"),
			"var/lib/dpkg/status.d/busybox-static.md5sums": "0123  bin/busybox\n",
		},
		"docker.io/library/debian:12-slim": {
			"etc/debian_version":                   "12.15\n",
			"var/lib/dpkg/status.d/busybox-static": recordOf("busybox-static", "busybox", "1:1.35.0-4+deb12u1"),
		},
		"gcr.io/distroless/static-debian13:nonroot": {
			bundlePath: "first\nsecond\n", "usr/share/zoneinfo/Etc/UTC": "utc", "usr/share/zoneinfo/UTC": "-> Etc/UTC",
			"etc/nsswitch.conf": "hosts: files dns\n", "home/nonroot": "", "etc/services": "https 443\n", "etc/mime.types": "text/plain\n",
			"var/lib/dpkg/status.d/netbase": "Package: netbase\n", "var/lib/dpkg/status.d/netbase.md5sums": "",
		},
	} {
		at := slices.IndexFunc(standIns, func(s standIn) bool { return s.original == original })
		image, err := standIns[at].image(t.Context(), d, "arm64", "text")
		if err != nil {
			t.Fatal(err)
		}
		got := files(t, image)
		for path, content := range want {
			if have, ok := got[path]; !ok || have != content {
				t.Errorf("%s: %s is %q, want %q; there are %v", original, path, have, content, slices.Sorted(maps.Keys(got)))
			}
		}
	}
}

func TestStaticStandInHasNoShell(t *testing.T) {
	at := slices.IndexFunc(standIns, func(s standIn) bool { return s.config.User == "65532" })
	image, err := standIns[at].image(t.Context(), fakeDebian(t), "amd64", "text")
	if err != nil {
		t.Fatal(err)
	}
	for path := range files(t, image) {
		if base := filepath.Base(path); base == "sh" || base == "busybox" {
			t.Errorf("there is a %s", path)
		}
	}
}

func TestRecordedPackagesDoNotDependOnTheMachine(t *testing.T) {
	d := fakeDebian(t) // whose base-files has the lsb-release of another distribution
	for _, s := range standIns {
		image, err := s.image(t.Context(), d, "amd64", "text")
		if err != nil {
			t.Fatal(err)
		}
		_, found := files(t, image)[lsbRelease]
		if recorded := strings.Contains(s.original, "/debian:"); found == recorded {
			t.Errorf("%s has %s: %t", s.original, lsbRelease, found)
		}
	}
}
