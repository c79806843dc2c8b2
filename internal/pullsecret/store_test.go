package pullsecret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	inmemory "github.com/google/go-containerregistry/pkg/registry"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func secret(n, version string) Secret {
	return Secret{Namespace: "team", Name: n, UID: "uid-" + n, ResourceVersion: version, Type: registry.TypeDockerConfigJSON}
}

func missing(n string) Secret { return Secret{Namespace: "team", Name: n} }

func dockerConfig(host, user string) []byte {
	return fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(user+":hunter2")))
}

func newStore(t testing.TB, o Options) *Store {
	t.Helper()
	o.Base = must(registry.New(registry.Config{}))
	return must(New(o))
}

func noLoad(context.Context, Secret) ([]byte, error) { return nil, errors.New("nothing is to be read") }

func TestClientsAreSharedByWhoHasTheSameCredentials(t *testing.T) {
	a, b := secret("a", "1"), secret("b", "1")
	other := a
	other.Namespace = "other"
	tests := map[string]struct {
		one, two []Secret
		same     bool
	}{
		"the same version of a secret":                {[]Secret{a}, []Secret{a}, true},
		"no secret at all":                            {nil, []Secret{}, true},
		"another version":                             {[]Secret{a}, []Secret{secret("a", "2")}, false},
		"another secret":                              {[]Secret{a}, []Secret{b}, false},
		"another namespace":                           {[]Secret{a}, []Secret{other}, false},
		"another order":                               {[]Secret{a, b}, []Secret{b, a}, false},
		"one secret more":                             {[]Secret{a}, []Secret{a, b}, false},
		"nobody's credentials":                        {[]Secret{a}, nil, false},
		"a missing secret adds nothing":               {[]Secret{a, missing("x")}, []Secret{a}, true},
		"missing secrets alone are none":              {[]Secret{missing("x"), missing("y")}, nil, true},
		"a secret that has come is no longer missing": {[]Secret{missing("a")}, []Secret{a}, false},
		"a name that ends where a UID begins":         {[]Secret{{Namespace: "team", Name: "a", UID: "bc"}}, []Secret{{Namespace: "team", Name: "ab", UID: "c"}}, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := newStore(t, Options{})
			client1, scope1, err1 := s.Access(tt.one, noLoad)
			client2, scope2, err2 := s.Access(tt.two, noLoad)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			if (client1 == client2) != tt.same || (scope1 == scope2) != tt.same {
				t.Errorf("clients %p and %p, scopes %q and %q", client1, client2, scope1, scope2)
			}
		})
	}
}

func TestScopeOfNoSecretIsEmptyAndItsClientIsTheBase(t *testing.T) {
	s := newStore(t, Options{})
	client, scope, err := s.Access(nil, noLoad)
	if client != s.base || scope != "" || err != nil {
		t.Errorf("got %p, %q, %v", client, scope, err)
	}
}

func TestScopeSaysNothingOfASecret(t *testing.T) {
	s := newStore(t, Options{})
	_, scope, err := s.Access([]Secret{secret("regcred", "1")}, noLoad)
	if err != nil || !strings.HasPrefix(scope, "secrets:") || strings.Contains(scope, "regcred") {
		t.Errorf("got %q, %v", scope, err)
	}
}

func TestClientsAreBounded(t *testing.T) {
	s := newStore(t, Options{})
	for i := range 2 * defaultSize {
		if _, _, err := s.Access([]Secret{secret("a", fmt.Sprint(i))}, noLoad); err != nil {
			t.Fatal(err)
		}
	}
	if s.clients.Len() != defaultSize || s.secrets.Len() != defaultSize {
		t.Errorf("there are %d clients and %d secrets, not %d", s.clients.Len(), s.secrets.Len(), defaultSize)
	}
}

func TestTooManySecretsAreRefused(t *testing.T) {
	_, _, err := newStore(t, Options{}).Access(make([]Secret, MaxSecrets+1), noLoad)
	if f, ok := errors.AsType[*pipeline.Terminal](err); !ok || f.Reason != pipeline.ReasonRegistryCredentials {
		t.Errorf("got %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	base := must(registry.New(registry.Config{}))
	for desc, o := range map[string]Options{
		"no base":                     {},
		"a size below zero":           {Base: base, Size: -1},
		"a cloud that there is not":   {Base: base, Cloud: []Cloud{"Oracle"}},
		"a cloud that is named twice": {Base: base, Cloud: []Cloud{AWS, AWS}},
	} {
		t.Run(desc, func(t *testing.T) {
			if _, err := New(o); err == nil {
				t.Error("there is no error")
			}
		})
	}
}

// chain is the keychain that the client of secrets has.
func chain(s *Store, load Load, secrets ...Secret) *keychain {
	k := &keychain{}
	if s.cloud != nil {
		k.cloud = s.cloud
	}
	for _, secret := range secrets {
		k.secrets = append(k.secrets, s.content(secret, load))
	}
	return k
}

func user(auth authn.Authenticator, err error) string {
	if err != nil {
		return "error"
	}
	return must(auth.Authorization()).Username
}

func TestASecretIsReadOncePerVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, Options{})
		var reads atomic.Int32
		goOn := make(chan struct{})
		load := func(_ context.Context, secret Secret) ([]byte, error) {
			reads.Add(1)
			<-goOn
			return dockerConfig("ghcr.io", secret.Name+secret.ResourceVersion), nil
		}
		repo := must(name.NewRepository("ghcr.io/org/x"))
		var all sync.WaitGroup
		for _, k := range []*keychain{chain(s, load, secret("a", "1")), chain(s, load, secret("a", "1")), chain(s, load, secret("a", "1"), secret("b", "1"))} {
			all.Go(func() {
				if got := user(k.ResolveContext(t.Context(), repo)); got != "a1" {
					t.Errorf("got %q", got)
				}
			})
		}
		synctest.Wait()
		close(goOn)
		all.Wait()
		if got := user(chain(s, load, secret("a", "2")).ResolveContext(t.Context(), repo)); got != "a2" {
			t.Errorf("the next version has %q", got)
		}
		if reads.Load() != 3 { // a 1, b, a 2
			t.Errorf("it was read %d times", reads.Load())
		}
	})
}

func TestWhatASecretThatCantBeUsedDoes(t *testing.T) {
	down := errors.New("connection refused")
	tests := map[string]struct {
		content []byte
		err     error
		want    string
		reads   int32
	}{
		"malformed: an error that stays":         {content: []byte("hunter2"), want: "Terminal RegistryCredentialsInvalid", reads: 1},
		"gone: passed over":                      {err: ErrMissing, want: "second", reads: 1},
		"gone, and the error is wrapped":         {err: fmt.Errorf("reading: %w", ErrMissing), want: "second", reads: 1},
		"empty: passed over":                     {want: "second", reads: 1},
		"not to be read now: tried another time": {err: down, want: "Transient ClusterUnavailable", reads: 2},
		"for another host: passed over":          {content: dockerConfig("quay.io", "first"), want: "second", reads: 1},
		"good: its credentials":                  {content: dockerConfig("ghcr.io", "first"), want: "first", reads: 1},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			var reads atomic.Int32
			load := func(_ context.Context, secret Secret) ([]byte, error) {
				if secret.Name == "b" {
					return dockerConfig("ghcr.io", "second"), nil
				}
				reads.Add(1)
				return tt.content, tt.err
			}
			k := chain(newStore(t, Options{}), load, secret("a", "1"), secret("b", "1"))
			for range 2 {
				auth, err := k.ResolveContext(t.Context(), must(name.NewRepository("ghcr.io/org/x")))
				if got := fault(err); err != nil && got != tt.want || err == nil && user(auth, err) != tt.want {
					t.Errorf("got %v, %v, want %s", auth, err, tt.want)
				}
				if err != nil && (!strings.Contains(err.Error(), "team/a") || strings.Contains(err.Error(), "hunter2")) {
					t.Errorf("says %v", err)
				}
			}
			if reads.Load() != tt.reads {
				t.Errorf("read %d times", reads.Load())
			}
		})
	}
}

func fault(err error) string {
	if f, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return "Terminal " + f.Reason
	}
	if f, ok := errors.AsType[*pipeline.Transient](err); ok {
		return "Transient " + f.Reason
	}
	return fmt.Sprint(err)
}

func TestWaitingForASecretEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		k := chain(newStore(t, Options{}), func(context.Context, Secret) ([]byte, error) { <-never; return nil, nil }, secret("a", "1"))
		_, err := k.ResolveContext(t.Context(), must(name.NewRepository("ghcr.io/x")))
		if got := fault(err); got != "Transient ClusterUnavailable" {
			t.Errorf("got %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = k.ResolveContext(gone, must(name.NewRepository("ghcr.io/x")))
		if !errors.Is(err, context.Canceled) || fault(err) != context.Canceled.Error() {
			t.Errorf("who was cancelled got %v", err)
		}
		close(never)
	})
}

// private is a registry that lets only this user in. It returns its address.
func private(t *testing.T, user string) string {
	t.Helper()
	images := inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got, password, _ := r.BasicAuth(); got == user && password == "hunter2" {
			images.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

func TestWhatThePodSecretsOpen(t *testing.T) {
	host := private(t, "ann")
	tests := map[string]struct {
		secrets []Secret
		content []byte
		want    string
	}{
		"credentials that the registry takes":        {[]Secret{secret("a", "1")}, dockerConfig(host, "ann"), "Terminal ImageNotFound"},
		"credentials that it does not take":          {[]Secret{secret("a", "1")}, dockerConfig(host, "bob"), "Terminal RegistryUnauthorized"},
		"credentials for another host are kept back": {[]Secret{secret("a", "1")}, dockerConfig("ghcr.io", "ann"), "Terminal RegistryUnauthorized"},
		"a missing secret beside it is passed over":  {[]Secret{missing("b"), secret("a", "1")}, dockerConfig(host, "ann"), "Terminal ImageNotFound"},
		"no secret": {nil, nil, "Terminal RegistryUnauthorized"},
		"a malformed secret is not the registry's fault": {[]Secret{secret("a", "1")}, []byte("hunter2"), "Terminal RegistryCredentialsInvalid"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			s := must(New(Options{Base: must(registry.New(registry.Config{UnsafeLoopback: true, UnsafePlainHTTPHosts: []string{host}}))}))
			client, _, err := s.Access(tt.secrets, func(_ context.Context, secret Secret) ([]byte, error) {
				if secret.UID == "" {
					t.Error("a missing secret is read")
				}
				return tt.content, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Manifest(t.Context(), must(client.Parse(host+"/org/x:1")))
			if got := fault(err); got != tt.want || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func BenchmarkAccess(b *testing.B) {
	for _, n := range []int{0, 1, 3} {
		b.Run(fmt.Sprintf("%d secrets", n), func(b *testing.B) {
			s := newStore(b, Options{})
			var secrets []Secret
			for i := range n {
				secrets = append(secrets, Secret{Namespace: "team", Name: fmt.Sprintf("regcred-%d", i), UID: "5b0d4a9e-6a6e-4d0c-8f0e-0c7a8f3f6d5b", ResourceVersion: "123456789", Type: registry.TypeDockerConfigJSON})
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.Access(secrets, noLoad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
