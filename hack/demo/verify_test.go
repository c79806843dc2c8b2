package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheCommandOfTheStatusIsRun(t *testing.T) {
	const command = "cosign verify --certificate-identity=a --certificate-oidc-issuer=b registry.example/image@sha256:0"
	for name, test := range map[string]struct {
		command, script string
		fails           bool
	}{
		"with its arguments and the sandbox's trust": {command, `[ "$1 $4" = "verify registry.example/image@sha256:0" ] && [ "$COSIGN_TRUSTED_ROOT" = .sandbox/trusted_root.json ] && echo yes`, false},
		"and fails as it does":                       {command, "echo yes; exit 1", true},
		"and fails if nothing was verified":          {command, "exit 0", true},
		"but no other command":                       {strings.Replace(command, "cosign", "sh", 1), "echo yes", true},
		"nor none":                                   {"", "echo yes", true},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "cosign")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := (&demo{}).cosign(t.Context(), program, test.command); (err != nil) != test.fails {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTheSignatureOfAStatus(t *testing.T) {
	kubectl := filepath.Join(t.TempDir(), "kubectl")
	for name, test := range map[string]struct {
		out   string
		fails bool
	}{
		"has the commands":                  {`{"identity":"a","verifyCommand":"cosign verify x","attestationCommand":"cosign verify-attestation x"}`, false},
		"is missing in one without signing": {"", true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(kubectl, []byte("#!/bin/sh\ncat <<'end'\n"+test.out+"\nend\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			got, err := (&demo{kubectl: kubectl}).signature(t.Context(), "scratch-plus")
			if (err != nil) != test.fails || err == nil && got != (signature{"cosign verify x", "cosign verify-attestation x"}) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
