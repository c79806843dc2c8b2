package inspect

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/limits"
)

// summary is what Facts say of the file system, each path with the list that it is in.
func summary(f Facts) []string {
	all := []string{}
	for list, paths := range map[string]Paths{
		"shell": f.Shells, "manager": f.PackageManagers, "database": f.PackageDatabases,
		"setuid": f.Setuid, "setgid": f.Setgid, "capable": f.Capabilities, "writable": f.WorldWritable,
	} {
		for _, p := range paths.List {
			all = append(all, list+" "+p)
		}
	}
	slices.Sort(all)
	return all
}

func factsOf(t *testing.T, layers ...[]entry) Facts {
	t.Helper()
	return factsWith(t, v1.Config{}, layers...)
}

func factsWith(t *testing.T, config v1.Config, layers ...[]entry) Facts {
	t.Helper()
	var packed [][]byte
	for _, l := range layers {
		packed = append(packed, archive(t, l...))
	}
	bounds := limits.Registry{ImageBytes: 1 << 30, Entries: 200_000, Ratio: 300}
	facts, err := Image(t.Context(), configured(t, amd64, config, packed...), amd64, bounds)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// inside is a program with text somewhere in it.
func inside(at int, text string) string {
	return x86 + strings.Repeat("\x00", at-len(x86)) + text + strings.Repeat("\x00", 100)
}

const (
	su = 0o4755
	sg = 0o2755
)

func TestFactsOfTheFileSystem(t *testing.T) {
	busybox := inside(1000, "BusyBox v1.36.1 (2024-06-10)")
	type layer = []entry
	tests := map[string]struct {
		layers []layer // lowest first
		want   []string
	}{
		"an image of one program":                                   {[]layer{{dir("etc"), file("etc/passwd", "root:x:0:0::/:/bin/sh"), file("app", x86)}}, nil},
		"shells by name, wherever they are":                         {[]layer{{file("bin/sh", "x"), file("opt/x/zsh", "x"), symlink("ash", "/bin/true")}}, []string{"shell /ash", "shell /bin/sh", "shell /opt/x/zsh"}},
		"a shell with a version in its name":                        {[]layer{{file("bin/zsh-5.9", "x"), file("bin/bash5", "x")}}, []string{"shell /bin/bash5", "shell /bin/zsh-5.9"}},
		"a link to nowhere is a shell":                              {[]layer{{symlink("bin/sh", "busybox")}}, []string{"shell /bin/sh"}},
		"a directory is no shell":                                   {[]layer{{dir("usr/share/locale/sh"), dir("usr/share/fish")}}, nil},
		"what can't be executed is no shell":                        {[]layer{{with(0o644, file("share/completions/bash", "x"))}}, nil},
		"a program that can't be executed is a shell by its name":   {[]layer{{with(0o644, file("opt/sh", x86)), with(0o600, file("opt/rpm", elf.ELFMAG)), with(0o644, file("opt/app", x86))}}, []string{"manager /opt/rpm", "shell /opt/sh"}},
		"a program and a text of one path, neither executable":      {[]layer{{with(0o644, file("sh", x86)), with(0o644, file("sh", "x"))}}, []string{"shell /sh"}},
		"a program that a text replaces":                            {[]layer{{with(0o644, file("sh", x86))}, {with(0o644, file("sh", "x"))}}, nil},
		"shells with rare names":                                    {[]layer{{file("bin/rc", "x"), file("bin/static-sh", "x"), file("bin/es", "x")}}, []string{"shell /bin/rc", "shell /bin/static-sh"}},
		"names are told apart by case":                              {[]layer{{file("bin/sh", "x")}, {gone("bin/.wh.SH"), file("bin/Bash", "x")}}, []string{"shell /bin/sh"}},
		"a word that begins like a shell is none":                   {[]layer{{file("bin/shred", "x"), file("bin/nut", "x")}}, nil},
		"busybox under another name":                                {[]layer{{file("bin/tool", busybox)}}, []string{"shell /bin/tool"}},
		"busybox that can't be executed":                            {[]layer{{with(0o644, file("lib/data", busybox))}}, []string{"shell /lib/data"}},
		"toybox under another name":                                 {[]layer{{file("bin/tool", inside(70_000, "Toybox %s multicall binary%s"))}}, []string{"shell /bin/tool"}},
		"bash under another name, across two reads":                 {[]layer{{file("bin/tool", inside(window-5, "GNU bash, version %s"))}}, []string{"shell /bin/tool"}},
		"a shell far behind in a program":                           {[]layer{{file("bin/tool", inside(20<<20, "@(#)MIRBSD KSH R59"))}}, []string{"shell /bin/tool"}},
		"a text about busybox is no shell":                          {[]layer{{file("share/doc", "BusyBox v1.36.1")}}, nil},
		"a shell hidden by a file is still shown by its link":       {[]layer{{file("bin/tool", busybox), link("other", "bin/tool")}, {file("bin/tool", x86)}}, []string{"shell /other"}},
		"a script with the name of a shell without its interpreter": {[]layer{{file("bin/xonsh", "#!/usr/bin/python3\n"), file("bin/run", "#!/bin/sh")}}, nil},
		"a script with the name of a shell with its interpreter":    {[]layer{{file("usr/bin/python3.14", "x"), symlink("usr/bin/python3", "python3.14")}, {file("bin/xonsh", "#! /usr/bin/python3 -u\n")}}, []string{"shell /bin/xonsh"}},
		"a script and a program of one path":                        {[]layer{{file("bin/sh", "#!/nowhere\n"), file("bin/sh", x86)}}, []string{"shell /bin/sh"}},
		"a program and a script of one path":                        {[]layer{{file("bin/sh", x86), file("bin/sh", "#!/nowhere\n")}}, []string{"shell /bin/sh"}},

		"package managers by name": {[]layer{{file("sbin/apk", "x"), file("usr/bin/pip3.14", "x"), symlink("usr/bin/dpkg", "/bin/true"), with(0o644, file("doc/npm", "x"))}},
			[]string{"manager /sbin/apk", "manager /usr/bin/dpkg", "manager /usr/bin/pip3.14"}},
		"dpkg under another name":                   {[]layer{{with(0o644, file("a", inside(70_000, "error reading from dpkg-deb pipe")))}}, []string{"manager /a"}},
		"dpkg-deb under another name, by two links": {[]layer{{file("a", inside(100, "'%.250s' is not a Debian binary archive (try dpkg-split?)")), link("b", "a")}, {gone(".wh.a")}}, []string{"manager /b"}},
		"a shell does not hide a package manager":   {[]layer{{file("a", inside(100, "BusyBox v1."+strings.Repeat("\x00", 3*window)+"error reading from dpkg-deb pipe"))}}, []string{"manager /a", "shell /a"}},
		"a text about dpkg is none":                 {[]layer{{file("a", "error reading from dpkg-deb pipe")}}, nil},
		"package managers as modules": {[]layer{{with(0o644, file("usr/lib/python3/dist-packages/pip/__main__.py", "x")), file("usr/lib/node_modules/npm/bin/npm-cli.js", "x")}},
			[]string{"manager /usr/lib/node_modules/npm/bin/npm-cli.js", "manager /usr/lib/python3/dist-packages/pip/__main__.py"}},
		"databases of packages": {[]layer{{file("lib/apk/db/installed", "P:x"), file("var/lib/dpkg/status", "Package: x"), file("var/lib/rpm/rpmdb.sqlite", "x"), dir("usr/lib/sysimage/rpm"), file("var/lib/pacman/local/x/desc", "x")}},
			[]string{"database /lib/apk/db/installed", "database /var/lib/dpkg/status", "database /var/lib/pacman/local/x/desc", "database /var/lib/rpm/rpmdb.sqlite"}},
		"the inventory of distroless images is no database":    {[]layer{{file("var/lib/dpkg/status.d/base-files", "Package: base-files")}}, nil},
		"links to directories are no programs":                 {[]layer{{dir("usr/lib/sysimage/rpm"), symlink("var/lib/rpm", "../../usr/lib/sysimage/rpm"), dir("x"), symlink("sh", "x")}}, nil},
		"a database behind a link to its directory":            {[]layer{{dir("data"), file("data/status", "x")}, {symlink("var/lib/dpkg", "../../data")}}, []string{"database /data/status"}},
		"a directory with the name of a database is none":      {[]layer{{dir("var/lib/dpkg/status")}}, nil},
		"a database that was removed":                          {[]layer{{file("lib/apk/db/installed", "x")}, {gone("lib/apk/db/.wh.installed")}}, nil},
		"setuid, setgid and both":                              {[]layer{{with(su, file("a", "x")), with(sg, file("b", "x")), with(0o6755, file("c", "x")), with(0o4000, file("d", ""))}}, []string{"setgid /b", "setgid /c", "setuid /a", "setuid /c", "setuid /d"}},
		"modes with bits of the file's type":                   {[]layer{{with(0o104755, file("a", "x")), with(0o100755, file("b", "x"))}}, []string{"setuid /a"}},
		"setgid directories give nobody more rights":           {[]layer{{with(0o2775, dir("var/local"))}}, nil},
		"setuid symbolic links and pipes give nobody more":     {[]layer{{with(0o4777, symlink("a", "b")), with(0o4777, entry{name: "c", flag: tar.TypeFifo})}}, nil},
		"file capabilities":                                    {[]layer{{attributed("bin/ping", "security.capability", "\x01\x00\x00\x02")}}, []string{"capable /bin/ping"}},
		"file capabilities of a hard link":                     {[]layer{{attributed("a", "security.capability", "\x01"), link("b", "a")}, {gone(".wh.a")}}, []string{"capable /b"}},
		"a setuid file that an upper layer replaces":           {[]layer{{with(su, file("bin/su", "x"))}, {file("bin/su", "x")}}, nil},
		"a setuid file that an upper layer removes":            {[]layer{{with(su, file("bin/su", "x"))}, {gone("bin/.wh.su")}}, nil},
		"a setuid file below a directory that became a file":   {[]layer{{with(su, file("bin/su", "x"))}, {file("bin", "x")}}, nil},
		"a setuid file below a directory that became a link":   {[]layer{{with(su, file("bin/su", "x"))}, {symlink("bin", "usr/bin")}}, nil},
		"a file that only an upper layer makes setuid":         {[]layer{{file("a", "x")}, {with(su, file("a", "x"))}}, []string{"setuid /a"}},
		"a removed setuid file behind a hard link":             {[]layer{{with(su, file("a", "x")), link("b", "a")}, {gone(".wh.a")}}, []string{"setuid /b"}},
		"a hard link whose file was made setuid later":         {[]layer{{file("a", "x")}, {link("b", "a")}, {with(su, file("a", "x"))}}, []string{"setuid /a"}},
		"a hard link to a setuid file that was changed later":  {[]layer{{with(su, file("a", "x"))}, {link("b", "a")}, {file("a", "x")}}, []string{"setuid /b"}},
		"a setuid hard link makes its file setuid":             {[]layer{{file("a", "x"), with(su, link("b", "a"))}, {gone(".wh.b")}}, []string{"setuid /a"}},
		"a hard link in a chain":                               {[]layer{{with(su, file("a", "x")), link("b", "a"), link("c", "b")}, {gone(".wh.a"), gone(".wh.b")}}, []string{"setuid /c"}},
		"a hard link to itself, and to nowhere":                {[]layer{{link("a", "a"), with(su, link("b", "nowhere"))}}, []string{"setuid /b"}},
		"a hard link through a symbolic link":                  {[]layer{{with(su, file("z/a", "x")), symlink("y", "z"), link("b", "y/a")}, {gone(".wh.z")}}, []string{"setuid /b"}},
		"two setuid files of one path are one":                 {[]layer{{with(su, file("a", "x")), with(su, file("./a", "x"))}}, []string{"setuid /a"}},
		"of two entries of one path the harmless one":          {[]layer{{with(su, file("a", "x")), file("a", "x")}}, []string{"setuid /a"}},
		"names that climb out of the root":                     {[]layer{{with(su, file("../../bin/su", "x")), file("/../lib/../bin/sh", "x")}}, []string{"setuid /bin/su", "shell /bin/sh"}},
		"a name that climbs through a link is cleaned first":   {[]layer{{symlink("x", "deep/er"), file("x/../bin/sh", "x")}}, []string{"shell /bin/sh"}},
		"a global header is no file":                           {[]layer{{{name: "bin/sh", flag: tar.TypeXGlobalHeader}}}, nil},
		"a file of a type of its own":                          {[]layer{{with(su, entry{name: "bin/sh", flag: tar.TypeCont})}}, []string{"setuid /bin/sh", "shell /bin/sh"}},
		"directories that everybody may write to":              {[]layer{{with(0o777, dir("data")), with(0o1777, dir("tmp")), with(0o775, dir("var")), with(0o666, file("f", "x"))}}, []string{"writable /data"}},
		"the root that everybody may write to":                 {[]layer{{with(0o777, dir("./"))}}, []string{"writable /"}},
		"a directory that only an upper layer opens":           {[]layer{{dir("data"), file("data/x", "x")}, {with(0o777, dir("data"))}}, []string{"writable /data"}},
		"a directory that an upper layer closes":               {[]layer{{with(0o777, dir("data")), file("data/x", "x")}, {dir("data")}}, nil},
		"a directory that an upper layer only writes to":       {[]layer{{with(0o777, dir("data"))}, {file("data/x", "x")}}, []string{"writable /data"}},
		"a directory of which an upper layer hides the inside": {[]layer{{with(0o777, dir("data")), with(0o777, dir("data/x"))}, {gone("data/.wh..wh..opq")}}, []string{"writable /data"}},
		"written through a link that was removed later":        {[]layer{{symlink("x", "z"), file("x/sh", "x")}, {gone(".wh.x")}}, []string{"shell /z/sh"}},
		"written through a link that came late":                {[]layer{{symlink("q", "r"), file("x/a", "x"), symlink("x", "z"), file("x/sh", "x")}, {gone(".wh.x")}}, []string{"shell /z/sh"}},
		"a file that is a link too":                            {[]layer{{dir("z"), symlink("bin/sh", "/z"), with(0o644, file("bin/sh", "x"))}}, []string{"shell /bin/sh"}},
		"hard links of two layers to one file":                 {[]layer{{with(su, file("a", "x"))}, {link("b", "a")}, {link("c", "a"), gone(".wh.a")}}, []string{"setuid /b", "setuid /c"}},
		"a hard link to what a layer between made opaque":      {[]layer{{with(su, file("a/x", "x"))}, {gone("a/.wh..wh..opq")}, {link("b", "a/x")}}, nil},
		"a hard link to what a layer between replaced":         {[]layer{{with(su, file("a/x", "x"))}, {file("a", "x")}, {link("b", "a/x")}}, nil},
		"what only some may execute":                           {[]layer{{with(0o100, file("a/sh", "x")), with(0o010, file("b/sh", "x")), with(0o001, file("c/sh", "x"))}}, []string{"shell /a/sh", "shell /b/sh", "shell /c/sh"}},
		"written through links to links":                       {[]layer{{symlink("a", "/b/c"), symlink("b", "./d//"), file("a/sh", "x")}, {gone(".wh.a"), gone(".wh.b")}}, []string{"shell /d/c/sh"}},
		"written through a link out of the root":               {[]layer{{symlink("a/b", "../../../z"), file("a/b/sh", "x")}, {gone(".wh.a")}}, []string{"shell /z/sh"}},
		"written before and after a link became a directory":   {[]layer{{symlink("x", "z"), file("x/sh", "x"), dir("x"), file("x/ash", "x")}, {gone(".wh.z")}}, []string{"shell /x/ash"}},
		"hidden through a link that became a directory":        {[]layer{{file("x/sh", "x")}, {symlink("x", "z"), file("x/sh", ""), dir("x")}, {gone(".wh.z")}}, []string{"shell /x/sh"}},
		"a directory that is removed and made by one layer":    {[]layer{{file("x/sh", "x")}, {gone(".wh.x"), dir("x")}}, []string{"shell /x/sh"}},
		"a file that is removed and made by one layer":         {[]layer{{with(su, file("x", "x"))}, {gone(".wh.x"), file("x", "x")}}, nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			got := summary(factsOf(t, tt.layers...))
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// The tests mount their probe there, and would not see what the image has.
func TestTheReservedPath(t *testing.T) {
	type layer = []entry
	for desc, tt := range map[string]struct {
		layers []layer
		want   bool
	}{
		"nothing":                       {[]layer{{file("app", x86)}}, false},
		"a file":                        {[]layer{{file("basewright-probe", "x")}}, true},
		"a directory":                   {[]layer{{dir("basewright-probe/")}}, true},
		"a file in it":                  {[]layer{{file("./basewright-probe/probe", "x")}}, true},
		"a symbolic link":               {[]layer{{symlink("basewright-probe", "tmp")}}, true},
		"a hard link":                   {[]layer{{file("app", x86), link("basewright-probe", "app")}}, true},
		"a pipe":                        {[]layer{{entry{name: "basewright-probe", flag: tar.TypeFifo}}}, true},
		"removed by an upper layer":     {[]layer{{file("basewright-probe/probe", "x")}, {gone(".wh.basewright-probe")}}, false},
		"a name that begins so":         {[]layer{{file("basewright-probes", "x")}}, false},
		"a file of that name elsewhere": {[]layer{{file("opt/basewright-probe", "x")}}, false},
	} {
		t.Run(desc, func(t *testing.T) {
			if got := factsOf(t, tt.layers...).HasReserved; got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestUsersOfTheImage(t *testing.T) {
	const ours = "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	type layer = []entry
	tests := map[string]struct {
		layers []layer
		want   *Accounts
	}{
		"none":                                   {[]layer{{file("bin/a", x86)}}, nil},
		"a file":                                 {[]layer{{file("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\n"+ours)}}, &Accounts{[]Account{{0, 0}, {65532, 65532}}, 2}},
		"an empty file":                          {[]layer{{file("etc/passwd", "")}}, &Accounts{}},
		"lines that are none":                    {[]layer{{file("etc/passwd", "#comment\n\nx:x:many:1::/:/\nx:x:1:many::/:/\n:::\n+::::::\n"+ours)}}, &Accounts{[]Account{{65532, 65532}}, 1}},
		"the first line of a user counts":        {[]layer{{file("etc/passwd", "a:x:65532:0\n"+ours)}}, &Accounts{[]Account{{65532, 0}}, 1}},
		"the upper layer's":                      {[]layer{{file("etc/passwd", "root:x:0:0:::")}, {file("etc/passwd", ours)}}, &Accounts{[]Account{{65532, 65532}}, 1}},
		"removed":                                {[]layer{{file("etc/passwd", ours)}, {gone("etc/.wh.passwd")}}, nil},
		"a directory":                            {[]layer{{dir("etc/passwd"), file("etc/passwd/passwd", ours)}}, nil},
		"a symbolic link":                        {[]layer{{file("usr/lib/users", ours)}, {symlink("etc/passwd", "../usr/lib/users")}}, &Accounts{[]Account{{65532, 65532}}, 1}},
		"a symbolic link whose file comes later": {[]layer{{symlink("etc/passwd", "/data/users")}, {file("data/users", ours)}}, &Accounts{[]Account{{65532, 65532}}, 1}},
		"through a symbolic link of its directory": {[]layer{{file("conf/passwd", ours), symlink("etc", "conf")}}, &Accounts{[]Account{{65532, 65532}}, 1}},
		"symbolic links in a circle":               {[]layer{{symlink("etc/passwd", "passwd-"), symlink("etc/passwd-", "passwd"), file("x/passwd", ours)}}, nil},
		"a symbolic link to nowhere":               {[]layer{{symlink("etc/passwd", "passwd-"), file("x/passwd", ours)}}, nil},
		"a hard link":                              {[]layer{{file("usr/lib/users", ours)}, {link("etc/passwd", "usr/lib/users"), gone("usr/.wh.lib")}}, &Accounts{[]Account{{65532, 65532}}, 1}},
		"a hard link in its layer":                 {[]layer{{file("users", ours), link("etc/passwd", "users")}, {gone(".wh.users")}}, &Accounts{[]Account{{65532, 65532}}, 1}},
		"a link to what is only a little like it":  {[]layer{{file("users", "a:x:65532:65532\n"), symlink("etc/passwd", "../users")}}, nil},
		"more than are remembered":                 {[]layer{{file("etc/passwd", users(maxAccounts+5))}}, &Accounts{accountsUpTo(maxAccounts), maxAccounts + 5}},
		"more than is read":                        {[]layer{{file("etc/passwd", ours+strings.Repeat("#", maxPasswd-len(ours)-1)+"\nroot:x:0:0:::\n")}}, &Accounts{[]Account{{65532, 65532}}, 1}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, factsOf(t, tt.layers...).Passwd); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func users(n int) string {
	var b strings.Builder
	for _, a := range accountsUpTo(n) {
		fmt.Fprintf(&b, "u:x:%d:%d:::\n", a.UID, a.GID)
	}
	return b.String()
}

func accountsUpTo(n int) []Account {
	var all []Account
	for i := range n {
		all = append(all, Account{int64(i), int64(i)})
	}
	return all
}

func TestFilesThatLookLikeUsersAreBounded(t *testing.T) {
	var entries []entry
	for i := range maxCandidates {
		entries = append(entries, file(fmt.Sprintf("%d/passwd", i), users(3)))
	}
	if f := factsOf(t, append(entries, file("etc/passwd", users(3)))); f.Passwd != nil {
		t.Error("one more than the bound was remembered")
	}
	if f := factsOf(t, append(entries[1:], file("etc/passwd", users(3)))); f.Passwd == nil {
		t.Error("as many as the bound were not")
	}
}

func TestCertificatesAndTimeZones(t *testing.T) {
	const bundle = "etc/ssl/certs/ca-certificates.crt"
	type layer = []entry
	tests := map[string]struct {
		env           []string
		layers        []layer
		bundle, zones bool
	}{
		"neither":                           {nil, []layer{{dir("usr/share/zoneinfo"), dir("etc/ssl/certs")}}, false, false},
		"both":                              {nil, []layer{{file("usr/share/zoneinfo/Europe/Berlin", "x"), file(bundle, "x")}}, true, true},
		"removed":                           {nil, []layer{{file("usr/share/zoneinfo/Europe/Berlin", "x"), file(bundle, "x")}, {gone("etc/.wh.ssl"), gone("usr/share/zoneinfo/.wh..wh..opq")}}, false, false},
		"an empty bundle":                   {nil, []layer{{file(bundle, "")}}, false, false},
		"a bundle behind links":             {nil, []layer{{file("pki/bundle", "x")}, {symlink("etc/ssl", "/share/ssl"), symlink("share/ssl/certs/ca-certificates.crt", "../../../pki/bundle")}}, true, false},
		"a bundle that a variable names":    {[]string{"SSL_CERT_FILE=/pki/bundle"}, []layer{{file("pki/bundle", "x")}}, true, false},
		"a bundle where the variable isn't": {[]string{"SSL_CERT_FILE=/pki/bundle"}, []layer{{file(bundle, "x")}}, false, false},
		"a variable that names a directory": {[]string{"SSL_CERT_FILE=/"}, []layer{{file(bundle, "x")}}, false, false},
		"time zones behind a link":          {nil, []layer{{file("zones/UTC", "x"), symlink("usr/share/zoneinfo", "../../zones")}}, false, true},
		"a file in place of the time zones": {nil, []layer{{file("usr/share/zoneinfo", "x"), file("usr/share/zoneinfos/UTC", "x")}}, false, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			f := factsWith(t, v1.Config{Env: tt.env}, tt.layers...)
			if f.HasCABundle != tt.bundle || f.HasZoneinfo != tt.zones {
				t.Errorf("bundle %v, zones %v", f.HasCABundle, f.HasZoneinfo)
			}
		})
	}
}

func TestFactsOfTheConfigAreBounded(t *testing.T) {
	long := strings.Repeat("ä", 200)
	labels := map[string]string{strings.Repeat("a", maxLabelName+1): "x", "a": long}
	for i := range 200 {
		labels[fmt.Sprintf("label-%03d", i)] = "x"
	}
	f := factsWith(t, v1.Config{User: long, Labels: labels, Env: []string{"PATH=" + long, "TOKEN=secret", "ZONEINFO=/z=1", "TZDIR"}})
	if _, ok := f.Labels[strings.Repeat("a", maxLabelName+1)]; ok {
		t.Error("a label with too long a name")
	}
	if len(f.User) > maxValue || len(f.Labels) != maxLabels || len(f.Labels["a"]) > maxValue || f.Labels["label-000"] != "x" {
		t.Errorf("got %d bytes of user, %d labels, %d bytes of a label", len(f.User), len(f.Labels), len(f.Labels["a"]))
	}
	if want := map[string]string{"PATH": clip(long, maxValue), "ZONEINFO": "/z=1", "TZDIR": ""}; !maps.Equal(f.Env, want) {
		t.Errorf("got %q", f.Env)
	}
}

func TestListsAreBoundedAndSorted(t *testing.T) {
	var entries []entry
	for i := range 100_000 {
		entries = append(entries, with(su, file(fmt.Sprintf("%d/sh", 99_999-i), "")))
	}
	f := factsOf(t, entries)
	if f.Shells.Total != 100_000 || f.Setuid.Total != 100_000 || len(f.Shells.List) != maxPaths || !slices.IsSorted(f.Shells.List) || f.Shells.List[0] != "/0/sh" {
		t.Errorf("got %d and %d, %q", f.Shells.Total, f.Setuid.Total, f.Shells.List)
	}
	entries = nil
	for i := range 60 {
		entries = append(entries, file(strings.Repeat("d", 200)+"/"+strings.Repeat("\xff", 200)+fmt.Sprint(i)+"/sh", ""))
	}
	f = factsOf(t, entries)
	if n := len(strings.Join(f.Shells.List, "")); n > maxPathsBytes || n < maxPathsBytes-maxShownPath || f.Shells.Total != 60 || len(f.Shells.List[0]) > maxShownPath {
		t.Errorf("%d bytes of %d paths", n, f.Shells.Total)
	}
}

func TestEveryMarkerIsFoundWhereverReadsEnd(t *testing.T) {
	for i, pattern := range programMarkers.patterns {
		for _, at := range []int{len(x86), 4000, window - len(pattern), window - len(pattern) + 1, window - len(pattern)/2, window, 3*window - programMarkers.most, 3*window - 1} {
			content := inside(at, pattern)
			s := &scan{buffer: make([]byte, window), limits: limits.Registry{ImageBytes: 1 << 30}}
			r := iotest.HalfReader(bytes.NewReader([]byte(content)))
			n, err := fill(r, s.buffer)
			if err != nil {
				t.Fatal(err)
			}
			if found, err := s.inside(r, n); found != programMarkers.means[i] || err != nil {
				t.Errorf("%q at %d: %v, %v", pattern, at, found, err)
			}
			broken := strings.Replace(content, pattern, pattern[:len(pattern)-1]+"\x01", 1)
			if programMarkers.in([]byte(broken)) != 0 {
				t.Errorf("half of %q is enough", pattern)
			}
		}
	}
}
