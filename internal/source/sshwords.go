package source

import (
	"bytes"
	"io"
	"strings"
	"unicode"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// maxWords is how much of a command's standard error is kept.
	maxWords = 4 << 10
	// maxLine is how much of it is shown.
	maxLine = 200
)

// lastWords is what a command writes to standard error.
type lastWords struct {
	text []byte
	done chan struct{}
}

// listen reads everything, since a command whose words are not read stops, and keeps the start.
func listen(r io.Reader) *lastWords {
	w := &lastWords{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		var kept bytes.Buffer
		_, _ = io.CopyN(&kept, r, maxWords)
		_, _ = io.Copy(io.Discard, r)
		w.text = kept.Bytes()
	}()
	return w
}

// wait returns the words of a command whose connection is closed.
func (w *lastWords) wait() string {
	<-w.done
	return string(w.text)
}

// Texts of git and of hosting services, in lower case. There is nothing else to go by.
var (
	noGitWords    = []string{"command not found", "git-upload-pack: not found", "no such command"}
	deniedWords   = []string{"denied", "not authorized", "unauthorized", "forbidden"}
	notFoundWords = []string{"not found", "could not be found", "does not appear to be a git repository", "does not exist", "no such repository", "cannot find"}
)

// commandFault judges the words of a command that failed, or returns nil if there are none.
func commandFault(url, words string) error {
	line := firstLine(words)
	if line == "" {
		return nil
	}
	switch lower := strings.ToLower(words); {
	case containsAny(lower, noGitWords):
		return pipeline.Terminalf(pipeline.ReasonSourceInvalid, "%s: %s is not on a git server: it says %q: use the address that git clone takes", urlField, url, line)
	case containsAny(lower, notFoundWords):
		return pipeline.Terminalf(pipeline.ReasonSourceNotFound, "%s: %s does not exist, or the key of %s may not read it: the server says %q: check the address and what the key may read", urlField, url, secretField, line)
	case containsAny(lower, deniedWords):
		return pipeline.Terminalf(pipeline.ReasonSourceDenied, "%s: the key may not read %s: the server says %q: give it read access", secretField, url, line)
	}
	return pipeline.Transientf(pipeline.ReasonSourceUnavailable, "reading %s: the server says %q", url, line)
}

func containsAny(s string, words []string) bool {
	for _, word := range words {
		if strings.Contains(s, word) {
			return true
		}
	}
	return false
}

// firstLine is the first line that says something, clipped: GitLab draws frames around its messages.
func firstLine(words string) string {
	for line := range strings.Lines(words) {
		said := strings.TrimPrefix(strings.TrimSpace(line), "remote:")
		if !strings.ContainsFunc(said, unicode.IsLetter) {
			continue
		}
		said = strings.ToValidUTF8(strings.TrimSpace(said), "�")
		if len(said) > maxLine {
			said = strings.ToValidUTF8(said[:maxLine], "") + "…"
		}
		return said
	}
	return ""
}
