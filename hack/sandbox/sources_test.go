//go:build linux

package main

import (
	"strings"
	"testing"
)

const (
	debianStanzas = `Types: deb deb-src
# a comment
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: https://deb.example.org/node
Suites: nodistro
Components: main

Enabled: no
Types: deb
URIs: http://off.example.org/debian
Suites: bookworm
Components: main
`
	ubuntuLines = `# deb http://off.example.org/ubuntu noble main
deb [arch=amd64 signed-by=/k.gpg] http://archive.ubuntu.com/ubuntu noble main universe # here
deb http://security.ubuntu.com/ubuntu noble-security main
deb-src http://archive.ubuntu.com/ubuntu noble main
deb https://download.docker.com/linux/ubuntu noble stable
`
)

func TestOwnSources(t *testing.T) {
	for name, test := range map[string]struct {
		release       release
		sources       []aptSource
		want, without []string
	}{
		"a release with stanzas": {
			release: release{id: "debian", codename: "bookworm"}, sources: parseStanzas(debianStanzas),
			want: []string{
				"URIs: http://deb.debian.org/debian\nSuites: bookworm bookworm-updates\nComponents: main contrib\nArchitectures: amd64\nSigned-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n",
				"URIs: http://deb.debian.org/debian\nSuites: bookworm bookworm-updates\nComponents: main contrib\nArchitectures: arm64\n",
			},
			without: []string{"nodistro", "off.example.org", "backports"},
		},
		"a release with lines, whose arm64 packages are elsewhere": {
			release: release{id: "ubuntu", codename: "noble"}, sources: parseLines(ubuntuLines),
			want: []string{
				"URIs: http://archive.ubuntu.com/ubuntu\nSuites: noble\nComponents: main universe\nArchitectures: amd64\nSigned-By: /k.gpg\n",
				"URIs: http://ports.ubuntu.com/ubuntu-ports\nSuites: noble-security\nComponents: main\nArchitectures: arm64\n",
			},
			without: []string{"docker.com", "off.example.org"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ownSources(test.sources, test.release)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("there is no %q in:\n%s", want, got)
				}
			}
			for _, unwanted := range test.without {
				if strings.Contains(got, unwanted) {
					t.Errorf("there is %q in:\n%s", unwanted, got)
				}
			}
		})
	}
}

func TestOwnSourcesSaysWhenThereAreNone(t *testing.T) {
	if got, err := ownSources(parseLines(ubuntuLines), release{id: "debian", codename: "trixie"}); err == nil {
		t.Errorf("got %q", got)
	}
}

func TestHostLibrariesStayTheHosts(t *testing.T) {
	for file, want := range map[string]bool{
		"libc6_2.36-9_amd64.deb": true, "gcc-12-base_12.2.0-14_amd64.deb": true, "libgcc-s1_12.2.0_amd64.deb": true,
		"libcap2_1%3a2.66-4_amd64.deb": false, "containerd_1.6.20_amd64.deb": false, "libc6-dev_2.36_amd64.deb": false,
	} {
		if got := isHostLibrary(file); got != want {
			t.Errorf("%s: got %v", file, got)
		}
	}
}
