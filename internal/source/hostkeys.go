package source

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const authorityMarker = "@cert-authority"

// checkKnownHosts finds the first line that is not one of known_hosts (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
func checkKnownHosts(content []byte) error {
	entries := 0
	for i, line := range bytes.Split(content, []byte("\n")) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		entries++
		keep := 3
		if fields[0][0] == '@' {
			keep = 4
		}
		// The parser takes one word of comment, files have more.
		entry := bytes.Join(fields[:min(keep, len(fields))], []byte(" "))
		if _, _, _, _, _, err := ssh.ParseKnownHosts(entry); err != nil {
			return badSecret("line %d of the key %q of the Secret is no line of known_hosts: it must be as ssh-keyscan prints it", i+1, KeyKnownHosts)
		}
	}
	if entries == 0 {
		return badSecret("the key %q of the Secret has no entry: add the lines of the server that ssh-keyscan prints, after checking them", KeyKnownHosts)
	}
	return nil
}

// hostKeys are the keys that one server may have.
type hostKeys struct {
	known      ssh.HostKeyCallback
	algorithms []string
}

// newHostKeys reads known_hosts. The parser takes only files: they are made in dir, and removed.
func newHostKeys(dir string, content []byte, address string) (*hostKeys, error) {
	known, err := readKnownHosts(dir, content)
	if err != nil {
		return nil, err
	}
	var authorities, keys [][]byte
	for line := range bytes.Lines(content) {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte(authorityMarker)) {
			authorities = append(authorities, line)
		} else {
			keys = append(keys, line)
		}
	}
	certified, err := knownTypes(dir, bytes.Join(authorities, nil), address)
	if err != nil {
		return nil, err
	}
	types, err := knownTypes(dir, bytes.Join(keys, nil), address)
	if err != nil {
		return nil, err
	}
	return &hostKeys{known: known, algorithms: hostKeyAlgorithms(len(certified) > 0, types)}, nil
}

func readKnownHosts(dir string, content []byte) (ssh.HostKeyCallback, error) {
	file, err := os.CreateTemp(dir, "known-hosts-")
	if err != nil {
		return nil, fmt.Errorf("making a file for known_hosts: %w", err)
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it lies in a directory that is removed, or is small and holds nothing secret
	_, err = file.Write(content)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("writing a file for known_hosts: %w", err)
	}
	known, err := knownhosts.New(file.Name())
	if err != nil {
		return nil, badSecret("the key %q of the Secret is no known_hosts file: its lines must be as ssh-keyscan prints them", KeyKnownHosts)
	}
	return known, nil
}

// knownTypes lists the types of the keys that a server is known by: a key that nobody has is refused with a list of
// those that were expected.
func knownTypes(dir string, content []byte, address string) ([]string, error) {
	known, err := readKnownHosts(dir, content)
	if err != nil {
		return nil, err
	}
	nobody, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil, fmt.Errorf("making a key to look up known_hosts: %w", err)
	}
	expected, ok := errors.AsType[*knownhosts.KeyError](known(address, noAddress{}, nobody))
	if !ok {
		return nil, nil
	}
	var types []string
	for _, key := range expected.Want {
		types = append(types, key.Key.Type())
	}
	return types, nil
}

// noAddress is where a server is that was not asked yet.
type noAddress struct{}

func (noAddress) Network() string { return "tcp" }
func (noAddress) String() string  { return "0.0.0.0:0" }

// hostKeyAlgorithms puts first what the server is known by, as OpenSSH does: a server has several keys and shows one.
// The others stay, so that an unknown key can be named. Certificates are only asked for where an authority is known.
func hostKeyAlgorithms(certified bool, types []string) []string {
	var first, last []string
	for _, algorithm := range ssh.SupportedAlgorithms().HostKeys {
		switch {
		case strings.Contains(algorithm, "-cert-"):
			if certified {
				first = append(first, algorithm)
			}
		case slices.Contains(types, keyType(algorithm)):
			first = append(first, algorithm)
		default:
			last = append(last, algorithm)
		}
	}
	return append(first, last...)
}

// keyType is the type of the keys of an algorithm: RSA has several algorithms for one.
func keyType(algorithm string) string {
	if strings.HasPrefix(algorithm, "rsa-sha2-") {
		return ssh.KeyAlgoRSA
	}
	return algorithm
}

// check is the ssh.HostKeyCallback.
func (k *hostKeys) check(address string, remote net.Addr, key ssh.PublicKey) error {
	err := k.known(address, remote, key)
	if err == nil {
		return nil
	}
	host, port, splitErr := net.SplitHostPort(address)
	if splitErr != nil {
		return splitErr
	}
	return pipeline.Terminalf(pipeline.ReasonGitHostKeyUnknown,
		"spec.source.git.url: %s shows the host key %s %s, %s the key %q of %s: if the server's operator confirms this fingerprint, add the line that \"ssh-keyscan -p %s %s\" prints for it",
		knownhosts.Normalize(address), key.Type(), ssh.FingerprintSHA256(key), mismatch(err), KeyKnownHosts, secretField, port, host)
}

// mismatch says how a host key differs from what is known.
func mismatch(err error) string {
	if _, ok := errors.AsType[*knownhosts.RevokedError](err); ok {
		return "which is revoked in"
	}
	if e, ok := errors.AsType[*knownhosts.KeyError](err); ok && len(e.Want) > 0 {
		return "which is another than (somebody may be in between, or the key was changed)"
	}
	return "which is not in"
}
