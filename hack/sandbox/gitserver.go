//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// gitServer serves bare repositories by git's own smart HTTP program.
type gitServer struct{ cgi cgi.Handler }

func newGitServer(root string) (gitServer, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return gitServer{}, fmt.Errorf("finding git: %w", err)
	}
	return gitServer{cgi.Handler{
		Path: git,
		Args: []string{"http-backend"},
		Dir:  root,
		Env: []string{
			"GIT_PROJECT_ROOT=" + root,
			"GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_NOSYSTEM=1",
		},
		InheritEnv: []string{"PATH"},
	}}, nil
}

// ServeHTTP passes a request on. git sends a large push in chunks, which CGI
// has no way to pass on, so that such a body is put into a file first.
func (g gitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength < 0 {
		body, size, err := spool(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer func() { _ = body.Close() }()
		r.Body, r.ContentLength, r.TransferEncoding = body, size, nil
	}
	g.cgi.ServeHTTP(w, r)
}

// spool copies a body into a file that has no name and ends when it is closed.
func spool(body io.Reader) (*os.File, int64, error) {
	file, err := os.CreateTemp("", "push-")
	if err != nil {
		return nil, 0, fmt.Errorf("making a file for a push: %w", err)
	}
	size, err := io.Copy(file, body)
	err = errors.Join(err, os.Remove(file.Name()))
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("keeping a push: %w", err), file.Close())
	}
	return file, size, nil
}

// repositoryName keeps names inside the directory of repositories.
var repositoryName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?)*$`)

// runGitRepo is the subcommand git-repo.
func runGitRepo(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	s, err := newSite()
	if err != nil {
		return err
	}
	name := args[0]
	if !repositoryName.MatchString(name) {
		return fmt.Errorf("%q is no name for a repository: lower case letters, digits and . _ - /", name)
	}
	if !exists(s.in("git")) {
		return errors.New("the sandbox is not up: run up first")
	}
	dir := s.in("git", name+".git")
	if err := makeRepository(ctx, dir); err != nil {
		return fmt.Errorf("making the repository %s: %w", name, err)
	}
	fmt.Printf("https://%s/%s.git\n", gitHost, name)
	return nil
}

func makeRepository(ctx context.Context, dir string) error {
	if exists(filepath.Join(dir, "HEAD")) {
		return nil
	}
	if err := runQuietly(exec.CommandContext(ctx, "git", "init", "--quiet", "--bare", "--initial-branch=main", dir)); err != nil {
		return err
	}
	for key, value := range map[string]string{
		"http.receivepack":              "true", // the front asks for the password
		"uploadpack.allowAnySHA1InWant": "true",
		"uploadpack.allowFilter":        "true",
	} {
		if err := runQuietly(exec.CommandContext(ctx, "git", "--git-dir", dir, "config", key, value)); err != nil {
			return err
		}
	}
	return nil
}
