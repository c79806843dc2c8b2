package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	registryHost  = "registry.basewright.test"
	databasesHost = "databases.basewright.test"
	gitURL        = "https://git.basewright.test"
	fulcioHost    = "fulcio.basewright.test"
	rekorHost     = "rekor.basewright.test"
	timestampHost = "timestamp.basewright.test"
	namespace     = "base-images"
	// files of the sandbox in the checkout, and of the demo below it.
	sandboxDir = ".sandbox"
	installDir = sandboxDir + "/install"
	imagesDir  = sandboxDir + "/images"
	// trustedRoot is a file of the sandbox, and one of the operator's.
	trustedRoot = "trusted_root.json"
	// webhookConfig is a file of the installation, beside the operator's config.yaml.
	webhookConfig = "webhook.yaml"
)

// demo runs commands against the sandbox that is up.
type demo struct {
	started time.Time
	// kubectl of the sandbox.
	kubectl string
}

func newDemo(started time.Time) (*demo, error) {
	if _, err := os.Stat(filepath.Join(sandboxDir, "kubeconfig")); err != nil {
		return nil, errors.New("the sandbox is not up: run make sandbox first, from the root of the checkout")
	}
	bin, err := exec.Command("bin/sandbox", "path").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the sandbox's kubectl: %w", err)
	}
	return &demo{started: started, kubectl: filepath.Join(strings.TrimSpace(string(bin)), "kubectl")}, nil
}

// say prints a step with the time since the start.
func (d *demo) say(format string, args ...any) {
	fmt.Printf("[%4.0fs] %s\n", time.Since(d.started).Seconds(), fmt.Sprintf(format, args...))
}

// output runs a command and returns what it prints; what it says of a failure becomes the error.
func (d *demo) output(ctx context.Context, name string, args ...string) (string, error) {
	return d.pipe(ctx, nil, name, args...)
}

func (d *demo) pipe(ctx context.Context, stdin []byte, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(sandboxDir, "kubeconfig"))
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// show runs kubectl with its output on the terminal.
func (d *demo) show(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, d.kubectl, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(sandboxDir, "kubeconfig"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// apply sends objects to the apiserver.
func (d *demo) apply(ctx context.Context, objects ...any) error {
	for _, o := range objects {
		raw, err := json.Marshal(o)
		if err != nil {
			return fmt.Errorf("encoding an object: %w", err)
		}
		if _, err := d.pipe(ctx, raw, d.kubectl, "apply", "--server-side", "-f", "-"); err != nil {
			return err
		}
	}
	return nil
}

// dockerConfig is the file with the credentials of the sandbox's registry.
func dockerConfig() ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(sandboxDir, "docker", "config.json"))
	if err != nil {
		return nil, fmt.Errorf("reading the registry's credentials: %w", err)
	}
	return raw, nil
}
