package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// cosigns are groups of the sandbox's programs: the verifier as it comes, which has never heard of this project.
var cosigns = []string{"cosign", "cosign3"}

// verify runs what anybody can verify an image with: the commands of its status.
func (d *demo) verify(ctx context.Context, image string) error {
	signature, err := d.signature(ctx, image)
	if err != nil {
		return err
	}
	for _, group := range cosigns {
		dir, err := d.output(ctx, "bin/sandbox", "path", group)
		if err != nil {
			return err
		}
		program := filepath.Join(dir, "cosign")
		version, err := d.output(ctx, program, "version", "--json")
		if err != nil {
			return err
		}
		d.say("%s, verified with cosign %s:", image, versionOf(version))
		for _, command := range []string{signature.VerifyCommand, signature.AttestationCommand} {
			if err := d.cosign(ctx, program, command); err != nil {
				return err
			}
		}
	}
	return nil
}

// signature is what the status says of one.
type signature struct{ VerifyCommand, AttestationCommand string }

func (d *demo) signature(ctx context.Context, image string) (signature, error) {
	out, err := d.output(ctx, d.kubectl, "--namespace="+namespace, "get", "baseimage", image, "--output=jsonpath={.status.image.signature}")
	if err != nil {
		return signature{}, err
	}
	var s signature
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return signature{}, fmt.Errorf("reading the signature of %s, which is %q: %w", image, out, err)
	}
	return s, nil
}

func versionOf(text string) string {
	var version struct{ GitVersion string }
	if err := json.Unmarshal([]byte(text), &version); err != nil {
		return "of no known version"
	}
	return version.GitVersion
}

// cosign runs a command as it is in the status, in the environment that the sandbox has for it, and shows what it has
// checked; what it prints is for machines.
func (d *demo) cosign(ctx context.Context, program, command string) error {
	words := strings.Fields(command)
	if len(words) < 2 || words[0] != "cosign" {
		return fmt.Errorf("the status says to verify with %q, which is no command of cosign", command)
	}
	fmt.Printf("\n$ %s\n", command)
	cmd := exec.CommandContext(ctx, program, words[1:]...)
	cmd.Env = append(os.Environ(),
		"COSIGN_TRUSTED_ROOT="+filepath.Join(sandboxDir, trustedRoot),
		"COSIGN_REGISTRY_CACERT="+filepath.Join(sandboxDir, "ca.crt"))
	cmd.Stderr = os.Stdout
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("verifying with %s: %w", program, err)
	}
	if len(out) == 0 {
		return fmt.Errorf("%s has verified nothing", program)
	}
	return nil
}
