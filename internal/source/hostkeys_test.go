package source

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// certify makes a host certificate for the loopback address.
func certify(t *testing.T, authority, host ssh.Signer) ssh.Signer {
	t.Helper()
	cert := &ssh.Certificate{Key: host.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"127.0.0.1"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewCertSigner(cert, host)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestSSHChecksHostKeys(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	r.commit()
	client, private := newKey(t, ssh.KeyAlgoED25519)
	ed, _ := newKey(t, ssh.KeyAlgoED25519)
	rsa, _ := newKey(t, ssh.KeyAlgoRSA)
	ec, _ := newKey(t, ssh.KeyAlgoECDSA256)
	other, _ := newKey(t, ssh.KeyAlgoED25519)
	authority, _ := newKey(t, ssh.KeyAlgoECDSA256)
	server := serveSSH(t, client.PublicKey(), runShell, rsa, ec, ed, certify(t, authority, ed))
	plain := serveSSH(t, client.PublicKey(), runShell, ed)
	line := func(format string, key ssh.Signer) []byte {
		host := knownhosts.Normalize(server.address)
		return []byte(strings.ReplaceAll(format, "HOST", host) + " " + string(ssh.MarshalAuthorizedKey(key.PublicKey())))
	}
	tests := map[string]struct {
		server *sshServer
		known  []byte
		refuse string // empty: accepted
	}{
		"one of three keys, Ed25519":                    {server, server.knownBy(ed), ""},
		"one of three keys, RSA":                        {server, server.knownBy(rsa), ""},
		"one of three keys, ECDSA":                      {server, server.knownBy(ec), ""},
		"an old key beside the current one":             {plain, plain.knownBy(other, ed), ""},
		"a hashed name":                                 {server, line(knownhosts.HashHostname(knownhosts.Normalize(server.address)), ed), ""},
		"a pattern":                                     {server, line("[127.0.0.*]:"+server.address[strings.LastIndex(server.address, ":")+1:], ed), ""},
		"a line with the ending of another system":      {server, append(bytes.TrimSpace(line("HOST", ed)), "\r\n"...), ""},
		"an authority":                                  {server, line("@cert-authority HOST", authority), ""},
		"an authority, of a server without certificate": {plain, bytes.ReplaceAll(line("@cert-authority HOST", authority), []byte(knownhosts.Normalize(server.address)), []byte(knownhosts.Normalize(plain.address))), "another"},
		"an authority of another server, and a key":     {server, append(line("@cert-authority other.example", other), line("HOST", ed)...), ""},
		"another authority":                             {server, line("@cert-authority HOST", other), "not in"},
		"another server's name":                         {server, line("other.example", ed), "not in"},
		"another port":                                  {server, line("127.0.0.1", ed), "not in"},
		"a key of that type which has changed":          {plain, plain.knownBy(other), "another"},
		"a key of another type":                         {plain, plain.knownBy(rsa), "another"},
		"a key that is revoked":                         {plain, append(plain.knownBy(ed), append([]byte("\n"), line("@revoked HOST", ed)...)...), "revoked"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			git := Git{URL: tc.server.url(r.bare), Credentials: &Credentials{PrivateKey: private, KnownHosts: tc.known}}
			_, err := NewResolver(local(t)).ResolveGit(t.Context(), git, "")
			if tc.refuse == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantTerminal(t, err, pipeline.ReasonGitHostKeyUnknown, tc.refuse, "SHA256:", "known_hosts", "spec.source.git.secretRef", "ssh-keyscan -p", "127.0.0.1")
			wantNoSecret(t, err, git.Credentials)
		})
	}
	t.Run("the message names the key that the server has", func(t *testing.T) {
		git := Git{URL: plain.url(r.bare), Credentials: &Credentials{PrivateKey: private, KnownHosts: plain.knownBy(other)}}
		_, err := NewResolver(local(t)).ResolveGit(t.Context(), git, "")
		wantTerminal(t, err, pipeline.ReasonGitHostKeyUnknown, "ssh-ed25519 "+ssh.FingerprintSHA256(ed.PublicKey()))
	})
}

func TestCheckKnownHosts(t *testing.T) {
	t.Parallel()
	key, private := newKey(t, ssh.KeyAlgoED25519)
	entry := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
	for name, tc := range map[string]struct {
		content string
		mention string // empty: accepted
	}{
		"a line":                      {"example.com " + entry, ""},
		"tabs and a long comment":     {"example.com\t" + strings.Replace(entry, " ", "\t", 1) + " a b c d e f", ""},
		"a port and an address":       {"[example.com]:2222,[::1]:2222 " + entry, ""},
		"a marker":                    {"@cert-authority *.example.com " + entry, ""},
		"comments and nothing else":   {"# example.com\n\n", "no entry"},
		"a public key without a host": {entry, "line 1"},
		"a private key":               {string(private), "line 1"},
		"an unknown marker":           {"@trust example.com " + entry, "known_hosts"},
		"a hash that is none":         {"|1|x " + entry, "known_hosts"},
		"a line that is cut":          {"example.com " + entry + "\nexample.com ssh-ed25519", "line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := checkKnownHosts([]byte(tc.content))
			if err == nil {
				_, err = newHostKeys(t.TempDir(), []byte(tc.content), "example.com:22")
			}
			if tc.mention == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantTerminal(t, err, pipeline.ReasonSourceSecretInvalid, tc.mention)
			wantNoSecret(t, err, &Credentials{PrivateKey: private})
		})
	}
}

func TestHostKeyAlgorithms(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		certified bool
		types     []string
		first     string
	}{
		"RSA":                      {false, []string{"ssh-rsa"}, "[rsa-sha2-256 rsa-sha2-512]"},
		"Ed25519":                  {false, []string{"ssh-ed25519"}, "[ssh-ed25519 rsa-sha2-256]"},
		"an authority comes first": {true, nil, "[rsa-sha2-256-cert-v01@openssh.com rsa-sha2-512-cert-v01@openssh.com]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := hostKeyAlgorithms(tc.certified, tc.types)
			if first := fmt.Sprint(got[:2]); first != tc.first || len(got) < 6 {
				t.Errorf("got %v, want first %s", got, tc.first)
			}
		})
	}
}
