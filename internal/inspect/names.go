package inspect

import "strings"

// shells, by the name of their program. Names that are codes of languages are left out: es.
var shells = set(`
	sh ash bash dash hush lash msh ksh lksh mksh oksh pdksh rksh yash zsh rbash rzsh posh sash fish csh tcsh bsh osh ysh
	nu nushell elvish xonsh ion pwsh powershell busybox toybox bash-static mksh-static zsh-static ksh93 zsh5
	rc static-sh busybox.static busybox-static busybox-extras busybox.suid busybox.nosuid sh.distrib`)

// managers of packages, by the name of their program.
var managers = set(`
	apk apk.static apt apt-get apt-cache apt-key apt-mark aptitude dpkg dpkg-deb dpkg-query dpkg-divert dselect synaptic
	rpm rpm2cpio rpmkeys rpm-ostree dnf dnf5 yum microdnf tdnf zypper urpmi swupd pacman yay makepkg opkg ipkg
	xbps-install xbps-remove emerge ebuild portageq eopkg slackpkg installpkg guix
	nix nix-env nix-build nix-store nix-shell brew snap flatpak
	pip pipx pip-compile easy_install conda mamba micromamba poetry npm npx pnpm yarn corepack gem bundle bundler cargo rustup composer cpan cpanm luarocks`)

// managerModules end the paths of package managers that Python or Node run without a program of their own.
var managerModules = []string{
	"/site-packages/pip/__main__.py", "/dist-packages/pip/__main__.py", "/node_modules/npm/bin/npm-cli.js", "/node_modules/yarn/bin/yarn.js",
}

var (
	databaseFiles = []string{
		"lib/apk/db/installed", "usr/lib/apk/db/installed", "var/lib/dpkg/status", "usr/lib/opkg/status", "var/lib/opkg/status", "nix/var/nix/db/db.sqlite",
	}
	databaseDirectories = []string{
		"var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm", "var/lib/pacman/local", "var/db/xbps", "var/db/pkg", "conda-meta", "opt/conda/conda-meta",
	}
)

func set(names string) map[string]bool {
	all := map[string]bool{}
	for name := range strings.FieldsSeq(names) {
		all[name] = true
	}
	return all
}

// reservedPath is where a test pod has its probe: what an image has there would be hidden from the tests.
const reservedPath = "basewright-probe"

func isReserved(p string) bool { return p == reservedPath || strings.HasPrefix(p, reservedPath+"/") }

func isShellName(p string) bool   { return named(p, shells) }
func isManagerName(p string) bool { return named(p, managers) }

func isManagerModule(p string) bool {
	for _, suffix := range managerModules {
		if strings.HasSuffix(p, suffix) {
			return true
		}
	}
	return false
}
