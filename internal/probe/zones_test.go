package probe

import (
	"archive/zip"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// goZones is the archive that Go itself comes with.
func goZones(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(runtime.GOROOT(), "lib", "time", "zoneinfo.zip")) //nolint:staticcheck // The tests run where they were built.
	must(t, err)
	return string(raw)
}

// zoneFiles are some zones below a directory.
func zoneFiles(t *testing.T, dir string, names ...string) files {
	t.Helper()
	archive := goZones(t)
	opened, err := zip.NewReader(strings.NewReader(archive), int64(len(archive)))
	must(t, err)
	all := files{}
	for _, name := range names {
		f, err := opened.Open(name)
		must(t, err)
		raw, err := io.ReadAll(f)
		must(t, err)
		all[dir+"/"+name] = string(raw)
	}
	return all
}

func with(f files, more files) files {
	maps.Copy(f, more)
	return f
}

func TestTimeZones(t *testing.T) {
	four := []string{"Europe/Berlin", "America/New_York", "Asia/Tokyo", "UTC"}
	const usual = "usr/share/zoneinfo"
	whole := func() files { return zoneFiles(t, usual, four...) }
	env := func(pairs ...string) map[string]string { return map[string]string{pairs[0]: pairs[1]} }
	tests := map[string]struct {
		image files
		env   map[string]string
		want  Outcome
		says  string
	}{
		"none, and none are promised":             {files{"etc/passwd": ""}, nil, Absent, "promises none"},
		"none, and a TZ that needs none":          {files{}, env("TZ", "CET-1CEST"), Absent, ""},
		"none, and a TZ of UTC":                   {files{}, env("TZ", "UTC"), Absent, ""},
		"all in the usual place":                  {whole(), nil, Passed, "4 time zones load from /" + usual},
		"all in the place of ZONEINFO":            {zoneFiles(t, "zones", four...), env("ZONEINFO", "/zones"), Passed, "/zones"},
		"all in the place of TZDIR":               {zoneFiles(t, "zones", four...), env("TZDIR", "/zones"), Passed, "/zones"},
		"Go's archive":                            {files{"zones.zip": goZones(t)}, env("ZONEINFO", "/zones.zip"), Passed, "/zones.zip"},
		"a TZ that loads":                         {with(whole(), zoneFiles(t, usual, "Asia/Kolkata")), env("TZ", ":Asia/Kolkata"), Passed, ""},
		"an empty directory":                      {files{usual + "/": ""}, nil, Failed, "Europe/Berlin does not load from /" + usual},
		"one is missing":                          {zoneFiles(t, usual, "Europe/Berlin", "America/New_York", "UTC"), nil, Failed, "Asia/Tokyo does not load"},
		"a promise of ZONEINFO":                   {files{}, env("ZONEINFO", "/zones"), Failed, "does not load from /zones"},
		"a promise of TZ":                         {files{}, env("TZ", "Europe/Berlin"), Failed, "TZ promises time zones"},
		"a TZ that is missing":                    {whole(), env("TZ", "Asia/Kolkata"), Failed, "TZ says Asia/Kolkata, which does not load"},
		"a TZ that leaves the directory is none":  {whole(), env("TZ", "../../etc/passwd"), Passed, ""},
		"an empty file":                           {with(whole(), files{usual + "/Asia/Tokyo": ""}), nil, Failed, "Asia/Tokyo does not load"},
		"a file of another zone":                  {with(whole(), files{usual + "/Asia/Tokyo": whole()[usual+"/UTC"]}), nil, Failed, "Asia/Tokyo of /" + usual + " is another one: it is 0s from UTC in summer, and not 9h0m0s"},
		"a FIFO, which would never end":           {with(whole(), files{usual + "/UTC": "fifo"}), nil, Failed, "is not a regular file"},
		"a huge file":                             {with(whole(), files{usual + "/UTC": strings.Repeat(" ", maxZone+1)}), nil, Failed, "has more than"},
		"an archive that is none":                 {files{"zones.zip": "PK"}, env("ZONEINFO", "/zones.zip"), Failed, "does not load from /zones.zip"},
		"an archive without zones":                {files{"zones.zip": "PK\x05\x06" + strings.Repeat("\x00", 18)}, env("ZONEINFO", "/zones.zip"), Failed, "does not load"},
		"not the machine's own, or those of Go":   {files{"usr/share/zoneinfo/Europe/": ""}, nil, Failed, "Europe/Berlin does not load"},
		"ZONEINFO before the usual place, as Go":  {whole(), env("ZONEINFO", "/missing"), Failed, "/missing"},
		"a FIFO in place of an archive":           {files{"zones": "fifo"}, env("ZONEINFO", "/zones"), Failed, "is not a regular file"},
		"a TZ that is a path is left to programs": {files{}, env("TZ", "/etc/localtime"), Absent, ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			expect(t, machine(t, tt.image, tt.env).timeZones(), tt.want, tt.says)
		})
	}
}
