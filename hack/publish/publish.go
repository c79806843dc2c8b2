// Package publish puts directories of a checkout on the sandbox's git server.
package publish

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const registryHost = "registry.basewright.test"

// Directory commits a directory of the checkout, under its own name, to a repository of the sandbox and returns its
// URL and the commit. The commit replaces what the branch main had. Its date is fixed, so that publishing the
// same files again gives the same commit.
func Directory(ctx context.Context, checkout, repository, directory string) (url, commit string, err error) {
	return FS(ctx, checkout, repository, directory, filepath.Join(checkout, directory))
}

// FS is Directory for files from anywhere, which become the directory name of the repository.
func FS(ctx context.Context, checkout, repository, name, from string) (url, commit string, err error) {
	cmd := exec.CommandContext(ctx, filepath.Join(checkout, "bin", "sandbox"), "git-repo", repository)
	cmd.Dir = checkout
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("making repository %s: %w", repository, err)
	}
	url = strings.TrimSpace(string(out))
	dir, err := os.MkdirTemp("", "basewright-publish-")
	if err != nil {
		return "", "", fmt.Errorf("making a directory for the repository: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(from)); err != nil {
		return "", "", fmt.Errorf("copying %s: %w", from, err)
	}
	commit, err = commitAndPush(ctx, checkout, dir, url)
	return url, commit, err
}

func commitAndPush(ctx context.Context, checkout, dir, url string) (commit string, err error) {
	env, err := environment(checkout)
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"add", "--all"},
		{"-c", "user.name=Basewright", "-c", "user.email=sandbox@basewright.test", "commit", "--quiet", "--message=Publish"},
		{"push", "--quiet", "--force", url, "main"},
		{"rev-parse", "HEAD"},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("git: %w\n%s", err, strings.TrimSpace(string(out)))
		}
		commit = strings.TrimSpace(string(out))
	}
	return commit, nil
}

// environment has the sandbox's CA and credentials for git, and nothing of the user's configuration. They are in the
// environment, because GIT_SSL_CAINFO of the user would win over a setting, and arguments can be read by others.
func environment(checkout string) ([]string, error) {
	const date = "2026-01-01T00:00:00Z"
	ca, err := filepath.Abs(filepath.Join(checkout, ".sandbox", "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("finding the sandbox's CA: %w", err)
	}
	header, err := basicAuth(checkout)
	if err != nil {
		return nil, err
	}
	return append(os.Environ(), "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date,
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_SSL_CAINFO="+ca,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.extraHeader", "GIT_CONFIG_VALUE_0="+header), nil
}

// basicAuth is the registry's credentials as a header: the git server takes the same, for private repositories too.
func basicAuth(checkout string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(checkout, ".sandbox", "docker", "config.json"))
	if err != nil {
		return "", fmt.Errorf("reading the sandbox's credentials: %w", err)
	}
	var config struct {
		Auths map[string]struct{ Auth string }
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return "", fmt.Errorf("reading the sandbox's credentials: %w", err)
	}
	auth := config.Auths[registryHost].Auth
	if _, err := base64.StdEncoding.DecodeString(auth); err != nil || auth == "" {
		return "", fmt.Errorf("reading the sandbox's credentials: none for %s", registryHost)
	}
	return "Authorization: Basic " + auth, nil
}
