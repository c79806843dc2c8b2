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
	answer := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	f := front{registry: answer, databases: answer, outages: dir}
	for url, out := range map[string]bool{
		"https://" + registryHost + "/v2/team/a/manifests/latest": true,
		"https://" + registryHost + "/v2/team/a/b/blobs/uploads/": true,
		"https://" + registryHost + "/v2/team/ab/manifests/x":     false,
		"https://" + registryHost + "/v2/team/manifests/a":        false,
		"https://" + registryHost + "/v2/":                        false,
		"https://" + databasesHost + "/team/a":                    false,
	} {
		broken(t, f, url, out)
	}
}

func TestAnOutageOfTheDatabasesIsOneOfBothTheirAddresses(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(outageFile(dir, databasesRepository), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	answer := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	f := front{registry: answer, databases: answer, git: answer, outages: dir}
	broken(t, f, "https://"+databasesHost+"/grype/v6/latest.json", true)
	broken(t, f, "https://"+registryHost+"/v2/databases/grype-db/manifests/6", true)
	broken(t, f, "https://"+registryHost+"/v2/sandbox/grype/manifests/6", false)
}

// broken finds out whether the connection of a request is broken.
func broken(t *testing.T, f front, url string, out bool) {
	t.Helper()
	t.Run(url, func(t *testing.T) {
		broken := false
		func() {
			defer func() {
				err, ok := recover().(error)
				broken = ok && errors.Is(err, http.ErrAbortHandler)
			}()
			f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", url, nil))
		}()
		if broken != out {
			t.Errorf("broken: %t, want %t", broken, out)
		}
	})
}
