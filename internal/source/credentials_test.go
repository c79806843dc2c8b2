package source

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestCredentialsFromSecret(t *testing.T) {
	t.Parallel()
	host, private := newKey(t, ssh.KeyAlgoED25519)
	_, rsa := newKey(t, ssh.KeyAlgoRSA)
	known := []byte("example.com " + string(ssh.MarshalAuthorizedKey(host.PublicKey())))
	encrypted, err := ssh.MarshalPrivateKeyWithPassphrase(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), "", []byte("s3cret"))
	if err != nil {
		t.Fatal(err)
	}
	const https, overSSH = "https://example.com/x", "ssh://git@example.com/x"
	type data = map[string][]byte
	tests := map[string]struct {
		url     string
		data    data
		want    *Credentials
		mention string
	}{
		"a name and a password":         {https, data{"username": []byte("me"), "password": []byte("s3cret")}, &Credentials{Username: "me", Password: "s3cret"}, ""},
		"a token":                       {https, data{"password": []byte("s3cret")}, &Credentials{Username: "git", Password: "s3cret"}, ""},
		"keys that https does not need": {https, data{"password": []byte("s3cret"), "ssh-privatekey": []byte("s3cret")}, &Credentials{Username: "git", Password: "s3cret"}, ""},
		"a key":                         {overSSH, data{"ssh-privatekey": private, "known_hosts": known}, &Credentials{PrivateKey: private, KnownHosts: known}, ""},
		"a key of RSA, without the last line break": {overSSH, data{"ssh-privatekey": bytes.TrimSpace(rsa), "known_hosts": known}, &Credentials{PrivateKey: bytes.TrimSpace(rsa), KnownHosts: known}, ""},
		"keys that ssh does not need":               {overSSH, data{"ssh-privatekey": private, "known_hosts": known, "password": []byte("s3cret")}, &Credentials{PrivateKey: private, KnownHosts: known}, ""},

		"an empty Secret, for https":     {https, nil, nil, `"password"`},
		"an empty Secret, for ssh":       {overSSH, nil, nil, `"ssh-privatekey"`},
		"a name without a password":      {https, data{"username": []byte("s3cret")}, nil, `"password"`},
		"an empty password":              {https, data{"password": nil}, nil, `"password"`},
		"a password with a line break":   {https, data{"password": []byte("s3cret\n")}, nil, "line break"},
		"a name with a colon":            {https, data{"username": []byte("s3cret:x"), "password": []byte("x")}, nil, `"username"`},
		"a password for http":            {"http://example.com/x", data{"password": []byte("s3cret")}, nil, "https://"},
		"a password for ssh":             {overSSH, data{"password": []byte("s3cret")}, nil, `"ssh-privatekey"`},
		"a key for https":                {https, data{"ssh-privatekey": private, "known_hosts": known}, nil, `"password"`},
		"a key without known_hosts":      {overSSH, data{"ssh-privatekey": private}, nil, `"known_hosts"`},
		"a key with a passphrase":        {overSSH, data{"ssh-privatekey": pem.EncodeToMemory(encrypted), "known_hosts": known}, nil, "encrypted"},
		"a key that is cut":              {overSSH, data{"ssh-privatekey": private[:len(private)/2], "known_hosts": known}, nil, "no private key"},
		"a public key":                   {overSSH, data{"ssh-privatekey": known, "known_hosts": known}, nil, "no private key"},
		"known_hosts that are something": {overSSH, data{"ssh-privatekey": private, "known_hosts": []byte("s3cret")}, nil, "line 1"},
		"a password that is too long":    {https, data{"password": bytes.Repeat([]byte("s3cret"), 1<<14)}, nil, "65536"},
		"known_hosts that are too long":  {overSSH, data{"ssh-privatekey": private, "known_hosts": bytes.Repeat([]byte("#"), 64<<10+1)}, nil, "65536"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := CredentialsFromSecret(tc.url, tc.data)
			if tc.want != nil {
				if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
					t.Errorf("got %v %s", err, diff)
				}
				return
			}
			wantTerminal(t, err, pipeline.ReasonSourceSecretInvalid, "spec.source.git.secretRef", tc.mention)
			wantNoSecret(t, err, &Credentials{Password: "s3cret", PrivateKey: private})
		})
	}
	_, err = CredentialsFromSecret("git@example.com:x", nil)
	wantTerminal(t, err, pipeline.ReasonSourceInvalid, "ssh://")
}

func TestCredentialsAreNotPrinted(t *testing.T) {
	t.Parallel()
	c := &Credentials{Username: "me", Password: "s3cret", PrivateKey: []byte("s3cret")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, c); strings.Contains(got, "s3cret") {
			t.Errorf("%s prints %s", format, got)
		}
	}
}

func TestCredentialsAreHiddenInErrors(t *testing.T) {
	t.Parallel()
	c := &Credentials{Username: "me", Password: "s3cret"}
	terminal := c.hide(pipeline.Retryablef("A", "the server says s3cret and bWU6czNjcmV0"))
	if got, ok := errors.AsType[*pipeline.Terminal](terminal); !ok || got.Reason != "A" || !got.Retryable || got.Error() != "the server says *** and ***" {
		t.Errorf("got %+v", got)
	}
	transient := c.hide(&pipeline.Transient{Reason: "B", After: time.Second, Err: errors.New("s3cret")})
	if got, ok := errors.AsType[*pipeline.Transient](transient); !ok || got.Reason != "B" || got.After != time.Second || got.Error() != "***" {
		t.Errorf("got %+v", got)
	}
	if got := c.hide(errors.New("a s3cret")); got.Error() != "a ***" {
		t.Errorf("got %v", got)
	}
	for _, keep := range []error{nil, errors.New("other")} {
		if got := c.hide(keep); !errors.Is(got, keep) {
			t.Errorf("got %v, want %v", got, keep)
		}
	}
}

func TestDigestsOfCredentialsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[[32]byte]*Credentials{}
	for _, c := range []*Credentials{
		nil, {}, {Username: "a"}, {Password: "a"}, {PrivateKey: []byte("a")}, {KnownHosts: []byte("a")},
		{Username: "a", Password: "b"}, {Username: "ab"}, {Username: "", Password: "ab"}, {Username: "b", Password: "a"},
	} {
		if before, ok := seen[c.digest()]; ok {
			t.Errorf("%#v and %#v are the same", before, c)
		}
		seen[c.digest()] = c
	}
}
