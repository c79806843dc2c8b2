package source

import (
	"cmp"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// commitID matches the name of a commit.
var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// request is a git source whose fields were checked.
type request struct {
	url         *url.URL
	path        string // "." for the root
	dockerfile  string
	credentials *Credentials
}

func (r request) key(commit string) revisionKey {
	return revisionKey{url: r.url.String(), commit: commit, path: r.path, dockerfile: r.dockerfile, credentials: r.credentials.digest()}
}

func newRequest(git Git, dockerfile string) (request, error) {
	u, err := parseURL(git.URL)
	if err != nil {
		return request{}, err
	}
	if err := git.Credentials.check(u); err != nil {
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
	return request{url: u, path: path, dockerfile: file, credentials: git.Credentials}, nil
}

const urlField = "spec.source.git.url"

// parseURL accepts https, http and ssh URLs. Its errors never repeat what may hold a secret:
// user information, queries, and text that is not a URL.
func parseURL(raw string) (*url.URL, error) {
	if scpForm.MatchString(raw) {
		return nil, badURL("is in the form of scp: write ssh://git@<host>/<path> instead of git@<host>:<path>")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return nil, badURL("is not a URL: write https://<host>/<repository> or ssh://<user>@<host>/<repository>")
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	switch {
	case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "ssh":
		return nil, badURL("%q is not supported: use https:// or ssh://", shown.String())
	case u.Hostname() == "" || strings.Trim(u.Path, "/") == "":
		return nil, badURL("%q names no repository: write %s://<host>/<repository>", shown.String(), u.Scheme)
	case u.RawQuery+u.Fragment != "" || u.ForceQuery:
		return nil, badURL("has a query or a fragment: leave %q", shown.String())
	}
	if err := checkUser(u, shown.String()); err != nil {
		return nil, err
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// scpForm is what git also takes for SSH: user, host and path.
var scpForm = regexp.MustCompile(`^(?:[^/:@]*@[A-Za-z0-9.-]+|[A-Za-z0-9-]+\.[A-Za-z0-9.-]+):`)

func badURL(format string, args ...any) error {
	return pipeline.Terminalf(pipeline.ReasonSourceInvalid, urlField+": "+format, args...)
}

// checkUser checks what is before the host, and for SSH what goes into a command line.
func checkUser(u *url.URL, shown string) error {
	_, password := u.User.Password()
	switch {
	case u.Scheme != "ssh" && u.User != nil, password:
		return badURL("holds credentials, which everyone who may read the object sees: remove them, leaving %q, and revoke them; name a Secret in %s", shown, secretField)
	case u.Scheme != "ssh":
		return nil
	case u.User.Username() == "":
		return badURL("%q has no user: write ssh://<user>@<host>/<repository>, with the user git at most servers", shown)
	case strings.ContainsFunc(u.User.Username()+u.Path, unicode.IsControl) || !utf8.ValidString(u.Path):
		return badURL("%q has control characters: remove them", shown)
	}
	if port, err := strconv.Atoi(cmp.Or(u.Port(), sshPort)); err != nil || port < 1 || port > 65535 {
		return badURL("%q has a port that is none: use one from 1 to 65535", shown)
	}
	return nil
}

// cleanPath checks a relative slash path of the spec.
func cleanPath(field, path string) (string, error) {
	cleaned := cmp.Or(strings.TrimSuffix(strings.TrimPrefix(path, "./"), "/"), ".")
	if !fs.ValidPath(cleaned) {
		return "", pipeline.Terminalf(nameReason(path), "%s: %q must be a relative path with slashes, without empty parts and without ..", field, path)
	}
	for name := range strings.SplitSeq(cleaned, "/") {
		if cleaned != "." && !validName(name) {
			return "", pipeline.Terminalf(pipeline.ReasonSourceInvalid, "%s: %q has a part that is not allowed: %q", field, path, name)
		}
	}
	return cleaned, nil
}

// nameReason is the reason for refusing a path: some lead out of the context.
func nameReason(path string) string {
	if slices.Contains(strings.Split(path, "/"), "..") {
		return pipeline.ReasonSourcePathEscapes
	}
	return pipeline.ReasonSourceInvalid
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
