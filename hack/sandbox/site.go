//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

const (
	// stateDir holds all that a running sandbox keeps; down removes it whole.
	stateDir = "/var/lib/basewright-sandbox"
	// rootModule is the module whose checkout this program belongs to.
	rootModule = "github.com/ibshafique/base-images"

	nodeName     = "basewright"
	registryHost = "registry.basewright.test"
	gitHost      = "git.basewright.test"
	kubeHost     = "kube.basewright.test"
	// databasesHost serves files: the vulnerability databases.
	databasesHost = "databases.basewright.test"
	apiPort       = "6443"
	issuerURL     = "https://" + kubeHost + ":" + apiPort
	pushUser      = "basewright"

	// gitReader may fetch from repositories whose name starts with privatePrefix. Its token is no secret: it stands
	// for one in tests.
	gitReader     = "reader"
	gitToken      = "sandbox-git-token"
	privatePrefix = "private-"

	// hostLink is the host's end of the cable to the node.
	hostLink = "bwsandbox"
	nodeLink = "eth0"
)

// The sandbox's addresses. All of them come from one range that it can check
// for, and they are the same on every machine.
var (
	sandboxRange = netip.MustParsePrefix("10.231.0.0/16")
	linkRange    = netip.MustParsePrefix("10.231.0.0/30")
	hostAddress  = netip.MustParseAddr("10.231.0.1")
	nodeAddress  = netip.MustParseAddr("10.231.0.2")
	podRange     = netip.MustParsePrefix("10.231.16.0/20")
	serviceRange = netip.MustParsePrefix("10.231.32.0/20")
	kubeService  = netip.MustParseAddr("10.231.32.1")
	dnsService   = netip.MustParseAddr("10.231.32.10")
)

// sandboxHosts are the names that resolve to the node, everywhere.
var sandboxHosts = []string{registryHost, gitHost, kubeHost, databasesHost, fulcioHost, rekorHost, timestampHost, ctlogHost}

// site is where things are: the source tree, the running sandbox's state and
// the cache of what was built or downloaded.
type site struct {
	checkout string
	state    string
	cache    string
}

// newSite finds the checkout from the working directory.
func newSite() (site, error) {
	checkout, err := findCheckout()
	if err != nil {
		return site{}, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return site{}, fmt.Errorf("finding the cache directory: %w", err)
	}
	return site{checkout: checkout, state: stateDir, cache: filepath.Join(cache, "basewright")}, nil
}

func findCheckout() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the checkout: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module "+rootModule+"\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside a checkout of %s", start, rootModule)
		}
	}
}

// in returns a path below the state directory.
func (s site) in(parts ...string) string {
	return filepath.Join(append([]string{s.state}, parts...)...)
}

// source returns a path below hack/sandbox of the checkout.
func (s site) source(parts ...string) string {
	return filepath.Join(append([]string{s.checkout, "hack", "sandbox"}, parts...)...)
}

// program is the copy of this program that the node runs: "go run" deletes
// the original as soon as it returns.
func (s site) program() string { return s.in("bin", "sandbox") }

// exists tells whether path is there; a path that cannot be looked at counts
// as missing, and the step that needs it will say why.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// removeAll removes paths and reports every failure.
func removeAll(paths ...string) error {
	var failed []error
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			failed = append(failed, fmt.Errorf("removing %s: %w", path, err))
		}
	}
	return errors.Join(failed...)
}

// writeFile replaces a file at once; it makes the parent directories too.
func writeFile(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the directory of %s: %w", path, err)
	}
	// Only one process, the holder of the lock, writes at a time.
	temporary := path + ".new"
	if err := errors.Join(os.WriteFile(temporary, content, mode), os.Chmod(temporary, mode)); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
