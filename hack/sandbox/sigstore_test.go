//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestServicesOfSigstoreAreInTheStateThatWasAskedFor(t *testing.T) {
	states := t.TempDir()
	service := inState(states, "rekor", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "rekor") }))
	for name, test := range map[string]struct {
		state, host, method string
		status              int
		body                string
		broken              bool
	}{
		"a service answers":                             {state: started, status: 200, body: "rekor"},
		"a stopped one breaks the connection":           {state: stopped, broken: true},
		"a slow one answers as little as its client":    {state: slow, status: 200},
		"garbage is JSON, of nothing that anybody asks": {state: garbage, status: 200, body: `{"nonsense":{}}` + "\n"},
		"Rekor says that it has made what is garbage":   {state: garbage, host: rekorHost, method: "POST", status: 201, body: `{"nonsense":{}}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := setService(states, "rekor", test.state); err != nil {
				t.Fatal(err)
			}
			if got := serviceState(states, "rekor"); got != test.state {
				t.Fatalf("it is in the state %s", got)
			}
			// Whoever asks a slow service has given up already.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			w := httptest.NewRecorder()
			broken := breaks(service, w, httptest.NewRequestWithContext(ctx, test.method, "https://"+test.host+"/api/v1/log/entries", nil))
			if broken != test.broken || !broken && (w.Code != test.status || w.Body.String() != test.body) {
				t.Errorf("broken: %t, got %d %q", broken, w.Code, w.Body)
			}
		})
	}
}

// breaks reports whether a handler breaks the connection.
func breaks(h http.Handler, w http.ResponseWriter, r *http.Request) (broken bool) {
	defer func() {
		err, ok := recover().(error)
		broken = ok && errors.Is(err, http.ErrAbortHandler)
	}()
	h.ServeHTTP(w, r)
	return false
}

func TestAServiceIsReachedByItsName(t *testing.T) {
	states := t.TempDir()
	f := front{sigstore: newSigstore(states)}
	for _, service := range sigstoreServices {
		state := garbage
		if service.name == "timestamp" {
			state = stopped
		}
		if err := setService(states, service.name, state); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(sandboxHosts, service.host) {
			t.Errorf("nobody can resolve %s", service.host)
		}
		broken(t, f, "https://"+service.host+"/", service.name == "timestamp")
	}
}

func TestFulcioGetsTheTokenOfItsClient(t *testing.T) {
	var got string
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	defer backend.Close()
	r := httptest.NewRequest("POST", "https://"+fulcioHost+"/api/v1/signingCert", nil)
	r.Header.Set("Authorization", "Bearer token")
	newProxy("fulcio", strings.TrimPrefix(backend.URL, "http://")).ServeHTTP(httptest.NewRecorder(), r)
	if got != "Bearer token" {
		t.Errorf("it got %q", got)
	}
}

func TestEveryServiceOfSigstoreHasADaemon(t *testing.T) {
	all := daemons(site{state: "/state"}, builds{"sigstore": "/bin"}, debian{})
	for _, service := range sigstoreServices {
		at := slices.IndexFunc(all, func(d daemon) bool { return d.Name == service.name })
		if at < 0 {
			t.Errorf("%s has none", service.name)
			continue
		}
		if !strings.Contains(strings.Join(all[at].Args, " "), service.port) || all[at].Path != filepath.Join("/bin", service.name) {
			t.Errorf("%s is not at its port: %+v", service.name, all[at])
		}
	}
}

func TestFulcioKnowsTheIssuerOfTheCluster(t *testing.T) {
	if got := string(fulcioConfig()); !strings.Contains(got, "  "+issuerURL+":\n") || !strings.Contains(got, "type: kubernetes") {
		t.Error(got)
	}
}

func TestTheMetadataServiceWritesDownWhoAsks(t *testing.T) {
	var log strings.Builder
	m := &metadataServer{log: &log}
	for request, want := range map[string]struct {
		status int
		body   string
	}{
		"GET /latest/meta-data/iam/security-credentials/":                    {200, metadataRole},
		"GET /latest/meta-data/iam/security-credentials/" + metadataRole:     {200, metadataToken},
		"PUT /latest/api/token":                                              {200, metadataToken},
		"GET /latest/api/token":                                              {404, ""},
		"GET /computeMetadata/v1/instance/service-accounts/default/token":    {200, metadataToken},
		"GET /computeMetadata/v1/instance/service-accounts/default/identity": {200, metadataToken},
		"GET /" + strings.Repeat("a", 10000):                                 {404, ""},
	} {
		log.Reset()
		method, path, _ := strings.Cut(request, " ")
		r := httptest.NewRequest(method, "http://"+metadataAddress.String()+path, nil)
		r.RemoteAddr = "10.231.16.9:1234"
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		if w.Code != want.status || !strings.Contains(w.Body.String(), want.body) {
			t.Errorf("%.80s: got %d %q", request, w.Code, w.Body)
		}
		var line struct{ From, Host, Request string }
		if err := json.Unmarshal([]byte(log.String()), &line); err != nil || !strings.HasPrefix(request, line.Request) ||
			len(line.Request) > longestWord || line.From != r.RemoteAddr || line.Host != metadataAddress.String() {
			t.Errorf("%.80s: written down is %.300q, %v", request, log.String(), err)
		}
	}
}

func TestTheMetadataServiceIsOfTheNodeAlone(t *testing.T) {
	if !slices.Contains(nodeNetwork(), "address add 169.254.169.254/32 dev lo") {
		t.Errorf("got %q", nodeNetwork())
	}
}
