package source

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/stall/stalltest"
)

func TestResolveGitFindsRefs(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	r.write("sub/Dockerfile", "FROM sub\n", 0o644)
	r.write("sub/docker/base", "FROM base\n", 0o644)
	r.link("docker/base", "sub/Linked")
	r.link("../sub", "sub/docker-link")
	one := r.commit()
	r.git("tag", "light", one)
	r.git("tag", "--annotate", "--message=x", "v1", one)
	r.git("tag", "--annotate", "--message=x", "v1-again", "v1")
	r.git("branch", "same", one)
	r.git("tag", "same", one)
	r.git("branch", "feature/x", one)
	r.write("Dockerfile", "FROM two\n", 0o644)
	two := r.commit()
	tests := map[string]struct {
		ref, path, dockerfile    string
		commit, wantRef, content string
	}{
		"no ref is the default branch":         {commit: two, wantRef: "refs/heads/main", content: "FROM two\n"},
		"HEAD is the default branch":           {ref: "HEAD", commit: two, wantRef: "refs/heads/main", content: "FROM two\n"},
		"a short branch":                       {ref: "main", commit: two, wantRef: "refs/heads/main", content: "FROM two\n"},
		"a branch with a slash":                {ref: "feature/x", commit: one, wantRef: "refs/heads/feature/x", content: "FROM one\n"},
		"a full branch":                        {ref: "refs/heads/main", commit: two, wantRef: "refs/heads/main", content: "FROM two\n"},
		"a tag":                                {ref: "light", commit: one, wantRef: "refs/tags/light", content: "FROM one\n"},
		"an annotated tag":                     {ref: "v1", commit: one, wantRef: "refs/tags/v1", content: "FROM one\n"},
		"a tag of a tag":                       {ref: "refs/tags/v1-again", commit: one, wantRef: "refs/tags/v1-again", content: "FROM one\n"},
		"a branch and a tag of one commit":     {ref: "same", commit: one, wantRef: "refs/tags/same", content: "FROM one\n"},
		"a commit that is a tip":               {ref: two, commit: two, wantRef: two, content: "FROM two\n"},
		"a commit that was a tip":              {ref: one, commit: one, wantRef: one, content: "FROM one\n"},
		"a directory":                          {path: "sub/", commit: two, wantRef: "refs/heads/main", content: "FROM sub\n"},
		"a Dockerfile with a path":             {path: "./sub", dockerfile: "docker/base", commit: two, wantRef: "refs/heads/main", content: "FROM base\n"},
		"a Dockerfile that is a link":          {path: "sub", dockerfile: "Linked", commit: two, wantRef: "refs/heads/main", content: "FROM base\n"},
		"a Dockerfile behind a directory link": {dockerfile: "sub/docker-link/Dockerfile", commit: two, wantRef: "refs/heads/main", content: "FROM sub\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := local(t)
			rev, err := NewResolver(config).ResolveGit(t.Context(), Git{URL: r.url, Ref: tc.ref, Path: tc.path}, tc.dockerfile)
			if err != nil {
				t.Fatal(err)
			}
			if rev.ID != tc.commit || rev.Ref != tc.wantRef || string(rev.Dockerfile) != tc.content || rev.Time.Unix() != commitTime {
				t.Errorf("got %+v with %q, want %+v", rev, rev.Dockerfile, tc)
			}
			if left, err := os.ReadDir(config.TempDir); err != nil || len(left) > 0 {
				t.Errorf("left behind %v, %v", left, err)
			}
		})
	}
}

func TestResolveGitByCommitWhereTheServerAllowsIt(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.serverConfig("uploadpack.allowReachableSHA1InWant", "true")
	r.write("Dockerfile", "FROM one\n", 0o644)
	one := r.commit()
	r.write("Dockerfile", "FROM two\n", 0o644)
	r.commit()
	rev, err := NewResolver(local(t)).ResolveGit(t.Context(), Git{URL: r.url, Ref: one}, "")
	if err != nil || rev.ID != one || string(rev.Dockerfile) != "FROM one\n" {
		t.Errorf("got %+v, %v", rev, err)
	}
	_, err = NewResolver(local(t)).ResolveGit(t.Context(), Git{URL: r.url, Ref: strings.Repeat("a", 40)}, "")
	wantTerminal(t, err, pipeline.ReasonGitRefNotFound, "spec.source.git.ref", "aaaa")
}

func TestResolveGitReadsACommitOnce(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	one := r.commit()
	resolver := NewResolver(local(t))
	for range 3 {
		rev, err := resolver.ResolveGit(t.Context(), Git{URL: r.url, Ref: "main"}, "")
		if err != nil || rev.ID != one || rev.Ref != "refs/heads/main" {
			t.Fatalf("got %+v, %v", rev, err)
		}
		if string(rev.Dockerfile) != "FROM one\n" {
			t.Fatalf("got %q", rev.Dockerfile)
		}
		rev.Dockerfile[0] = 'X' // what a caller does to its copy must not stay
	}
	if gets, posts := r.gets.Load(), r.posts.Load(); gets != 3 || posts != 1 {
		t.Errorf("%d listings and %d fetches, want 3 and 1", gets, posts)
	}
}

func TestResolveGitKnowsCommitsAndSeesNewOnes(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	one := r.commit()
	resolver := NewResolver(local(t))
	if _, err := resolver.ResolveGit(t.Context(), Git{URL: r.url}, ""); err != nil {
		t.Fatal(err)
	}
	rev, err := resolver.ResolveGit(t.Context(), Git{URL: r.url, Ref: one}, "")
	if err != nil || string(rev.Dockerfile) != "FROM one\n" || rev.Ref != one || r.gets.Load() != 1 {
		t.Errorf("got %+v, %v after %d listings", rev, err, r.gets.Load())
	}
	r.write("Dockerfile", "FROM two\n", 0o644)
	two := r.commit()
	if rev, err := resolver.ResolveGit(t.Context(), Git{URL: r.url}, ""); err != nil || rev.ID != two {
		t.Errorf("got %+v, %v, want %s", rev, err, two)
	}
}

func TestResolveGitRefuses(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	r.write("dir/x", "x", 0o644)
	r.write("large", strings.Repeat("#", maxDockerfile+1), 0o644)
	r.link("/etc/passwd", "absolute")
	r.link("../outside", "outside")
	r.link("../Dockerfile", "dir/up")
	r.link("loop", "loop")
	r.link("dir", "link")
	one := r.commit()
	r.git("tag", "both", one)
	r.git("tag", "blob", one+":Dockerfile")
	r.git("tag", "--annotate", "--message=x", "tree", one+"^{tree}")
	two := r.commit()
	r.git("branch", "both", two)
	r.push()
	tests := map[string]struct {
		git        Git
		dockerfile string
		reason     string
		mention    []string
	}{
		"a short name that is not there":   {Git{Ref: "nope"}, "", pipeline.ReasonGitRefNotFound, []string{"spec.source.git.ref", `"nope"`, "push"}},
		"a full name that is not there":    {Git{Ref: "refs/heads/nope"}, "", pipeline.ReasonGitRefNotFound, []string{"refs/heads/nope"}},
		"a commit that is not there":       {Git{Ref: strings.Repeat("a", 40)}, "", pipeline.ReasonGitRefNotFound, []string{"aaaaaaaa"}},
		"a branch and a tag that differ":   {Git{Ref: "both"}, "", pipeline.ReasonSourceInvalid, []string{"refs/heads/both", "refs/tags/both", one, two}},
		"a tag of a file":                  {Git{Ref: "blob"}, "", pipeline.ReasonSourceInvalid, []string{"not a commit"}},
		"a tag of a tree":                  {Git{Ref: "tree"}, "", pipeline.ReasonSourceInvalid, []string{"not a commit"}},
		"a directory that is not there":    {Git{Path: "nope"}, "", pipeline.ReasonSourceNotFound, []string{"spec.source.git.path", `"nope"`}},
		"a directory that is a file":       {Git{Path: "Dockerfile"}, "", pipeline.ReasonSourceInvalid, []string{"not a directory"}},
		"a directory that is a link":       {Git{Path: "link"}, "", pipeline.ReasonSourceInvalid, []string{"not a directory"}},
		"a directory outside":              {Git{Path: "../x"}, "", pipeline.ReasonSourcePathEscapes, []string{"spec.source.git.path", ".."}},
		"an absolute directory":            {Git{Path: "/x"}, "", pipeline.ReasonSourceInvalid, []string{"/x"}},
		"the directory of git":             {Git{Path: "x/.GIT"}, "", pipeline.ReasonSourceInvalid, []string{".GIT"}},
		"a Dockerfile that is not there":   {Git{}, "Containerfile", pipeline.ReasonDockerfileNotFound, []string{two, "Containerfile", "spec.dockerfile"}},
		"a Dockerfile in no directory":     {Git{}, "no/Dockerfile", pipeline.ReasonDockerfileNotFound, []string{"no/Dockerfile"}},
		"a Dockerfile below a file":        {Git{}, "Dockerfile/x", pipeline.ReasonDockerfileNotFound, []string{"Dockerfile/x"}},
		"a Dockerfile that is a directory": {Git{}, "dir", pipeline.ReasonDockerfileNotFound, []string{`"dir"`}},
		"a Dockerfile outside":             {Git{Path: "dir"}, "../Dockerfile", pipeline.ReasonSourcePathEscapes, []string{"spec.dockerfile", ".."}},
		"an absolute Dockerfile":           {Git{}, "/Dockerfile", pipeline.ReasonSourceInvalid, []string{"/Dockerfile"}},
		"a Dockerfile that is too large":   {Git{}, "large", pipeline.ReasonSourceTooLarge, []string{"large", "131072"}},
		"an absolute link":                 {Git{}, "absolute", pipeline.ReasonSourcePathEscapes, []string{"absolute", "/etc/passwd"}},
		"a link out of the repository":     {Git{}, "outside", pipeline.ReasonSourcePathEscapes, []string{"outside of the context"}},
		"a link out of the context":        {Git{Path: "dir"}, "up", pipeline.ReasonSourcePathEscapes, []string{"outside of the context"}},
		"a link to itself":                 {Git{}, "loop", pipeline.ReasonSourceInvalid, []string{"links"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.git.URL = r.url
			_, err := NewResolver(local(t)).ResolveGit(t.Context(), tc.git, tc.dockerfile)
			wantTerminal(t, err, tc.reason, tc.mention...)
		})
	}
}

func TestResolveGitRefusesAnEmptyRepository(t *testing.T) {
	t.Parallel()
	_, err := NewResolver(local(t)).ResolveGit(t.Context(), Git{URL: serve(t).url}, "")
	wantTerminal(t, err, pipeline.ReasonSourceNotFound, "no commits")
}

func TestResolveGitRefusesLargeRepositories(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	r.write("zeros", strings.Repeat("\x00", 1<<20), 0o644)
	r.commit()
	tests := map[string]struct {
		limits  limits.Source
		mention string
	}{
		"more bytes on the network than are allowed": {limits.Source{Bytes: 900}, "limits.source.bytes, 900"},
		"more references than are allowed":           {limits.Source{ReferenceBytes: 100}, "limits.source.referenceBytes, 100"},
		"an object that expands too much":            {limits.Source{FileBytes: 1 << 19}, "512Ki are read (limits.source.fileBytes)"},
		"objects that expand too much together":      {limits.Source{ExpandedBytes: 1 << 18}, "256Ki together (limits.source.expandedBytes)"},
		"more objects than are allowed":              {limits.Source{Objects: 3}, "4 objects, at most 3 are read (limits.source.objects)"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := local(t)
			config.Limits = tc.limits
			_, err := NewResolver(config).ResolveGit(t.Context(), Git{URL: r.url}, "")
			wantTerminal(t, err, pipeline.ReasonSourceTooLarge, "spec.source.git", tc.mention)
		})
	}
}

func TestResolveGitRefusesURLs(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"user and password":   "https://user:s3cret@example.com/x",
		"a token as user":     "https://s3cret@example.com/x",
		"credentials in ssh":  "ssh://user:s3cret@example.com/x",
		"a token as query":    "https://example.com/x?token=s3cret",
		"a token as fragment": "https://example.com/x#s3cret",
		"not a URL":           "https://user:s3cret@exa mple.com/%zz",
		"the form of scp":     "s3cret@example.com:x.git",
		"scp without a user":  "example.com:s3cret/x.git",
		"scp, absolute":       "s3cret@example:/x.git",
		"ssh without a user":  "ssh://example.com/x",
		"ssh, port 0":         "ssh://git@example.com:0/x",
		"ssh, a high port":    "ssh://git@example.com:65536/x",
		"ssh, a line break":   "ssh://git@example.com/x%0ay",
		"ssh, no repository":  "ssh://git@example.com/",
		"ssh with a query":    "ssh://git@example.com/x?s3cret",
		"a file":              "file:///s3cret",
		"an opaque URL":       "https:s3cret",
		"no host":             "https:///x?s3cret",
		"no repository":       "https://example.com/",
		"nothing":             "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewResolver(Config{}).ResolveGit(t.Context(), Git{URL: raw}, "")
			wantTerminal(t, err, pipeline.ReasonSourceInvalid, "spec.source.git.url")
			if name != "a file" && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}

func TestResolveGitJudgesAnswers(t *testing.T) {
	t.Parallel()
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if len(header) == 2 {
				w.Header().Set(header[0], header[1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, strings.Repeat("page ", 1<<16))
		}
	}
	tests := map[string]struct {
		handler  http.HandlerFunc
		terminal string
		after    time.Duration
		mention  string
	}{
		"unauthorized":           {handler: status(401), terminal: pipeline.ReasonSourceDenied, mention: "no credentials were sent"},
		"forbidden":              {handler: status(403), terminal: pipeline.ReasonSourceDenied},
		"not found":              {handler: status(404), terminal: pipeline.ReasonSourceNotFound, mention: "no credentials were sent"},
		"gone":                   {handler: status(410), terminal: pipeline.ReasonSourceNotFound},
		"another refusal":        {handler: status(418), terminal: pipeline.ReasonSourceInvalid},
		"too many requests":      {handler: status(429, "Retry-After", "17"), after: 17 * time.Second},
		"a broken server":        {handler: status(500)},
		"an overloaded server":   {handler: status(503, "Retry-After", "999999"), after: 20 * time.Minute},
		"one that names a date":  {handler: status(503, "Retry-After", "Wed, 01 Jan 2025 00:10:00 GMT"), after: 10 * time.Minute},
		"one that names a year":  {handler: status(429, "Retry-After", "Thu, 01 Jan 2026 00:00:00 GMT"), after: 20 * time.Minute},
		"one that was down":      {handler: status(503, "Retry-After", "Tue, 31 Dec 2024 00:00:00 GMT")},
		"a page":                 {handler: status(200, "Content-Type", "text/html"), terminal: pipeline.ReasonSourceInvalid},
		"a redirect to a host":   {handler: status(302, "Location", "http://evil.example/x/info/refs"), terminal: pipeline.ReasonSourceInvalid, mention: "evil.example"},
		"a redirect to a port":   {handler: status(302, "Location", "http://127.0.0.1:1/x/info/refs"), terminal: pipeline.ReasonSourceInvalid, mention: "127.0.0.1:1"},
		"endless references":     {handler: endless, terminal: pipeline.ReasonSourceTooLarge},
		"a connection that ends": {handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tc.handler)
			t.Cleanup(server.Close)
			config := local(t)
			config.Limits.ReferenceBytes, config.Limits.RetryAfter = 1<<20, limits.Duration(20*time.Minute)
			config.clock = stalltest.NewTime().Clock()
			_, err := NewResolver(config).ResolveGit(t.Context(), Git{URL: server.URL + "/x.git"}, "")
			if tc.terminal != "" {
				wantTerminal(t, err, tc.terminal, tc.mention, server.URL)
			} else {
				wantTransient(t, err, tc.after)
			}
			if err != nil && len(err.Error()) > 4096 {
				t.Errorf("the message has %d bytes", len(err.Error()))
			}
		})
	}
}

// endless sends references until the client has enough.
func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
	_, err := io.WriteString(w, "001e# service=git-upload-pack\n0000004895dcfa3633004da0049d3d0fa03f80589cbcaf31 refs/heads/maint\x00multi_ack\n")
	for err == nil {
		_, err = io.WriteString(w, "003f7e47fe2bd8d01d481f44d7af0531bd93d3b21c01 refs/heads/master\n")
	}
}

func TestResolveGitFollowsRedirectsOnTheHost(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	one := r.commit()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/old/info/refs", func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "/repo.git/info/refs?"+req.URL.RawQuery, http.StatusMovedPermanently)
	})
	mux.HandleFunc("/repo.git/", func(w http.ResponseWriter, req *http.Request) {
		proxied, err := http.NewRequestWithContext(req.Context(), req.Method, strings.TrimSuffix(r.url, "/repo.git")+req.URL.RequestURI(), req.Body)
		if err != nil {
			t.Error(err)
			return
		}
		proxied.Header, proxied.ContentLength = req.Header, req.ContentLength
		res, err := http.DefaultTransport.RoundTrip(proxied)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = res.Body.Close() }()
		w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
		_, _ = io.Copy(w, res.Body)
	})
	rev, err := NewResolver(local(t)).ResolveGit(t.Context(), Git{URL: server.URL + "/old"}, "")
	if err != nil || rev.ID != one {
		t.Errorf("got %+v, %v", rev, err)
	}
}

func TestResolveGitWhereNothingAnswers(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := NewResolver(local(t)).ResolveGit(t.Context(), Git{URL: server.URL + "/x"}, "")
	wantTransient(t, err, 0)

	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }))
	t.Cleanup(hanging.Close)
	config := local(t)
	config.Limits.Timeout = limits.Duration(50 * time.Millisecond)
	_, err = NewResolver(config).ResolveGit(t.Context(), Git{URL: hanging.URL + "/x"}, "")
	wantTransient(t, err, 0)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v does not wrap the deadline", err)
	}
}

func TestDefaultTransportRefusesLocalAddresses(t *testing.T) {
	t.Parallel()
	_, err := NewResolver(Config{}).ResolveGit(t.Context(), Git{URL: "http://127.0.0.1:1/x"}, "")
	wantTerminal(t, err, pipeline.ReasonSourceInvalid, "address not allowed")
	for _, address := range []string{"[::1]:1", "169.254.169.254:80", "[::ffff:127.0.0.1]:1", "[fe80::1%eth0]:80", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "x:1"} {
		if err := checkAddress("tcp", address, nil); !errors.Is(err, errAddress) {
			t.Errorf("%s: got %v", address, err)
		}
	}
	for _, address := range []string{"10.96.0.1:443", "140.82.121.4:443", "[2606:50c0:8000::153]:443"} {
		if err := checkAddress("tcp", address, nil); err != nil {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

// wantTerminal checks the kind of an error and that it names what the reader needs.
func wantTerminal(t *testing.T, err error, reason string, mention ...string) {
	t.Helper()
	terminal, ok := errors.AsType[*pipeline.Terminal](err)
	if !ok || terminal.Reason != reason {
		t.Fatalf("got %v (%+v), want a Terminal with reason %s", err, terminal, reason)
	}
	for _, word := range mention {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not mention %q", err, word)
		}
	}
}

func wantTransient(t *testing.T, err error, after time.Duration) {
	t.Helper()
	transient, ok := errors.AsType[*pipeline.Transient](err)
	if !ok || pipeline.IsTerminal(err) || transient.Reason != pipeline.ReasonSourceUnavailable || transient.After != after {
		t.Fatalf("got %v (%+v), want a Transient with reason %s after %s", err, transient, pipeline.ReasonSourceUnavailable, after)
	}
}
