package source

import (
	"io"

	"github.com/ibshafique/base-images/internal/limits"
)

// bound is what may be read for one purpose.
type bound struct {
	what    string
	preface bool // may come before it, see pace
	bytes   limits.Bytes
	limit   string // its name in the operator's configuration
	fix     string
}

func listingBound(l limits.Source) bound {
	return bound{what: "the list of references", bytes: l.ReferenceBytes, limit: "limits.source.referenceBytes", fix: "use a repository with fewer branches and tags"}
}

func objectsBound(l limits.Source) bound {
	return bound{what: "the pack of objects", preface: true, bytes: l.Bytes, limit: "limits.source.bytes", fix: "use a smaller repository, or a branch or tag instead of an old commit"}
}

// incoming is what a server sends about a repository: how much of it, and how fast.
type incoming struct {
	budget
	pace
}

// allow sets what is asked for next.
func (i *incoming) allow(next bound) {
	i.budget.allow(next)
	i.expect(next.what, next.preface)
}

// read is from.Read within the bounds.
func (i *incoming) read(from io.Reader, p []byte) (int, error) {
	n, err := i.pace.read(from, p)
	if over := i.take(n); over != nil {
		return 0, over
	}
	return n, err
}
