package inspect

import (
	"path"
	"strings"

	"github.com/ibshafique/base-images/internal/registry"
)

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"

	// maxPathBytes bounds the memory for paths of one image; maxPath is PATH_MAX.
	maxPathBytes = 64 << 20
	maxPath      = 4096
	maxDepth     = 256
)

// hidden knows what upper layers hide from lower ones.
type hidden struct {
	// paths that upper layers have or remove. true: nothing below it shows either,
	// because it was removed or is not a directory.
	paths map[string]bool
	// opaque directories show nothing of lower layers inside.
	opaque map[string]struct{}
	bytes  int
}

func newHidden() *hidden {
	return &hidden{paths: map[string]bool{}, opaque: map[string]struct{}{}}
}

// hides reports whether an entry of a lower layer is not seen.
func (h *hidden) hides(p string) bool {
	if _, ok := h.paths[p]; ok {
		return true
	}
	for p != "." {
		// Not path.Dir, which cleans the whole path at every step: paths of thousands of levels would take minutes.
		p = p[:max(strings.LastIndexByte(p, '/'), 0)]
		if p == "" {
			p = "."
		}
		if _, ok := h.opaque[p]; ok || h.paths[p] {
			return true
		}
	}
	return false
}

// add takes over what one layer hides, once that layer was read: an entry hides nothing
// of its own layer.
func (h *hidden) add(l *layerPaths) {
	h.bytes += l.bytes
	for p, whole := range l.paths {
		h.paths[p] = whole || h.paths[p]
	}
	for _, p := range l.opaque {
		h.opaque[p] = struct{}{}
	}
}

// layerPaths collects what one layer will hide.
type layerPaths struct {
	paths  map[string]bool
	opaque []string
	bytes  int
	// before is what upper layers took of maxPathBytes.
	before int
	// forget is true for the lowest layer, which hides nothing.
	forget bool
}

// mark records an entry; isMarker is true for those that only describe a removal.
func (l *layerPaths) mark(p string, isDir bool) (isMarker bool, err error) {
	if err := l.count(p); err != nil {
		return false, err
	}
	dir, base := path.Split(p)
	isMarker = strings.HasPrefix(base, whiteout)
	if l.forget {
		return isMarker, nil
	}
	switch {
	case base == opaque:
		l.opaque = append(l.opaque, clean(dir))
	case isMarker:
		l.paths[clean(dir+strings.TrimPrefix(base, whiteout))] = true
	default:
		l.paths[p] = !isDir
	}
	return isMarker, nil
}

// count bounds paths, also those of the lowest layer, and targets of links: whatever is remembered of them.
func (l *layerPaths) count(p string) error {
	if len(p) > maxPath {
		return &registry.TooLargeError{What: "a path", Limit: maxPath}
	}
	if strings.Count(p, "/") > maxDepth {
		return &registry.TooLargeError{What: "the depth of a path", Limit: maxDepth}
	}
	if l.bytes += len(p); l.before+l.bytes > maxPathBytes {
		return &registry.TooLargeError{What: "the sum of all paths", Limit: maxPathBytes}
	}
	return nil
}

// clean is the one spelling of a path: relative to the root, without dots.
func clean(p string) string {
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	if p == "" {
		return "."
	}
	return p
}
