package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestAPushThatIsDeniedSaysWhetherCredentialsWereSent(t *testing.T) {
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	for desc, tt := range map[string]struct{ entry, says string }{
		"without any":                {"", "no credentials were sent: name a Secret that has an entry for " + host + " in spec.output.pushSecretRef"},
		"with those of another host": {"registry.example", "no credentials were sent"},
		"with some":                  {host, "the credentials of the push secret may not write to " + host + "/x"},
	} {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, Config{})
			if tt.entry != "" {
				keychain, err := KeychainFromDockerConfig(fmt.Appendf(nil, `{"auths":{%q:{"username":"a","password":"b"}}}`, tt.entry))
				if err != nil {
					t.Fatal(err)
				}
				c = c.With(keychain)
			}
			repo, err := c.Repository(host + "/x")
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.PushImage(t.Context(), repo, randomImage(t))
			if fault(err) != "Terminal PushDenied" || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %s: %v, want it to say %q", fault(err), err, tt.says)
			}
		})
	}
}
