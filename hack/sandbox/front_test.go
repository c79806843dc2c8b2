//go:build linux

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestFrontAsksForThePasswordWhereItIsNeeded(t *testing.T) {
	answer := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	f := front{password: "secret", registry: answer("registry"), git: answer("git"), databases: answer("databases")}
	for name, test := range map[string]struct {
		method, url, password string
		status                int
		body                  string
	}{
		"anybody reads the registry":                         {"GET", "https://registry.basewright.test/v2/a/manifests/1", "", 200, "registry"},
		"a port in the host does not matter":                 {"GET", "https://registry.basewright.test:443/v2/", "", 200, "registry"},
		"nobody starts an upload":                            {"POST", "https://registry.basewright.test/v2/a/blobs/uploads/", "", 401, ""},
		"nobody continues one":                               {"PATCH", "https://registry.basewright.test/v2/a/blobs/uploads/1", "", 401, ""},
		"nobody pushes a manifest":                           {"PUT", "https://registry.basewright.test/v2/a/manifests/1", "", 401, ""},
		"nobody deletes":                                     {"DELETE", "https://registry.basewright.test/v2/a/manifests/1", "", 401, ""},
		"the password allows writing":                        {"PUT", "https://registry.basewright.test/v2/a/manifests/1", "secret", 200, "registry"},
		"a wrong password does not":                          {"PUT", "https://registry.basewright.test/v2/a/manifests/1", "guess", 401, ""},
		"a wrong password does not even read":                {"GET", "https://registry.basewright.test/v2/", "guess", 401, ""},
		"anybody asks git what there is":                     {"GET", "https://git.basewright.test/a.git/info/refs?service=git-upload-pack", "", 200, "git"},
		"anybody fetches, which is a POST":                   {"POST", "https://git.basewright.test/a.git/git-upload-pack", "", 200, "git"},
		"nobody prepares a push":                             {"GET", "https://git.basewright.test/a.git/info/refs?service=git-receive-pack", "", 401, ""},
		"nobody pushes":                                      {"POST", "https://git.basewright.test/a.git/git-receive-pack", "", 401, ""},
		"the password allows pushing":                        {"POST", "https://git.basewright.test/a.git/git-receive-pack", "secret", 200, "git"},
		"nobody asks a private repository what there is":     {"GET", "https://git.basewright.test/private-a.git/info/refs?service=git-upload-pack", "", 401, ""},
		"nobody fetches from a private repository":           {"POST", "https://git.basewright.test/private-a.git/git-upload-pack", "", 401, ""},
		"nobody fetches from it by another path":             {"GET", "https://git.basewright.test//a/../private-a.git/HEAD", "", 401, ""},
		"nobody fetches from it with an escaped letter":      {"GET", "https://git.basewright.test/%70rivate-a.git/HEAD", "", 401, ""},
		"a wrong password does not fetch from it":            {"GET", "https://git.basewright.test/private-a.git/HEAD", "guess", 401, ""},
		"the password fetches from it, for those who push":   {"GET", "https://git.basewright.test/private-a.git/HEAD", "secret", 200, "git"},
		"the password allows pushing to it":                  {"POST", "https://git.basewright.test/private-a.git/git-receive-pack", "secret", 200, "git"},
		"a name with the word somewhere else is not private": {"GET", "https://git.basewright.test/a/private-b.git/HEAD", "", 200, "git"},
		"anybody gets a database":                            {"GET", "https://databases.basewright.test/grype/v6/latest.json", "", 200, "databases"},
		"another host is nobody's":                           {"GET", "https://kube.basewright.test/", "", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.url, nil)
			if test.password != "" {
				r.SetBasicAuth(pushUser, test.password)
			}
			w := httptest.NewRecorder()
			f.ServeHTTP(w, r)
			if w.Code != test.status || test.body != "" && w.Body.String() != test.body {
				t.Errorf("got %d %q", w.Code, w.Body)
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (w.Code == 401) != strings.HasPrefix(challenge, "Basic realm=") {
				t.Errorf("the challenge is %q", challenge)
			}
		})
	}
}

func TestTheReaderOfPrivateRepositories(t *testing.T) {
	answer := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	f := front{password: "secret", registry: answer, git: answer}
	for name, test := range map[string]struct {
		method, url, user, token string
		status                   int
	}{
		"fetches from a private repository":       {"POST", "https://git.basewright.test/private-a.git/git-upload-pack", gitReader, gitToken, 200},
		"fetches from any other":                  {"POST", "https://git.basewright.test/a.git/git-upload-pack", gitReader, gitToken, 200},
		"does not push":                           {"POST", "https://git.basewright.test/private-a.git/git-receive-pack", gitReader, gitToken, 401},
		"does not prepare a push":                 {"GET", "https://git.basewright.test/a.git/info/refs?service=git-receive-pack", gitReader, gitToken, 401},
		"is nobody to the registry":               {"GET", "https://registry.basewright.test/v2/", gitReader, gitToken, 401},
		"needs the token":                         {"POST", "https://git.basewright.test/private-a.git/git-upload-pack", gitReader, "guess", 401},
		"needs its name":                          {"POST", "https://git.basewright.test/private-a.git/git-upload-pack", "git", gitToken, 401},
		"is asked for without TLS, as it is with": {"POST", "http://git.basewright.test/private-a.git/git-upload-pack", "", "", 401},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.url, nil)
			if test.user != "" {
				r.SetBasicAuth(test.user, test.token)
			}
			w := httptest.NewRecorder()
			if r.TLS == nil {
				f.servePlain(w, r)
			} else {
				f.ServeHTTP(w, r)
			}
			if w.Code != test.status || (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
				t.Errorf("got %d %v", w.Code, w.Header())
			}
		})
	}
}

func TestPlainSideHasNoRegistry(t *testing.T) {
	f := front{registry: http.NotFoundHandler(), git: http.RedirectHandler("/", http.StatusTeapot)}
	for host, want := range map[string]int{registryHost: 404, gitHost: 418} {
		w := httptest.NewRecorder()
		f.servePlain(w, httptest.NewRequest("GET", "http://"+host+"/v2/", nil))
		if w.Code != want {
			t.Errorf("%s: got %d", host, w.Code)
		}
	}
}

func TestRegistryProxyKeepsTheHostAndDropsThePassword(t *testing.T) {
	var got http.Header
	var host string
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got, host = r.Header, r.Host
	}))
	defer backend.Close()
	front := httptest.NewTLSServer(newRegistryProxy(strings.TrimPrefix(backend.URL, "http://")))
	defer front.Close()
	r, err := http.NewRequest("GET", front.URL+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = registryHost
	r.SetBasicAuth("a", "b")
	response, err := front.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if host != registryHost || got.Get("X-Forwarded-Proto") != "https" || got.Get("Authorization") != "" {
		t.Errorf("got host %q and %v", host, got)
	}
}

func TestSpoolLeavesNoFile(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	file, size, err := spool(strings.NewReader("a pack"))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(file)
	if err != nil || string(content) != "a pack" || size != 6 {
		t.Errorf("got %q of %d bytes, %v", content, size, err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestRepositoryNames(t *testing.T) {
	for name, want := range map[string]bool{
		"demo": true, "team/images": true, "a.b-c_d": true, "x1": true,
		"": false, "../x": false, "a/../b": false, "/a": false, "a/": false, "a//b": false, ".git": false, "-x": false, "A": false,
	} {
		if got := repositoryName.MatchString(name); got != want {
			t.Errorf("%q: got %v", name, got)
		}
	}
}
