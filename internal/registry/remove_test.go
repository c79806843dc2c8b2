package registry

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/static"
)

func TestRemoveArtifact(t *testing.T) {
	for desc, api := range map[string]bool{"with the referrers API": true, "without": false} {
		t.Run(desc, func(t *testing.T) {
			host := serve(t, withAPI(api))
			c := testClient(t, Config{})
			repo, subject := pushed(t, c, host)
			about := repo.Digest(subject.Digest.String())
			var refs []name.Digest
			for _, content := range []string{"1", "2"} {
				ref, err := c.PushArtifact(t.Context(), repo, report(subject, content))
				if err != nil {
					t.Fatal(err)
				}
				refs = append(refs, ref)
			}
			// Another process, which does not know yet how referrers are listed; and what is gone is gone.
			for range 2 {
				if err := testClient(t, Config{}).RemoveArtifact(t.Context(), refs[0], about); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := c.Manifest(t.Context(), refs[0]); fault(err) != "Terminal ImageNotFound" {
				t.Errorf("it is still there: %v", err)
			}
			found, _, err := c.Referrers(t.Context(), about, 10)
			if err != nil || len(found) != 1 || found[0].Digest.String() != refs[1].DigestStr() {
				t.Errorf("listed are %v, %v", found, err)
			}
			if api {
				return
			}
			if diff := cmp.Diff([]string{refs[1].DigestStr()}, tagged(t, host, subject)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Registries may refuse lists with something in them that is gone, also those that others write at the same time.
func TestWhatIsRemovedWasTakenOutOfTheListBefore(t *testing.T) {
	store := withAPI(false)
	seen := &requests{next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		store.ServeHTTP(w, r)
	})}
	host := serve(t, seen)
	c := testClient(t, Config{})
	repo, subject := pushed(t, c, host)
	ref, err := c.PushArtifact(t.Context(), repo, report(subject, "1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveArtifact(t.Context(), ref, repo.Digest(subject.Digest.String())); fault(err) != "Terminal RegistryRejected" {
		t.Errorf("got %v", err)
	}
	if left := tagged(t, host, subject); len(left) != 0 || seen.count("DELETE", "/manifests/") != 1 {
		t.Errorf("listed are still %v", left)
	}
}

func TestRemoveArtifactFaults(t *testing.T) {
	tests := map[string]struct {
		method, part string
		status       int
		want         string
	}{
		"it deletes nothing":       {"DELETE", "/manifests/", 405, "Terminal RegistryRejected"},
		"not for us":               {"DELETE", "/manifests/", 403, "Terminal PushDenied"},
		"it is down":               {"DELETE", "/manifests/", 503, "Transient RegistryUnavailable"},
		"the list may not be read": {"GET", "/manifests/sha256-", 403, "Terminal RegistryDenied"},
		"nor written":              {"PUT", "/manifests/sha256-", 403, "Terminal PushDenied"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			store, broken := withAPI(false), false
			host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if broken && r.Method == tt.method && strings.Contains(r.URL.Path, tt.part) {
					w.WriteHeader(tt.status)
					return
				}
				store.ServeHTTP(w, r)
			}))
			c := testClient(t, Config{})
			repo, subject := pushed(t, c, host)
			ref, err := c.PushArtifact(t.Context(), repo, report(subject, "1"))
			if err != nil {
				t.Fatal(err)
			}
			broken = true
			if err := c.RemoveArtifact(t.Context(), ref, repo.Digest(subject.Digest.String())); fault(err) != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestPushBlobs(t *testing.T) {
	seen := &requests{next: withAPI(true)}
	c := testClient(t, Config{})
	repo := must(c.Repository(serve(t, seen) + "/x"))
	for range 2 {
		if err := c.PushBlobs(t.Context(), repo, static.NewLayer([]byte("1"), "text/plain"), static.NewLayer([]byte("2"), "text/plain")); err != nil {
			t.Fatal(err)
		}
	}
	if n := seen.count("POST", "/blobs/"); n != 2 {
		t.Errorf("%d blobs were sent, want 2", n)
	}
	denying := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	err := c.PushBlobs(t.Context(), must(c.Repository(denying+"/x")), static.NewLayer([]byte("1"), "text/plain"))
	if fault(err) != "Terminal PushDenied" {
		t.Errorf("got %v", err)
	}
}
