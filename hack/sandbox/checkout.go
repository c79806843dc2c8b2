//go:build linux

package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// localDir is what a checkout gets: everything to use the sandbox with.
const localDir = ".sandbox"

// writeCheckout writes the checkout's .sandbox.
func writeCheckout(s site, b builds) error {
	if err := rememberCheckout(s); err != nil {
		return err
	}
	dir := filepath.Join(s.checkout, localDir)
	files, err := checkoutFiles(s, b, dir)
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := writeFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	logs := filepath.Join(dir, "logs")
	if err := errors.Join(removeAll(logs), os.Symlink(s.in("logs"), logs)); err != nil {
		return fmt.Errorf("linking the logs: %w", err)
	}
	return giveTo(s.checkout, dir)
}

// giveTo makes the owner of the checkout the owner of dir: up runs as root,
// the one who works in the checkout need not.
func giveTo(checkout, dir string) error {
	info, err := os.Stat(checkout)
	if err != nil {
		return fmt.Errorf("finding the owner of the checkout: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("giving %s to its owner: %w", dir, err)
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}

func checkoutFiles(s site, b builds, dir string) (map[string][]byte, error) {
	secret, err := password(s)
	if err != nil {
		return nil, err
	}
	config, err := kubeconfig(s.in("pki"), issuerURL, "admin")
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(s.in("pki", "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("reading the sandbox's CA: %w", err)
	}
	docker, err := dockerConfig(secret)
	if err != nil {
		return nil, err
	}
	files, err := sigstoreFiles(s.in("pki"))
	if err != nil {
		return nil, err
	}
	// It is there as soon as somebody has built it.
	cosign, err := buildDir(s, "cosign")
	if err != nil {
		return nil, err
	}
	maps.Copy(files, map[string][]byte{
		"kubeconfig":         config,
		"ca.crt":             ca,
		"docker/config.json": docker,
		"git-credentials":    fmt.Appendf(nil, "https://%s:%s@%s\nhttp://%s:%s@%s\n", pushUser, secret, gitHost, pushUser, secret, gitHost),
		"git-token":          []byte(gitToken),
		"env":                environment(dir, secret, []string{b["kube"], b["registry"], cosign}),
	})
	return files, nil
}

// dockerConfig holds the credentials for pushes, as docker login would.
func dockerConfig(secret string) ([]byte, error) {
	auth := base64.StdEncoding.EncodeToString([]byte(pushUser + ":" + secret))
	content, err := json.MarshalIndent(map[string]any{
		"auths": map[string]any{registryHost: map[string]string{"auth": auth}},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding the docker configuration: %w", err)
	}
	return append(content, '\n'), nil
}

// environment is a file for a shell to source.
func environment(dir, secret string, path []string) []byte {
	var text strings.Builder
	text.WriteString("# Source this file to use the sandbox.\n")
	for _, pair := range [][2]string{
		{"KUBECONFIG", dir + "/kubeconfig"},
		{"DOCKER_CONFIG", dir + "/docker"},
		{"BASEWRIGHT_REGISTRY", registryHost},
		{"BASEWRIGHT_GIT", "https://" + gitHost},
		{"BASEWRIGHT_DATABASES", "https://" + databasesHost},
		{"BASEWRIGHT_GIT_READER", gitReader},
		{"BASEWRIGHT_GIT_TOKEN", gitToken},
		{"BASEWRIGHT_ISSUER", issuerURL},
		{"BASEWRIGHT_CA", dir + "/ca.crt"},
		{"BASEWRIGHT_FULCIO", "https://" + fulcioHost},
		{"BASEWRIGHT_REKOR", "https://" + rekorHost},
		{"BASEWRIGHT_TIMESTAMP", timestampURL},
		{"BASEWRIGHT_TRUSTED_ROOT", dir + "/trusted_root.json"},
		{"BASEWRIGHT_SIGNING_CONFIG", dir + "/signing_config.json"},
		// What cosign takes for --trusted-root and --registry-cacert.
		{"COSIGN_TRUSTED_ROOT", dir + "/trusted_root.json"},
		{"COSIGN_REGISTRY_CACERT", dir + "/ca.crt"},
		{"BASEWRIGHT_USER", pushUser},
		{"BASEWRIGHT_PASSWORD", secret},
	} {
		fmt.Fprintf(&text, "export %s=%s\n", pair[0], quote(pair[1]))
	}
	fmt.Fprintf(&text, "export PATH=%s:\"$PATH\"\n", quote(strings.Join(path, ":")))
	// The names are only known here: a proxy could not find them.
	fmt.Fprintf(&text, "export NO_PROXY=\"${NO_PROXY:+$NO_PROXY,}.basewright.test,%s\"\n", sandboxRange)
	text.WriteString("export no_proxy=\"$NO_PROXY\"\n")
	return []byte(text.String())
}

// quote makes one word of a shell out of any text.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// rememberCheckout notes who has files that down has to remove.
func rememberCheckout(s site) error {
	known := knownCheckouts(s)
	if slices.Contains(known, s.checkout) {
		return nil
	}
	return writeFile(s.in("checkouts"), []byte(strings.Join(append(known, s.checkout), "\n")), 0o644)
}

func knownCheckouts(s site) []string {
	content, err := os.ReadFile(s.in("checkouts"))
	if err != nil {
		return nil
	}
	return slices.Collect(strings.FieldsFuncSeq(string(content), func(r rune) bool { return r == '\n' }))
}

// forgetCheckouts removes .sandbox from this checkout and all known ones.
func forgetCheckouts(s site) error {
	var failed []error
	for _, checkout := range append(knownCheckouts(s), s.checkout) {
		failed = append(failed, removeAll(filepath.Join(checkout, localDir)))
	}
	return errors.Join(failed...)
}
