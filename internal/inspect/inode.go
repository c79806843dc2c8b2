package inspect

import "github.com/ibshafique/base-images/internal/registry"

// maxDangling bounds hard links to files of lower layers. Builders write none: most unpackers refuse them.
const maxDangling = 1024

// inode is one path of one layer that is, or may be, a name of a file with several. Those of one file are joined, and
// their root has what is known of the file: unpackers give the mode of a hard link's entry to all of its names.
type inode struct {
	parent *inode
	path   string
	// shown: this path shows; seen: some name of the file does.
	shown, seen bool
	state       state
	// hiddenELF is an ELF file whose own entry does not show.
	hiddenELF bool
	foreign   *foreignError
	accounts  *Accounts
}

func (n *inode) root() *inode {
	for n.parent != nil {
		if n.parent.parent != nil {
			n.parent = n.parent.parent
		}
		n = n.parent
	}
	return n
}

// join makes n and other names of one file.
func (n *inode) join(other *inode) {
	n, other = n.root(), other.root()
	if n == other {
		return
	}
	other.parent = n
	n.state |= other.state
	n.seen = n.seen || other.seen
	if n.foreign == nil {
		n.foreign = other.foreign
	}
	if n.accounts == nil {
		n.accounts = other.accounts
	}
}

func (l *layer) inode(p string) *inode {
	n, ok := l.inodes[p]
	if !ok {
		n = &inode{path: p}
		l.inodes[p] = n
	}
	return n
}

// below is what a path stands for in lower layers.
func (l *layer) below(p string) *inode {
	n, ok := l.wanted[p]
	if !ok {
		n = &inode{path: p}
		l.wanted[p] = n
	}
	return n
}

// settle connects the hard links of upper layers with what they point to in this one, once it was read.
func (s *scan) settle(own *layer) error {
	for p, n := range s.wanted {
		switch {
		case own.paths[p]&present != 0:
			own.inode(p).join(n)
			delete(s.wanted, p)
		case own.removes(p):
			delete(s.wanted, p)
		}
	}
	for p, n := range own.wanted {
		if other, ok := s.wanted[p]; ok {
			other.join(n)
		} else {
			s.wanted[p] = n
		}
	}
	if len(s.wanted) > maxDangling {
		return &registry.TooLargeError{What: "the number of hard links from one layer to another", Limit: maxDangling}
	}
	return s.show(own)
}

// show tells files which of their names show.
func (s *scan) show(own *layer) error {
	for p, n := range own.inodes {
		n.shown = own.paths[p]&isHidden == 0
		root := n.root()
		root.seen = root.seen || n.shown
		s.inodes = append(s.inodes, n)
	}
	for _, n := range own.inodes {
		if root := n.root(); root.seen && root.foreign != nil {
			return root.foreign
		}
	}
	return nil
}

// name gives the names that show what is known of their files.
func (s *scan) name() map[string]*Accounts {
	accounts := map[string]*Accounts{}
	for _, n := range s.inodes {
		root := n.root()
		if n.hiddenELF && root.seen {
			s.facts.ELFFiles++
		}
		if !n.shown {
			continue
		}
		s.view.paths[n.path] |= root.state
		if root.accounts != nil {
			accounts[n.path] = root.accounts
		}
	}
	return accounts
}
