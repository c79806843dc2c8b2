package registry

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// tokenRegistry asks for a token at realm, and serves one itself at /token.
func tokenRegistry(realm func(host string) string, asked *[]string) http.Handler {
	store := inMemory()
	var mu sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			mu.Lock()
			defer mu.Unlock()
			*asked = append(*asked, r.Host+" "+r.Header.Get("Authorization"))
			_, _ = io.WriteString(w, `{"token":"abc"}`)
		case r.Header.Get("Authorization") != "Bearer abc":
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="x"`, realm(r.Host)))
			w.WriteHeader(http.StatusUnauthorized)
		default:
			store.ServeHTTP(w, r)
		}
	})
}

func TestTokenService(t *testing.T) {
	tests := map[string]struct {
		realmHost string
		user      bool
		allowed   []TokenHost
		want      string
		asked     string // prefix of what the token service sees
	}{
		"at the registry itself gets the credentials":                {realmHost: "example.com", user: true, asked: "example.com:PORT Basic "},
		"on another host does not get the credentials":               {realmHost: "evil.example.com", user: true, want: "Terminal RegistryAddressNotAllowed"},
		"on another host that is listed gets them":                   {realmHost: "auth.example.com", user: true, allowed: []TokenHost{{Registry: "example.com:PORT", Host: "auth.example.com"}}, asked: "auth.example.com:PORT Basic "},
		"on a host that is listed for another registry gets nothing": {realmHost: "auth.example.com", user: true, allowed: []TokenHost{{Registry: "other.example:PORT", Host: "auth.example.com"}}, want: "Terminal RegistryAddressNotAllowed"},
		"on another host may be asked without credentials":           {realmHost: "auth.example.com", asked: "auth.example.com:PORT "},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			var asked []string
			var port string
			port, ca := serveTLS(t, tokenRegistry(func(string) string { return "https://" + tt.realmHost + ":" + port + "/token" }, &asked))
			for i := range tt.allowed {
				tt.allowed[i].Registry = strings.ReplaceAll(tt.allowed[i].Registry, "PORT", port)
			}
			c := testClient(t, Config{CABundle: ca, TokenHosts: tt.allowed})
			resolving(c)
			if tt.user {
				c = c.With(user("example.com:" + port))
			}
			img := randomImage(t)
			repo, err := c.Repository("example.com:" + port + "/x")
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.PushImage(t.Context(), repo, img)
			if got := fault(err); got != tt.want {
				t.Fatalf("got %s: %v, want %s", got, err, tt.want)
			}
			if tt.want != "" && len(asked) > 0 || tt.want == "" && (len(asked) == 0 || !strings.HasPrefix(asked[0], strings.ReplaceAll(tt.asked, "PORT", port))) {
				t.Errorf("the token service saw %q", asked)
			}
		})
	}
}

func TestALoginThatIsRefused(t *testing.T) {
	for desc, tt := range map[string]struct {
		status     int
		read, push string
	}{
		"as unknown":   {http.StatusUnauthorized, "Terminal RegistryUnauthorized", "Terminal PushDenied"},
		"as forbidden": {http.StatusForbidden, "Terminal RegistryDenied", "Terminal PushDenied"},
	} {
		t.Run(desc, func(t *testing.T) {
			var asked []string
			registry := tokenRegistry(func(host string) string { return "http://" + host + "/token" }, &asked)
			c := testClient(t, Config{})
			repo, err := c.Repository(serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					w.WriteHeader(tt.status)
					return
				}
				registry.ServeHTTP(w, r)
			})) + "/x")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Manifest(t.Context(), repo.Tag("1")); fault(err) != tt.read {
				t.Errorf("reading: %v", err)
			}
			_, err = c.PushImage(t.Context(), repo, randomImage(t))
			if fault(err) != tt.push || !strings.Contains(err.Error(), "spec.output.pushSecretRef") {
				t.Errorf("pushing: %v", err)
			}
		})
	}
}
