package inspect

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// maxPaths, maxPathsBytes and maxShownPath bound each list of paths.
	maxPaths      = 64
	maxPathsBytes = 4 << 10
	maxShownPath  = 256
	// maxLabels, maxLabelName and maxValue bound what is remembered of a config. spec.tests.requiredLabels asks for
	// labels with names of at most 128 bytes.
	maxLabels    = 128
	maxLabelName = 128
	maxValue     = 128
)

// Facts are what was seen of an image, whatever is allowed in it: the config's words, and what the layers show together.
// They take at most some 64 KiB.
type Facts struct {
	// CompressedBytes is the size of all layers in the registry.
	CompressedBytes int64
	// Bytes is the size of all layers' archives, decompressed.
	Bytes int64
	// Entries of all archives, also those that an upper layer hides.
	Entries int
	// ELFFiles that the image shows; one path is one file.
	ELFFiles int

	// User that the config declares; at most 128 bytes.
	User string
	// Labels of the config: at most 128, with names of at most 128 bytes, and the first 128 bytes of their values.
	Labels map[string]string
	// Env has what the config says of PATH, and of where certificates, time zones and libraries are; at most 128 bytes each.
	Env map[string]string

	// Shells are programs and links that have the name of a shell, and programs that have a shell inside. An ELF file is a
	// program whatever its mode. A link counts even if it leads nowhere, since a mount can change
	// that, but not to a directory; a script counts if its interpreter is there.
	Shells Paths
	// PackageManagers are programs and links that have the name of one, programs that have dpkg inside, and modules that
	// Python or Node run as one.
	PackageManagers Paths
	// PackageDatabases are what package managers keep of what is installed. The directory /var/lib/dpkg/status.d of
	// distroless images is not one: it is the inventory that scanners read, and no package manager uses it.
	PackageDatabases Paths
	// Setuid, Setgid and Capabilities are files that give more rights to who runs them.
	Setuid, Setgid, Capabilities Paths
	// WorldWritable are directories that everybody may write to, without the sticky bit.
	WorldWritable Paths
	// Passwd has the users of /etc/passwd; nil without one.
	Passwd *Accounts
	// HasReserved: there is something at /basewright-probe.
	HasReserved bool
	// HasZoneinfo: there are files in /usr/share/zoneinfo.
	HasZoneinfo bool
	// HasCABundle: what SSL_CERT_FILE names, /etc/ssl/certs/ca-certificates.crt without it, is there and not empty.
	HasCABundle bool
}

// Paths is a bounded list.
type Paths struct {
	// List has the first paths in order, absolute; long ones end in "…".
	List []string
	// Total of paths, also of those that are not in the list.
	Total int
}

func (p *Paths) add(name string) { p.List = append(p.List, name) }

// bound sorts and shortens the list.
func (p *Paths) bound() {
	slices.Sort(p.List)
	p.Total = len(p.List)
	var list []string
	bytes := 0
	for _, name := range p.List[:min(len(p.List), maxPaths)] {
		name = clip(strings.TrimSuffix("/"+name, "/."), maxShownPath)
		if bytes += len(name); bytes > maxPathsBytes {
			break
		}
		list = append(list, cmp.Or(strings.Clone(name), "/"))
	}
	p.List = list
}

// clip shortens s to at most n bytes of valid UTF-8.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const dots = "…"
	return strings.ToValidUTF8(s[:n-len(dots)], "") + dots
}

// ofInterest are the variables whose values are facts.
var ofInterest = []string{"PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "ZONEINFO", "TZDIR", "LD_LIBRARY_PATH", "LD_PRELOAD"}

func (f *Facts) configured(config v1.Config) {
	f.User = clip(config.User, maxValue)
	f.Labels, f.Env = map[string]string{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(config.Labels)) {
		if len(name) <= maxLabelName && len(f.Labels) < maxLabels {
			f.Labels[strings.Clone(name)] = strings.Clone(clip(config.Labels[name], maxValue))
		}
	}
	for _, variable := range config.Env {
		name, value, _ := strings.Cut(variable, "=")
		if slices.Contains(ofInterest, name) {
			f.Env[strings.Clone(name)] = strings.Clone(clip(value, maxValue))
		}
	}
}

// shown collects what v shows.
func (f *Facts) shown(v *view, accounts map[string]*Accounts) {
	places := placesOf(v)
	for p, st := range v.paths {
		f.HasReserved = f.HasReserved || st&present != 0 && isReserved(p)
		switch {
		case st&present == 0:
		case st&isDir != 0 && st&isWorldWritable != 0:
			f.WorldWritable.add(p)
		case st&(isFile|isSymlink) != 0:
			f.file(v, p, st)
			f.place(places, p)
		}
	}
	for _, list := range []*Paths{&f.Shells, &f.PackageManagers, &f.PackageDatabases, &f.Setuid, &f.Setgid, &f.Capabilities, &f.WorldWritable} {
		list.bound()
	}
	passwd, _ := v.find("etc/passwd")
	f.Passwd = accounts[passwd]
	_, bundle := v.find(cmp.Or(f.Env["SSL_CERT_FILE"], "etc/ssl/certs/ca-certificates.crt"))
	f.HasCABundle = bundle&(isFile|isEmpty) == isFile
}

func (f *Facts) file(v *view, p string, st state) {
	if st&isShell != 0 || isShellName(p) && v.program(p, st) && v.interpreted(p) {
		f.Shells.add(p)
	}
	if st&isManager != 0 || isManagerName(p) && v.program(p, st) || isManagerModule(p) {
		f.PackageManagers.add(p)
	}
	for bit, list := range map[state]*Paths{isSetuid: &f.Setuid, isSetgid: &f.Setgid, hasCapabilities: &f.Capabilities} {
		if st&bit != 0 {
			list.add(p)
		}
	}
}

func (f *Facts) place(in places, p string) {
	below := func(dir string) bool { return len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir }
	if slices.Contains(in.databases, p) || slices.ContainsFunc(in.databaseDirectories, below) {
		f.PackageDatabases.add(p)
	}
	f.HasZoneinfo = f.HasZoneinfo || slices.ContainsFunc(in.zones, below)
}

// program reports whether a name may be run: /var/lib/rpm may well be a link to a directory.
func (v *view) program(p string, st state) bool {
	if st&isSymlink == 0 {
		return st&(isExecutable|isLink|isELF) != 0
	}
	_, target := v.find(p)
	return target&isDir == 0
}

// interpreted reports whether a program is no script, or one whose interpreter is there.
func (v *view) interpreted(p string) bool {
	interpreter, script := v.scripts[p]
	if !script {
		return true
	}
	_, st := v.find(interpreter)
	return st&isFile != 0
}

// places of what is found by its path, in one image.
type places struct{ databases, databaseDirectories, zones []string }

func placesOf(v *view) places {
	return places{v.linked(databaseFiles), v.linked(databaseDirectories), v.linked([]string{"usr/share/zoneinfo"})}
}

// linked adds to paths what symbolic links make of them.
func (v *view) linked(paths []string) []string {
	all := slices.Clone(paths)
	for _, p := range paths {
		if at, ok := follow(p, v.symlinks); ok && at != p {
			all = append(all, at)
		}
	}
	return all
}

// named reports whether p is one of names, also with a version behind it: zsh-5.9, pip3.14.
func named(p string, names map[string]bool) bool {
	base := path.Base(p)
	return names[base] || names[strings.TrimRight(strings.TrimRight(base, "0123456789."), "-")]
}
