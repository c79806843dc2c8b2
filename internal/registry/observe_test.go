package registry

import (
	"net/http"
	"slices"
	"sync"
	"testing"
)

type request struct {
	method string
	status int
}

func TestRequestsToRegistriesAreTold(t *testing.T) {
	var mu sync.Mutex
	var seen []request
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	c := testClient(t, Config{Observe: func(method string, status int) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, request{method, status})
	}})
	if _, err := c.Head(t.Context(), parse(t, c, host+"/base/one:1")); err == nil {
		t.Error("an answer of 403 is no error")
	}
	if !slices.Contains(seen, request{http.MethodGet, http.StatusOK}) || !slices.Contains(seen, request{http.MethodHead, http.StatusForbidden}) {
		t.Errorf("told %v, want the ping and the look", seen)
	}
	seen = nil
	if _, err := c.Head(t.Context(), parse(t, c, "10.0.0.1/base/one:1")); err == nil {
		t.Error("a private address is no error")
	}
	if len(seen) == 0 || seen[0].status != 0 {
		t.Errorf("told %v, want a request without an answer", seen)
	}
	seen = nil
	resp, err := c.HTTPClient().Get("http://" + host + "/images.git")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if len(seen) > 0 {
		t.Errorf("told %v of a service that is no registry", seen)
	}
}
