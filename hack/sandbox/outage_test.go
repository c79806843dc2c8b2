//go:build linux

package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

func TestAnOutageBreaksTheConnectionsOfItsRepositories(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(outageFile(dir, "team/a"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f := front{registry: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), outages: dir}
	for path, out := range map[string]bool{
		"/v2/team/a/manifests/latest": true,
		"/v2/team/a/b/blobs/uploads/": true,
		"/v2/team/ab/manifests/x":     false,
		"/v2/team/manifests/a":        false,
		"/v2/":                        false,
	} {
		t.Run(path, func(t *testing.T) {
			broken := false
			func() {
				defer func() {
					err, ok := recover().(error)
					broken = ok && errors.Is(err, http.ErrAbortHandler)
				}()
				f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "https://"+registryHost+path, nil))
			}()
			if broken != out {
				t.Errorf("broken: %t, want %t", broken, out)
			}
		})
	}
}
