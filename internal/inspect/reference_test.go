package inspect

import (
	"archive/tar"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// node is a file, directory or link of a file system in memory, the slow way to what view computes: each layer is unpacked
// into a tree of its own, and the trees are laid over each other from the bottom up.
type node struct {
	children map[string]*node // of a directory
	target   string           // of a symbolic link
	content  *content         // of a file
	mode     int64            // of a directory
	opaque   bool
	gone     map[string]bool // what lower layers have in it, and this one removes
	linked   bool            // a hard link
	implied  bool            // a directory without an entry
}

type content struct {
	mode  int64
	shell bool
	elf   bool
}

func directory() *node {
	return &node{children: map[string]*node{}, gone: map[string]bool{}, mode: 0o755, implied: true}
}

var errRefused = errors.New("no unpacker takes this")

// at walks to a directory as unpackers do: links are followed, what is missing is made.
func (n *node) at(dir string, lower *node, hops int) (*node, string, error) {
	here, place := n, ""
	for dir != "" {
		part, rest, _ := strings.Cut(dir, "/")
		dir = rest
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			return n.at(path.Dir("/"+place)+"/"+rest, lower, hops)
		}
		child, ok := here.children[part]
		switch {
		case !ok:
			below := lower.get(path.Join(place, part))
			if here.gone[part] || below != nil && below.children == nil {
				return nil, "", errRefused // or taken by some, each in its way
			}
			child = directory()
			here.children[part] = child
		case child.target != "" && hops == 0:
			return nil, "", errRefused
		case strings.HasPrefix(child.target, "/"):
			return n.at(child.target+"/"+rest, lower, hops-1)
		case child.target != "":
			return n.at(place+"/"+child.target+"/"+rest, lower, hops-1)
		case child.children == nil:
			return nil, "", errRefused
		}
		here, place = child, path.Join(place, part)
	}
	return here, place, nil
}

// unpack adds an entry to the tree of its layer. lower is what all layers below it show.
func (n *node) unpack(e entry, lower *node) error {
	dir, base := path.Split(clean(e.name))
	parent, _, err := n.at(dir, lower, maxHops)
	if err != nil {
		return err
	}
	if base == opaque {
		parent.opaque = true
		return nil
	}
	old := parent.children[base]
	if removed, ok := strings.CutPrefix(base, whiteout); ok {
		if old = parent.children[removed]; old != nil && old.children != nil {
			return errRefused
		}
		parent.gone[removed] = true
		return nil
	}
	if old != nil && (!old.implied || !e.dir) || parent.gone[base] && e.dir {
		return errRefused
	}
	if old != nil {
		old.implied, old.mode = false, e.mode
		return nil
	}
	made, err := n.node(e, lower)
	if err != nil {
		return err
	}
	parent.children[base] = made
	return nil
}

func (n *node) node(e entry, lower *node) (*node, error) {
	switch {
	case e.dir:
		made := directory()
		made.mode, made.implied = e.mode, false
		return made, nil
	case e.symlink != "":
		return &node{target: e.symlink}, nil
	case e.link == "":
		return &node{content: &content{mode: e.mode, shell: strings.Contains(e.content, "BusyBox v1."), elf: strings.HasPrefix(e.content, elf.ELFMAG)}}, nil
	}
	dir, base := path.Split(clean(e.link))
	parent, place, err := n.at(dir, lower, maxHops)
	if err != nil {
		return nil, err
	}
	found := parent.children[base]
	if found == nil {
		if found = lower.get(path.Join(place, base)); found == nil {
			return nil, errRefused
		}
	}
	if found.content == nil {
		return nil, errRefused
	}
	found.content.mode |= e.mode
	return &node{content: found.content, linked: true}, nil
}

func (n *node) get(p string) *node {
	if n == nil || p == "" {
		return n
	}
	for part := range strings.SplitSeq(p, "/") {
		if n = n.children[part]; n == nil {
			return nil
		}
	}
	return n
}

// over lays a tree over what is below it.
func (n *node) over(lower *node) *node {
	if lower == nil || n.children == nil || lower.children == nil {
		return n
	}
	merged := directory()
	merged.mode, merged.implied = n.mode, n.implied && lower.implied
	if n.implied {
		merged.mode = lower.mode
	}
	for name, child := range lower.children {
		if !n.opaque && !n.gone[name] {
			merged.children[name] = child
		}
	}
	for name, child := range n.children {
		merged.children[name] = child.over(merged.children[name])
	}
	return merged
}

// resolve follows links, over what is missing too.
func (n *node) resolve(p string, hops int) *node {
	place := ""
	for p != "" {
		part, rest, _ := strings.Cut(p, "/")
		p = rest
		switch child := n.get(path.Join(place, part)); {
		case part == "..":
			place = strings.TrimPrefix(path.Dir("/"+place), "/")
		case child == nil || child.target == "":
			place = path.Join(place, part)
		case hops == 0:
			return nil
		case strings.HasPrefix(child.target, "/"):
			return n.resolve(child.target+"/"+rest, hops-1)
		default:
			return n.resolve(place+"/"+child.target+"/"+rest, hops-1)
		}
	}
	return n.get(place)
}

// summary is what Facts should say of what is at p and below it.
func (n *node) summary(p string, root *node) []string {
	base, all := path.Base(p), []string{}
	add := func(list string, is bool) {
		if is {
			all = append(all, list+" "+p)
		}
	}
	program := n.content != nil && (n.linked || n.content.elf || n.content.mode&0o111 != 0)
	if n.target != "" {
		target := root.resolve(p, maxHops)
		program = target == nil || target.children == nil || target.implied
	}
	add("shell", program && base == "sh" || n.content != nil && n.content.shell)
	add("manager", program && base == "apk")
	add("database", p == "/lib/apk/db/installed" && n.children == nil)
	add("setuid", n.content != nil && n.content.mode&0o4000 != 0)
	add("setgid", n.content != nil && n.content.mode&0o2000 != 0)
	add("writable", n.children != nil && n.mode&0o1002 == 0o002)
	for name, child := range n.children {
		all = append(all, child.summary(path.Join(p, name), root)...)
	}
	slices.Sort(all)
	return all
}

// extracted is what the stream of a flattened image says, of images without links.
func extracted(t *testing.T, flat io.ReadCloser) []string {
	t.Helper()
	defer func() { _ = flat.Close() }()
	all, root := []string{}, directory()
	for r := tar.NewReader(flat); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			slices.Sort(all)
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := root.node(entry{dir: h.Typeflag == tar.TypeDir, mode: h.Mode, content: string(body)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n.summary("/"+clean(h.Name), root)...)
	}
}

// stack makes layers that unpackers agree on. plain has no links, no directory that becomes a file, and no entries where
// the same layer removes something: mutate.Extract has its own ways with these.
func stack(r *rand.Rand, plain bool) (layers [][]entry, top *node) {
	for range 1 + r.IntN(5) {
		upper, entries := directory(), []entry{}
		for range 1 + r.IntN(12) {
			e := random(r, plain)
			if plain && upper.touches(e.name) {
				continue
			}
			if upper.unpack(e, top) == nil {
				entries = append(entries, e)
			}
		}
		layers, top = append(layers, entries), upper.over(top)
	}
	return layers, top
}

// touches reports whether an entry and a removal of one layer are one below the other.
func (n *node) touches(name string) bool {
	dir, base := path.Split(clean(name))
	removed, isWhiteout := strings.CutPrefix(base, whiteout)
	if base == opaque {
		return n.get(clean(dir)) != nil
	}
	if isWhiteout {
		return n.get(path.Join(dir, removed)) != nil
	}
	here := n
	for part := range strings.SplitSeq(clean(name), "/") {
		if here.gone[part] {
			return true
		}
		if here = here.children[part]; here == nil || here.opaque {
			return here != nil
		}
	}
	return false
}

func random(r *rand.Rand, plain bool) entry {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	dirs := []string{"a", "b", "c"}
	leaf := []string{"sh", "apk", "f", "g"}
	anything := slices.Concat(dirs, leaf)
	if plain {
		anything = dirs
	}
	in := func(leaf string) string {
		for range r.IntN(3) {
			leaf = path.Join(pick(dirs...), leaf)
		}
		return pick("", "", "./", "/", "../") + leaf
	}
	modes := []int64{0o755, 0o755, 0o644, 0o4755, 0o2755, 0o6711}
	kinds := 10
	if plain {
		kinds = 7
	}
	switch r.IntN(kinds) {
	case 0:
		return with([]int64{0o755, 0o777, 0o1777}[r.IntN(3)], dir(in(pick(anything...))))
	case 1:
		return gone(in(whiteout + pick(slices.Concat(dirs, leaf)...)))
	case 2:
		return gone(in(opaque))
	case 3:
		return with(modes[r.IntN(len(modes))], file(in(pick(leaf...)), inside(200, pick("BusyBox v1.36.1", "none"))))
	case 4:
		return file("lib/apk/db/installed", "x")
	case 5, 6:
		return with(modes[r.IntN(len(modes))], file(in(pick(leaf...)), "x"))
	case 7:
		return symlink(in(pick(anything...)), pick("", "/", "../", "./", "x/../")+strings.TrimLeft(in(pick(anything...)), "./"))
	default:
		return with(modes[r.IntN(len(modes))], link(in(pick(anything...)), in(pick(anything...))))
	}
}

func TestFactsAreThoseOfAReference(t *testing.T) {
	findings := 0
	for seed := range uint64(600) {
		plain := seed%4 == 0
		layers, top := stack(rand.New(rand.NewPCG(seed, 1)), plain)
		got, want := summary(factsOf(t, layers...)), top.summary("/", top)
		findings += len(want)
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: got %q, want %q of\n%s", seed, got, want, describe(layers))
		}
		if !plain {
			continue
		}
		var packed [][]byte
		for _, l := range layers {
			for i := range l {
				l[i].name = clean(l[i].name) // which mutate.Extract refuses to do
			}
			packed = append(packed, archive(t, l...))
		}
		if want := extracted(t, mutate.Extract(imageOf(t, amd64, packed...))); !slices.Equal(got, want) {
			t.Fatalf("seed %d: got %q, mutate.Extract has %q of\n%s", seed, got, want, describe(layers))
		}
	}
	if findings < 1500 {
		t.Errorf("only %d findings: the stacks are too tame", findings)
	}
}

func describe(layers [][]entry) string {
	var b strings.Builder
	for i, l := range layers {
		for _, e := range l {
			fmt.Fprintf(&b, "%d: %s %o link %q symlink %q dir %v\n", i, e.name, e.mode, e.link, e.symlink, e.dir)
		}
	}
	return b.String()
}
