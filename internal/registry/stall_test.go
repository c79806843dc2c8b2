package registry

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ibshafique/base-images/internal/limits"
)

// dripping serves an image whose answers at path stop in the middle, of which it tells.
func dripping(path string, began chan<- struct{}) http.Handler {
	store := inMemory()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, path) {
			store.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		began <- struct{}{}
		<-r.Context().Done()
	})
}

func TestADripIsGivenUp(t *testing.T) {
	for desc, tt := range map[string]struct{ path, says string }{
		"in a manifest": {"/manifests/", "the manifest brought less than 256Ki in 1m"},
		"in a config":   {"/blobs/", "the blob brought less than 256Ki in 1m"},
	} {
		t.Run(desc, func(t *testing.T) {
			clock, began, failed := newFakeTime(), make(chan struct{}, 1), make(chan error, 1)
			c := timed(t, Config{Limits: limits.Registry{RequestTimeout: limits.Duration(time.Hour)}}, clock)
			repo := must(c.Repository(serve(t, dripping(tt.path, began)) + "/x"))
			ref := must(c.PushImage(t.Context(), repo, randomImage(t)))
			go func() {
				img, err := c.Image(t.Context(), ref)
				if err == nil {
					_, err = img.ConfigFile()
				}
				failed <- Classify("opening "+Name(ref), err)
			}()
			<-began
			var err error
			eventually(t, "it fails", func() bool {
				clock.pass(time.Minute)
				select {
				case err = <-failed:
					return true
				default:
					return false
				}
			})
			if fault(err) != "Transient RegistryTooSlow" || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "stallTimeout") {
				t.Errorf("got %v", err)
			}
			eventually(t, "its slot is free", func() bool { return c.limiter().users() == 0 })
		})
	}
}
