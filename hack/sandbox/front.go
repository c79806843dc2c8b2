//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// serveCommand is the internal subcommand that answers for the registry, the
// git server and the vulnerability databases.
const serveCommand = "serve"

// front is what clients of the sandbox talk to: TLS and passwords in front of
// a registry that has neither, and git's own CGI program.
type front struct {
	password string
	registry http.Handler
	git      http.Handler
	// databases are files for anybody.
	databases http.Handler
	// sigstore are its services by their hosts.
	sigstore map[string]http.Handler
	// outages is the directory of their files.
	outages string
}

// runServe serves all its hosts with TLS, and git also without.
func runServe(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	s := site{state: args[0]}
	password, err := os.ReadFile(s.in("password"))
	if err != nil {
		return fmt.Errorf("reading the password: %w", err)
	}
	git, err := newGitServer(s.in("git"))
	if err != nil {
		return err
	}
	asked, err := os.OpenFile(s.in("logs", metadataLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log of the metadata service: %w", err)
	}
	defer func() { _ = asked.Close() }()
	f := front{
		password: string(password), git: git, outages: s.in("outages"),
		registry:  inState(s.in("sigstore"), registryService, newRegistryProxy(olareg)),
		sigstore:  newSigstore(s.in("sigstore")),
		databases: http.FileServer(http.Dir(s.in("databases"))),
	}
	secure := newServer(f)
	plain := newServer(http.HandlerFunc(f.servePlain))
	metadata := newServer(&metadataServer{log: asked})
	failed := make(chan error, 3)
	go func() {
		failed <- secure.serveTLS(net.JoinHostPort(nodeAddress.String(), "443"), s.in("pki", "front"))
	}()
	go func() { failed <- plain.serve(net.JoinHostPort(nodeAddress.String(), "80")) }()
	go func() { failed <- metadata.serve(net.JoinHostPort(metadataAddress.String(), "80")) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return errors.Join(secure.Close(), plain.Close(), metadata.Close())
	}
}

type server struct{ http.Server }

func newServer(handler http.Handler) *server {
	// HTTP/1.1 alone: curl 7.88, which git of Debian 12 pushes with, garbles large bodies over HTTP/2.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &server{http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second, Protocols: &protocols}}
}

func (s *server) serveTLS(address, pair string) error {
	s.Addr = address
	return fmt.Errorf("serving %s: %w", address, s.ListenAndServeTLS(pair+".crt", pair+".key"))
}

func (s *server) serve(address string) error {
	s.Addr = address
	return fmt.Errorf("serving %s: %w", address, s.ListenAndServe())
}

// newRegistryProxy drops a password that was checked here: it is none of the registry's business.
func newRegistryProxy(address string) http.Handler {
	proxy := newProxy("registry", address)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Authorization")
		proxy.ServeHTTP(w, r)
	})
}

// newProxy passes requests on as they are, and bodies as they come.
func newProxy(name, address string) http.Handler {
	target := &url.URL{Scheme: "http", Host: address}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			// The registry makes its Location headers from these.
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			slog.Warn("a server did not answer", "server", name, "method", r.Method, "path", r.URL.Path, "error", err)
			w.WriteHeader(http.StatusBadGateway)
		},
	}
}

// ServeHTTP is the TLS side.
func (f front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if service, ok := f.sigstore[hostOf(r)]; ok {
		service.ServeHTTP(w, r)
		return
	}
	switch hostOf(r) {
	case registryHost:
		if isOut(f.outages, r) {
			panic(http.ErrAbortHandler) // net/http breaks the connection.
		}
		f.guard(f.registry, writesToRegistry(r), f.knows).ServeHTTP(w, r)
	case gitHost:
		f.guardGit(r).ServeHTTP(w, r)
	case databasesHost:
		if exists(outageFile(f.outages, databasesRepository)) {
			panic(http.ErrAbortHandler)
		}
		f.databases.ServeHTTP(w, r)
	default:
		http.NotFound(w, r)
	}
}

// servePlain is the side without TLS. It has no registry: a client that falls
// back to plain HTTP shall fail.
func (f front) servePlain(w http.ResponseWriter, r *http.Request) {
	if hostOf(r) != gitHost {
		http.NotFound(w, r)
		return
	}
	f.guardGit(r).ServeHTTP(w, r)
}

// guardGit lets anybody fetch, but from private repositories, for which there is a reader; a push needs the password.
func (f front) guardGit(r *http.Request) http.Handler {
	if pushesToGit(r) {
		return f.guard(f.git, true, f.knows)
	}
	return f.guard(f.git, isPrivate(r), func(user, password string) bool { return f.knows(user, password) || isReader(user, password) })
}

// isPrivate tells a private repository by the name that git will make of the path.
func isPrivate(r *http.Request) bool {
	return strings.HasPrefix(path.Clean("/"+r.URL.Path), "/"+privatePrefix)
}

func isReader(user, password string) bool { return user == gitReader && password == gitToken }

func hostOf(r *http.Request) string {
	host, _, found := strings.Cut(r.Host, ":")
	if !found {
		return r.Host
	}
	return host
}

func writesToRegistry(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead
}

// pushesToGit tells a push from a fetch: both use POST.
func pushesToGit(r *http.Request) bool {
	return strings.HasSuffix(r.URL.Path, "/git-receive-pack") || r.URL.Query().Get("service") == "git-receive-pack"
}

// guard asks for the password if it is needed. A wrong one is refused even
// where none is needed, so that nobody believes in it.
func (f front) guard(next http.Handler, needed bool, knows func(user, password string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, given := r.BasicAuth()
		if given && knows(user, password) || !given && !needed {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="basewright sandbox"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"the sandbox's user and password are needed"}]}`, http.StatusUnauthorized)
	})
}

func (f front) knows(user, password string) bool {
	want := sha256.Sum256([]byte(pushUser + ":" + f.password))
	got := sha256.Sum256([]byte(user + ":" + password))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

// password returns the sandbox's password for pushes, made on first use.
func password(s site) (string, error) {
	content, err := os.ReadFile(s.in("password"))
	if err == nil {
		return string(content), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	made := randomSerial().Text(36)
	return made, writeFile(filepath.Join(s.state, "password"), []byte(made), 0o600)
}
