//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// aptSource is one entry of apt's lists of package sources.
type aptSource struct {
	uris, suites, components []string
	// signedBy is kept as it is: a path, or a key over several lines.
	signedBy string
	trusted  string
}

// release is what /etc/os-release says about the machine.
type release struct {
	id, version, codename string
}

// cacheName is the name of the entry in the cache.
func (r release) cacheName() string { return "debian-" + r.id + r.version }

func readRelease(path string) (release, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return release{}, fmt.Errorf("finding out which distribution this is: %w", err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(content)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = strings.Trim(value, `"'`)
	}
	r := release{id: values["ID"], version: values["VERSION_ID"], codename: values["VERSION_CODENAME"]}
	if r.codename == "" {
		return release{}, fmt.Errorf("%s has no VERSION_CODENAME: the sandbox needs a released Debian or Ubuntu", path)
	}
	return r, nil
}

// readSources reads /etc/apt/sources.list and sources.list.d, in both formats.
func readSources(etc string) ([]aptSource, error) {
	files := []string{filepath.Join(etc, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, err := filepath.Glob(filepath.Join(etc, "sources.list.d", pattern))
		if err != nil {
			return nil, fmt.Errorf("listing the package sources: %w", err)
		}
		files = append(files, more...)
	}
	var sources []aptSource
	for _, file := range files {
		content, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the package sources: %w", err)
		}
		if strings.HasSuffix(file, ".sources") {
			sources = append(sources, parseStanzas(string(content))...)
		} else {
			sources = append(sources, parseLines(string(content))...)
		}
	}
	return sources, nil
}

// parseLines reads the one-line format: deb [option=value ...] uri suite component...
func parseLines(text string) []aptSource {
	var sources []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		var source aptSource
		rest = strings.TrimSpace(rest)
		if options, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(rest, "[") {
			source.setOptions(strings.Fields(strings.TrimPrefix(options, "[")))
			rest = after
		}
		if fields := strings.Fields(rest); len(fields) >= 3 {
			source.uris, source.suites, source.components = fields[:1], fields[1:2], fields[2:]
			sources = append(sources, source)
		}
	}
	return sources
}

func (s *aptSource) setOptions(options []string) {
	for _, option := range options {
		key, value, _ := strings.Cut(option, "=")
		switch strings.ToLower(key) {
		case "signed-by":
			s.signedBy = value
		case "trusted":
			s.trusted = value
		}
	}
}

// parseStanzas reads the deb822 format.
func parseStanzas(text string) []aptSource {
	var sources []aptSource
	stanza := map[string]string{}
	field := ""
	flush := func() {
		if source, ok := stanzaSource(stanza); ok {
			sources = append(sources, source)
		}
		stanza, field = map[string]string{}, ""
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			flush()
		case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
			stanza[field] += "\n" + line
		default:
			key, value, _ := strings.Cut(line, ":")
			field = strings.ToLower(key)
			stanza[field] = strings.TrimSpace(value)
		}
	}
	flush()
	return sources
}

func stanzaSource(stanza map[string]string) (aptSource, bool) {
	binary := slices.Contains(strings.Fields(stanza["types"]), "deb")
	if !binary || strings.EqualFold(stanza["enabled"], "no") {
		return aptSource{}, false
	}
	return aptSource{
		uris:       strings.Fields(stanza["uris"]),
		suites:     strings.Fields(stanza["suites"]),
		components: strings.Fields(stanza["components"]),
		signedBy:   stanza["signed-by"],
		trusted:    stanza["trusted"],
	}, true
}

// ownSources writes a list of sources with only the distribution's own
// archives, for amd64 and for arm64. Other vendors' archives could replace a
// package (containerd, say) and may be out of reach.
func ownSources(all []aptSource, r release) (string, error) {
	var text strings.Builder
	for _, source := range all {
		source.suites = slices.DeleteFunc(slices.Clone(source.suites), func(suite string) bool { return !r.owns(suite) })
		if len(source.suites) == 0 || !slices.Contains(source.components, "main") {
			continue
		}
		source.write(&text, "amd64", source.uris)
		source.write(&text, "arm64", r.arm64URIs(source.uris))
	}
	if text.Len() == 0 {
		return "", fmt.Errorf("found no package source for %s %s in /etc/apt", r.id, r.codename)
	}
	return text.String(), nil
}

// owns tells whether a suite is one of the release and gets its packages and
// their fixes, and nothing else.
func (r release) owns(suite string) bool {
	for _, name := range []string{r.codename, "stable"} {
		if slices.Contains([]string{name, name + "-updates", name + "-security", name + "/updates"}, suite) {
			return true
		}
	}
	return false
}

// arm64URIs maps Ubuntu's archive for PCs to the one for everything else.
func (r release) arm64URIs(uris []string) []string {
	if r.id != "ubuntu" {
		return uris
	}
	return []string{"http://ports.ubuntu.com/ubuntu-ports"}
}

func (s aptSource) write(to *strings.Builder, architecture string, uris []string) {
	fmt.Fprintf(to, "Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nArchitectures: %s\n",
		strings.Join(uris, " "), strings.Join(s.suites, " "), strings.Join(s.components, " "), architecture)
	if s.signedBy != "" {
		fmt.Fprintf(to, "Signed-By: %s\n", s.signedBy)
	}
	if s.trusted != "" {
		fmt.Fprintf(to, "Trusted: %s\n", s.trusted)
	}
	to.WriteString("\n")
}
