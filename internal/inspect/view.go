package inspect

import (
	"maps"
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
	// maxHops is how many symbolic links Linux follows in one path.
	maxHops = 40
)

// state is what is known of a path.
type state uint32

const (
	isDir state = 1 << iota
	// isFile is all that is neither directory nor symbolic link: devices too, and hard links.
	isFile
	isSymlink
	// isRemoved by a whiteout.
	isRemoved
	// isHidden by an upper layer.
	isHidden
	// isCut: nothing that lower layers have below the path shows, because it was removed or is not a directory.
	isCut
	isExecutable
	isEmpty
	// isLink: a hard link, whose file may be in another layer.
	isLink
	isSetuid
	isSetgid
	// hasCapabilities: the file has capabilities of its own.
	hasCapabilities
	// isShell by its content.
	isShell
	isWorldWritable
	// isRepeated: one layer has it more than once.
	isRepeated
	// isManager of packages by its content.
	isManager
	// isELF: the file begins as an ELF file. Such a one need not be executable: a mount, a copy or a dynamic linker runs it.
	isELF

	present = isDir | isFile | isSymlink
	// ofInode are what all names of a file have in common.
	ofInode = isExecutable | isSetuid | isSetgid | hasCapabilities | isShell | isManager
)

// view is what the layers that were read so far, from the top down, show together: each is unpacked by itself, as by
// overlayfs. An entry below a symbolic link of its own layer is where the link points; one below a link of a lower layer
// makes a directory in place of the link.
type view struct {
	// paths that the layers have or remove.
	paths map[string]state
	// opaque directories show nothing of lower layers inside.
	opaque map[string]struct{}
	// symlinks that show, and where they point.
	symlinks map[string]string
	// scripts are programs that show, have the name of a shell and need an interpreter.
	scripts map[string]string
	bytes   int
}

func newView() *view {
	return &view{paths: map[string]state{}, opaque: map[string]struct{}{}, symlinks: map[string]string{}, scripts: map[string]string{}}
}

// hides reports whether an entry of a lower layer is not seen.
func (v *view) hides(p string) bool {
	if _, ok := v.paths[p]; ok {
		return true
	}
	return above(p, func(dir string) bool {
		_, ok := v.opaque[dir]
		return ok || v.paths[dir]&isCut != 0
	})
}

// above asks about the directories over p.
func above(p string, is func(string) bool) bool {
	for p != "." {
		// Not path.Dir, which cleans the whole path at every step: paths of thousands of levels would take minutes.
		p = p[:max(strings.LastIndexByte(p, '/'), 0)]
		if p == "" {
			p = "."
		}
		if is(p) {
			return true
		}
	}
	return false
}

// add puts a layer below those before it, once it was read: an entry hides nothing of its own layer.
func (v *view) add(l *layer) {
	v.bytes += l.bytes
	for p, st := range l.paths {
		// A directory shows what lower layers have in it, even where the same layer removes it: unpackers differ.
		if st&isDir == 0 {
			st |= isCut
		}
		if old, ok := v.paths[p]; ok {
			v.paths[p] = old | st&isCut
		} else if st&isHidden == 0 {
			v.paths[p] = st
			v.remember(l, p)
		}
	}
	maps.Copy(v.opaque, l.opaque)
}

func (v *view) remember(l *layer, p string) {
	if target, ok := l.symlinks[p]; ok {
		v.symlinks[p] = target
	}
	if interpreter, ok := l.scripts[p]; ok {
		v.scripts[p] = interpreter
	}
}

// find follows symbolic links to what p stands for in the image.
func (v *view) find(p string) (string, state) {
	p = clean(p)
	if st := v.paths[p]; st&isFile != 0 {
		return p, st
	}
	at, ok := follow(p, v.symlinks)
	if !ok {
		return "", 0
	}
	return at, v.paths[at] & (present | isEmpty)
}

// layer collects what one layer has and will hide.
type layer struct {
	paths  map[string]state
	opaque map[string]struct{}
	// symlinks and where they point.
	symlinks map[string]string
	scripts  map[string]string
	inodes   map[string]*inode
	// wanted are files of lower layers that hard links point to.
	wanted map[string]*inode
	bytes  int
	// before is what upper layers took of maxPathBytes.
	before int
	// asked and answered are the last directory of which it was looked up where it really is.
	asked, answered string
}

func newLayer(before int) *layer {
	return &layer{paths: map[string]state{}, opaque: map[string]struct{}{}, symlinks: map[string]string{},
		scripts: map[string]string{}, inodes: map[string]*inode{}, wanted: map[string]*inode{}, before: before}
}

// place is where an entry is unpacked: links on the way to it that the same layer has made are followed, as unpackers do.
func (l *layer) place(name string) (string, error) {
	name = clean(name)
	if err := l.count(name); err != nil || len(l.symlinks) == 0 {
		return name, err
	}
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return name, nil
	}
	if l.asked != name[:i] {
		at, ok := follow(name[:i], l.symlinks)
		if !ok {
			return "", &layoutError{path: name}
		}
		l.asked, l.answered = name[:i], at
	}
	if l.asked == l.answered {
		return name, nil
	}
	name = clean(l.answered + name[i:])
	return name, l.count(name)
}

// marker records an entry that only describes a removal.
func (l *layer) marker(p string) bool {
	dir, base := path.Split(p)
	removed, ok := strings.CutPrefix(base, whiteout)
	switch {
	case !ok:
		return false
	case base == opaque:
		l.opaque[clean(dir)] = struct{}{}
	case removed != "" && removed != "." && removed != "..": // which would be the directory itself, or the one above
		l.paths[dir+removed] |= isRemoved
	}
	return true
}

// mark records an entry; of two with one path, what was seen of both counts: unpackers differ in which one wins.
func (l *layer) mark(p string, st state, target string) {
	if l.paths[p]&present != 0 {
		delete(l.scripts, p)
		st |= isRepeated
	}
	l.paths[p] |= st
	_, was := l.symlinks[p]
	switch {
	case st&isSymlink != 0:
		l.symlinks[p] = target
	case was:
		delete(l.symlinks, p)
	default:
		return
	}
	l.asked, l.answered = "", ""
}

// removes reports whether the layer hides p of lower layers.
func (l *layer) removes(p string) bool {
	if l.paths[p]&isRemoved != 0 {
		return true
	}
	return above(p, func(dir string) bool {
		_, opaque := l.opaque[dir]
		st := l.paths[dir]
		return opaque || st != 0 && st&isDir == 0
	})
}

// count bounds paths, also those of the lowest layer, and targets of links: whatever is remembered of them.
func (l *layer) count(p string) error {
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

// follow resolves p against symbolic links; nothing leaves the root. ok is false if they lead in a circle, or too far.
func follow(p string, symlinks map[string]string) (at string, ok bool) {
	_, linked := symlinks[p]
	if !linked && !above(p, func(dir string) bool { _, ok := symlinks[dir]; return ok }) {
		return p, true
	}
	rest, hops := p, 0
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := path.Join(at, part)
		if part == ".." {
			next = at[:max(strings.LastIndexByte(at, '/'), 0)]
		}
		target, linked := symlinks[next]
		if !linked {
			at = next
			continue
		}
		if hops++; hops > maxHops || len(target)+len(rest) > 2*maxPath {
			return "", false
		}
		if strings.HasPrefix(target, "/") {
			at = ""
		}
		rest = target + "/" + rest
	}
	return clean(at), true
}

// clean is the one spelling of a path: relative to the root, without dots.
func clean(p string) string {
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	if p == "" {
		return "."
	}
	return p
}
