package source

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// protect puts TLS and a password in front of a repository. The handler may answer first.
func protect(t *testing.T, r *repository, first http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		user, password, _ := req.BasicAuth()
		switch {
		case first != nil && req.URL.Path != "/repo.git/info/refs" && req.URL.Path != "/repo.git/git-upload-pack":
			first(w, req)
		case user != "me" || password != "s3cret":
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			http.Error(w, "no: "+req.Header.Get("Authorization")+" "+password, http.StatusUnauthorized)
		default:
			r.handler.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// trusting is a configuration for a test server with TLS.
func trusting(t *testing.T, server *httptest.Server) Config {
	t.Helper()
	config := local(t)
	config.Transport = server.Client().Transport
	return config
}

func TestHTTPSReadsWithAPassword(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	one := r.commit()
	r.git("tag", "v1", one)
	r.write("Dockerfile", "FROM two\n", 0o644)
	two := r.commit()
	server := protect(t, r, nil)
	for name, tc := range map[string]struct{ ref, commit, content string }{
		"a branch":              {"main", two, "FROM two\n"},
		"a tag":                 {"v1", one, "FROM one\n"},
		"a commit":              {one, one, "FROM one\n"},
		"no ref is the default": {"", two, "FROM two\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			git := Git{URL: server.URL + "/repo.git", Ref: tc.ref, Credentials: &Credentials{Username: "me", Password: "s3cret"}}
			rev, err := NewResolver(trusting(t, server)).ResolveGit(t.Context(), git, "")
			if err != nil || rev.ID != tc.commit || string(rev.Dockerfile) != tc.content {
				t.Fatalf("got %+v, %v", rev, err)
			}
			git.Ref = rev.ID
			dir := t.TempDir()
			if err := CheckoutGit(t.Context(), trusting(t, server), git, dir); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"Dockerfile": "-rw-r--r-- " + tc.content}, list(t, dir, time.Unix(commitTime, 0))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHTTPSJudgesCredentials(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	r.commit()
	server := protect(t, r, func(w http.ResponseWriter, req *http.Request) {
		_, password, _ := req.BasicAuth()
		switch req.URL.Path {
		case "/forbidden/info/refs":
			http.Error(w, password, http.StatusForbidden)
		case "/slow/info/refs":
			http.Error(w, password+req.Header.Get("Authorization"), http.StatusRequestTimeout)
		case "/echo/info/refs":
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, _ = w.Write([]byte("000fERR " + password + "\n"))
		case "/leak/info/refs":
			http.Redirect(w, req, "https://"+password+".example/", http.StatusFound)
		default:
			http.NotFound(w, req)
		}
	})
	right := &Credentials{Username: "me", Password: "s3cret"}
	for name, tc := range map[string]struct {
		path        string
		credentials *Credentials
		reason      string // empty: transient
		mention     string
	}{
		"no credentials":                       {"/repo.git", nil, pipeline.ReasonSourceDenied, "no credentials were sent"},
		"a wrong password":                     {"/repo.git", &Credentials{Username: "me", Password: "wr0ng"}, pipeline.ReasonSourceDenied, "refuses the credentials that were sent"},
		"a wrong name":                         {"/repo.git", &Credentials{Username: "you", Password: "s3cret"}, pipeline.ReasonSourceDenied, "refuses the credentials that were sent"},
		"a repository for others":              {"/forbidden", right, pipeline.ReasonSourceDenied, "403"},
		"no repository, without credentials":   {"/other", nil, pipeline.ReasonSourceNotFound, "or is private"},
		"no repository":                        {"/other", right, pipeline.ReasonSourceNotFound, "may not read it"},
		"a page that repeats the password":     {"/slow", right, "", "408"},
		"an answer that repeats the password":  {"/echo", right, "", "***"},
		"a redirect that repeats the password": {"/leak", right, pipeline.ReasonSourceInvalid, "***.example"},
		"a key where a password is needed":     {"/repo.git", &Credentials{PrivateKey: []byte("s3cret")}, pipeline.ReasonSourceSecretInvalid, "password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewResolver(trusting(t, server)).ResolveGit(t.Context(), Git{URL: server.URL + tc.path, Credentials: tc.credentials}, "")
			if tc.reason == "" {
				wantTransient(t, err, 0)
			} else {
				wantTerminal(t, err, tc.reason, "spec.source.git")
			}
			if !strings.Contains(err.Error(), tc.mention) {
				t.Errorf("%q does not mention %q", err, tc.mention)
			}
			wantNoSecret(t, err, tc.credentials)
			commit := Git{URL: server.URL + tc.path, Ref: strings.Repeat("a", 40), Credentials: tc.credentials}
			wantNoSecret(t, CheckoutGit(t.Context(), trusting(t, server), commit, t.TempDir()), tc.credentials)
		})
	}
}

func TestHTTPSKeepsCredentialsOnTheirHost(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		seen.Add(1)
		http.NotFound(w, req)
	}))
	t.Cleanup(other.Close)
	r := serve(t)
	for name, target := range map[string]string{
		"another port":       other.URL,
		"another host":       strings.Replace(other.URL, "127.0.0.1", "localhost", 1),
		"another subdomain":  strings.Replace(other.URL, "127.0.0.1", "x.127.0.0.1", 1),
		"without encryption": strings.Replace(other.URL, "https://", "http://", 1),
	} {
		t.Run(name, func(t *testing.T) {
			server := protect(t, r, func(w http.ResponseWriter, req *http.Request) {
				http.Redirect(w, req, target+"/repo.git/info/refs", http.StatusTemporaryRedirect)
			})
			_, err := NewResolver(trusting(t, server)).ResolveGit(t.Context(), Git{URL: server.URL + "/moved", Credentials: &Credentials{Username: "me", Password: "s3cret"}}, "")
			wantTerminal(t, err, pipeline.ReasonSourceInvalid, "redirect")
			if seen.Load() > 0 {
				t.Error("the other server was asked")
			}
		})
	}
	t.Run("a request that is sent to another host after all", func(t *testing.T) {
		u, err := parseURL("https://example.com/x")
		if err != nil {
			t.Fatal(err)
		}
		m := &meter{url: u, credentials: &Credentials{Username: "me", Password: "s3cret"}}
		for target, want := range map[string]bool{
			"https://example.com/x/info/refs": true, "https://EXAMPLE.com/y": true, "http://example.com/x": false,
			"https://example.com:444/x": false, "https://x.example.com/x": false, "https://example.org/x": false,
		} {
			req := httptest.NewRequest(http.MethodGet, target, nil)
			m.authorize(req)
			if got := req.Header.Get("Authorization") != ""; got != want {
				t.Errorf("%s: credentials are sent: %t", target, got)
			}
		}
	})
}

func TestCacheKeepsCredentialsApart(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	one := r.commit()
	server := protect(t, r, nil)
	resolver := NewResolver(trusting(t, server))
	git := Git{URL: server.URL + "/repo.git", Credentials: &Credentials{Username: "me", Password: "s3cret"}}
	if _, err := resolver.ResolveGit(t.Context(), git, ""); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{one, "main", ""} {
		for name, credentials := range map[string]*Credentials{"none": nil, "others": {Username: "me", Password: "guess"}} {
			other := git
			other.Ref, other.Credentials = ref, credentials
			_, err := resolver.ResolveGit(t.Context(), other, "")
			wantTerminal(t, err, pipeline.ReasonSourceDenied)
			if t.Failed() {
				t.Fatalf("%s could read %q", name, ref)
			}
		}
	}
	gets := r.gets.Load()
	git.Ref = one
	if rev, err := resolver.ResolveGit(t.Context(), git, ""); err != nil || rev.ID != one || r.gets.Load() != gets {
		t.Errorf("got %+v, %v after %d more requests", rev, err, r.gets.Load()-gets)
	}
}

func TestHTTPConnectsInTime(t *testing.T) {
	t.Parallel()
	config := local(t)
	config.Limits.ConnectTimeout = 1
	config.Transport = waiting{}
	_, err := NewResolver(config).ResolveGit(t.Context(), Git{URL: "https://example.com/x"}, "")
	wantTransient(t, err, 0)
	if !strings.Contains(err.Error(), "no connection within 1ns") {
		t.Errorf("got %v", err)
	}
}

// waiting is a transport that gets no connection.
type waiting struct{}

// RoundTrip implements http.RoundTripper.
func (waiting) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}
