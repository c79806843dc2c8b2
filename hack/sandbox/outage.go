//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// An outage is a file that names a prefix of repositories: as long as it is there, the front breaks every connection
// that asks for one of them, as a registry does that is going away.

// runOutage is the subcommand outage.
func runOutage(_ context.Context, args []string) error {
	if len(args) != 2 || args[1] != "begin" && args[1] != "end" {
		return errUsage
	}
	s, err := newSite()
	if err != nil {
		return err
	}
	if !repositoryName.MatchString(args[0]) {
		return fmt.Errorf("%q is no prefix of repositories: lower case letters, digits and . _ - /", args[0])
	}
	if !exists(s.in("git")) {
		return errors.New("the sandbox is not up: run up first")
	}
	file := outageFile(s.in("outages"), args[0])
	if args[1] == "end" {
		if err := os.RemoveAll(file); err != nil {
			return fmt.Errorf("ending an outage: %w", err)
		}
		fmt.Printf("%s is reachable again\n", args[0])
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("beginning an outage: %w", err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		return fmt.Errorf("beginning an outage: %w", err)
	}
	fmt.Printf("every connection about %s is broken, until outage %s end\n", args[0], args[0])
	return nil
}

// registryService is the subcommand for all of the registry, and its name among the services that have a state.
const registryService = "registry"

func runRegistry(_ context.Context, args []string) error {
	if len(args) != 1 || !isState(args[0]) {
		return errUsage
	}
	return switchService(registryService, args[0])
}

// outageFile is the file of a prefix, whose slashes no file name can have.
func outageFile(dir, prefix string) string {
	return filepath.Join(dir, strings.ReplaceAll(prefix, "/", "%"))
}

// isOut reports whether an outage concerns the repository that a request is about.
func isOut(dir string, r *http.Request) bool {
	prefix := strings.Trim(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
	for prefix != "" {
		if exists(outageFile(dir, prefix)) {
			return true
		}
		cut := strings.LastIndex(prefix, "/")
		prefix = prefix[:max(cut, 0)]
	}
	return false
}
