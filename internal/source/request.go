package source

import (
	"cmp"
	"io/fs"
	"net/url"
	"regexp"
	"strings"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// commitID matches the name of a commit.
var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// request is a git source whose fields were checked.
type request struct {
	url        *url.URL
	path       string // "." for the root
	dockerfile string
}

func (r request) key(commit string) revisionKey {
	return revisionKey{url: r.url.String(), commit: commit, path: r.path, dockerfile: r.dockerfile}
}

func newRequest(git Git, dockerfile string) (request, error) {
	u, err := parseURL(git.URL)
	if err != nil {
		return request{}, err
	}
	path, err := cleanPath("spec.source.git.path", cmp.Or(git.Path, "."))
	if err != nil {
		return request{}, err
	}
	file, err := cleanPath("spec.dockerfile", cmp.Or(dockerfile, "Dockerfile"))
	if err != nil {
		return request{}, err
	}
	return request{url: u, path: path, dockerfile: file}, nil
}

// parseURL accepts http and https URLs. Its errors never repeat what may hold a secret:
// user information, queries, and text that is not a URL.
func parseURL(raw string) (*url.URL, error) {
	const field = "spec.source.git.url"
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "%s is not a URL: write https://<host>/<repository>", field)
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	switch {
	case u.User != nil:
		return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "%s holds credentials, which everyone who may read the object sees: remove them, leaving %q, and revoke them", field, shown.String())
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "%s: %q is not supported: use https://", field, shown.String())
	case u.Hostname() == "" || strings.Trim(u.Path, "/") == "":
		return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "%s: %q names no repository: write https://<host>/<repository>", field, shown.String())
	case u.RawQuery+u.Fragment != "" || u.ForceQuery:
		return nil, pipeline.Terminalf(pipeline.ReasonSourceInvalid, "%s has a query or a fragment: leave %q", field, shown.String())
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// cleanPath checks a relative slash path of the spec.
func cleanPath(field, path string) (string, error) {
	cleaned := cmp.Or(strings.TrimSuffix(strings.TrimPrefix(path, "./"), "/"), ".")
	if !fs.ValidPath(cleaned) {
		return "", pipeline.Terminalf(pipeline.ReasonSourceInvalid, "%s: %q must be a relative path with slashes, without empty parts and without ..", field, path)
	}
	for name := range strings.SplitSeq(cleaned, "/") {
		if cleaned != "." && !validName(name) {
			return "", pipeline.Terminalf(pipeline.ReasonSourceInvalid, "%s: %q has a part that is not allowed: %q", field, path, name)
		}
	}
	return cleaned, nil
}

// validName says whether a file of a context may have this name. Names of git's own
// directory are refused, since tools run hooks and configuration that they find there.
func validName(name string) bool {
	switch {
	case name == "", name == ".", name == "..", len(name) > 255, strings.EqualFold(name, ".git"):
		return false
	}
	return !strings.ContainsAny(name, "/\\\x00\n\r")
}
