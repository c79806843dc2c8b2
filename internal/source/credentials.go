package source

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/crypto/ssh"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Keys of the Secret that spec.source.git.secretRef names. They are those of the types kubernetes.io/basic-auth and
// kubernetes.io/ssh-auth (https://kubernetes.io/docs/concepts/configuration/secret/#secret-types), and known_hosts.
const (
	KeyUsername   = "username"
	KeyPassword   = "password"
	KeyPrivateKey = "ssh-privatekey"
	KeyKnownHosts = "known_hosts"
)

// MaxSecretKey is how large one key of the Secret may be, in bytes.
const MaxSecretKey = 64 << 10

// SecretKeys are the keys of the Secret that are looked at.
var SecretKeys = []string{KeyUsername, KeyPassword, KeyPrivateKey, KeyKnownHosts}

const secretField = "spec.source.git.secretRef"

// Credentials are what a git server asks for: a password over https, a key over ssh.
type Credentials struct {
	Username, Password     string
	PrivateKey, KnownHosts []byte
}

// String keeps the credentials out of logs.
func (c *Credentials) String() string { return "(git credentials)" }

// GoString keeps the credentials out of logs.
func (c *Credentials) GoString() string { return c.String() }

// CredentialsFromSecret takes what the URL's scheme needs from the data of a Secret. What is missing or wrong is a
// Terminal with reason SourceSecretInvalid; no error repeats anything that the Secret holds.
func CredentialsFromSecret(rawURL string, data map[string][]byte) (*Credentials, error) {
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	for _, key := range SecretKeys {
		if len(data[key]) > MaxSecretKey {
			return nil, badSecret("the key %q of the Secret has more than %d bytes: put only the credential into it", key, MaxSecretKey)
		}
	}
	c := &Credentials{PrivateKey: slices.Clone(data[KeyPrivateKey]), KnownHosts: slices.Clone(data[KeyKnownHosts])}
	if u.Scheme != "ssh" {
		c = &Credentials{Username: cmp.Or(string(data[KeyUsername]), "git"), Password: string(data[KeyPassword])}
	}
	if err := c.check(u); err != nil {
		return nil, err
	}
	return c, nil
}

func badSecret(format string, args ...any) error {
	return pipeline.Terminalf(pipeline.ReasonSourceSecretInvalid, secretField+": "+format, args...)
}

// check says what is missing for a URL. No credentials are fine where a server may do without.
func (c *Credentials) check(u *url.URL) error {
	switch {
	case u.Scheme == "ssh":
		return c.checkSSH()
	case c == nil:
		return nil
	case u.Scheme != "https":
		return badSecret("credentials are not sent without encryption: write https:// in spec.source.git.url")
	}
	return c.checkPassword()
}

func (c *Credentials) checkPassword() error {
	switch {
	case c.Password == "":
		return badSecret("the Secret has no key %q, which an https:// URL needs: add it; a token is a password", KeyPassword)
	case strings.ContainsFunc(c.Password, unicode.IsControl):
		return badSecret("the key %q of the Secret has a line break or another control character: write it again without, for example with printf instead of echo", KeyPassword)
	case strings.ContainsFunc(c.Username, unicode.IsControl), strings.Contains(c.Username, ":"):
		return badSecret("the key %q of the Secret has a colon, a line break or another control character: write it again without", KeyUsername)
	}
	return nil
}

func (c *Credentials) checkSSH() error {
	switch {
	case c == nil:
		return badSecret("an ssh:// URL needs it: name a Secret with the keys %q and %q", KeyPrivateKey, KeyKnownHosts)
	case len(c.PrivateKey) == 0:
		return badSecret("the Secret has no key %q, which an ssh:// URL needs: add a private key without passphrase", KeyPrivateKey)
	case len(c.KnownHosts) == 0:
		return badSecret("the Secret has no key %q, which an ssh:// URL needs: add the lines of the server that ssh-keyscan prints, after checking them", KeyKnownHosts)
	}
	if _, err := c.signer(); err != nil {
		return err
	}
	return checkKnownHosts(c.KnownHosts)
}

// signer reads the private key. What the parser says is dropped, since it may quote the key.
func (c *Credentials) signer() (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(c.PrivateKey)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
		return nil, badSecret("the key %q of the Secret is encrypted: remove its passphrase with ssh-keygen -p, or use a key without", KeyPrivateKey)
	}
	if err != nil {
		return nil, badSecret("the key %q of the Secret is no private key that can be used: put in the whole file that ssh-keygen has made, from BEGIN to END", KeyPrivateKey)
	}
	return signer, nil
}

// digest tells credentials apart; none have a digest of their own.
func (c *Credentials) digest() [sha256.Size]byte {
	if c == nil {
		return [sha256.Size]byte{}
	}
	var all []byte
	for _, field := range [][]byte{[]byte(c.Username), []byte(c.Password), c.PrivateKey, c.KnownHosts} {
		all = binary.AppendUvarint(all, uint64(len(field)))
		all = append(all, field...)
	}
	return sha256.Sum256(all)
}

// hide removes the password from an error: what a server answers is shown to people, and it may repeat what it got.
func (c *Credentials) hide(err error) error {
	if err == nil || c == nil || c.Password == "" {
		return err
	}
	header := base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password))
	text := strings.NewReplacer(header, "***", c.Password, "***").Replace(err.Error())
	if text == err.Error() {
		return err
	}
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return &pipeline.Terminal{Reason: t.Reason, Err: errors.New(text), Retryable: t.Retryable}
	}
	if t, ok := errors.AsType[*pipeline.Transient](err); ok {
		return &pipeline.Transient{Reason: t.Reason, Err: errors.New(text), After: t.After}
	}
	return errors.New(text)
}
