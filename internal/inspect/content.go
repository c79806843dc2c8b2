package inspect

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/ibshafique/base-images/internal/registry"
)

const (
	// maxPasswd is how much of /etc/passwd is read, maxAccounts how many users are remembered of it, and maxCandidates
	// how many files that may turn out to be it.
	maxPasswd     = 64 << 10
	maxAccounts   = 256
	maxCandidates = 64
	// window is how much of a file is looked at at a time.
	window = 64 << 10
)

// programMarkers are what shells and package managers have inside, whatever they are called. They are joined here so that
// a program with this package inside is not one.
var programMarkers = newMarkers(shellMarkers, managerMarkers)

var shellMarkers = [][]string{
	{"BusyBox", " v1."},
	{"oybox", " %s multicall"}, {"oybox", " %s%s multicall"}, {" multicall binary", ": https://landley.net"},
	{"GNU bash", ", version %s"},
	{"EOF in backquote", " substitution"}, // dash, and the ash of busybox
	{"MIRBSD KSH", " R"}, {"LEGACY KSH", " R"},
	{"zsh %s", " (%s-%s-%s)"},
	{"Yet another shell", ", version %s"},
	{"tcsh %d", ".%.2d.%.2d"},
}

// managerMarkers know dpkg and dpkg-deb by messages of theirs that no other program has. What sets their variables is no
// mark: Perl does too.
var managerMarkers = [][]string{
	{"error reading from", " dpkg-deb pipe"},
	{"is not a Debian binary", " archive (try dpkg-split?)"},
}

// markers finds any of some strings in one pass, most bytes of which it doesn't look at: shift says by the last two bytes
// of a window as long as the shortest string how far away the next place is where one can end.
type markers struct {
	patterns    []string
	means       []state
	least, most int
	shift       [1 << 16]uint8
}

func newMarkers(shells, managers [][]string) *markers {
	m := &markers{least: window}
	for _, p := range shells {
		m.patterns, m.means = append(m.patterns, strings.Join(p, "")), append(m.means, isShell)
	}
	for _, p := range managers {
		m.patterns, m.means = append(m.patterns, strings.Join(p, "")), append(m.means, isManager)
	}
	for _, p := range m.patterns {
		m.least, m.most = min(m.least, len(p)), max(m.most, len(p))
	}
	for i := range m.shift {
		m.shift[i] = uint8(m.least - 1)
	}
	for _, p := range m.patterns {
		for i := range m.least - 1 {
			pair := &m.shift[uint16(p[i])<<8|uint16(p[i+1])]
			*pair = min(*pair, uint8(m.least-2-i))
		}
	}
	return m
}

// in returns isShell, isManager, or both.
func (m *markers) in(b []byte) (st state) {
	for i := m.least - 2; i+1 < len(b); {
		skip := int(m.shift[uint16(b[i])<<8|uint16(b[i+1])])
		if skip == 0 {
			st |= m.at(b[i+2-m.least:])
		}
		i += max(skip, 1)
	}
	return st
}

func (m *markers) at(b []byte) state {
	for i, p := range m.patterns {
		if len(b) >= len(p) && string(b[:len(p)]) == p {
			return m.means[i]
		}
	}
	return 0
}

// inside looks for a shell and a package manager in a program of which start was read. All of it is looked at, so that
// neither can be pushed out of sight, and one does not hide the other.
func (s *scan) inside(program io.Reader, start int) (st state, err error) {
	for n := start; ; {
		if s.searched += int64(n); s.searched > int64(s.limits.ImageBytes) {
			return st, &registry.TooLargeError{What: "the programs of the image, with their holes,", Limit: int64(s.limits.ImageBytes)}
		}
		if st |= programMarkers.in(s.buffer[:n]); st == isShell|isManager || n < len(s.buffer) {
			return st, nil
		}
		keep := copy(s.buffer, s.buffer[n-programMarkers.most+1:n])
		more, err := fill(program, s.buffer[keep:])
		if err != nil || more == 0 {
			return st, err
		}
		n = keep + more
	}
}

// fill reads until b is full or the file ends.
func fill(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return n, &formatError{err}
	}
	return n, nil
}

// interpreter is what a script names in its first line.
func interpreter(head []byte) string {
	rest, ok := bytes.CutPrefix(head, []byte("#!"))
	if !ok {
		return ""
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	fields := bytes.Fields(line[:min(len(line), 256)])
	if len(fields) == 0 {
		return ""
	}
	return string(fields[0])
}

// Account is a user of the image.
type Account struct{ UID, GID int64 }

// Accounts are the users that /etc/passwd has.
type Accounts struct {
	// List has the first entry of each user, which is the one that counts; at most 256.
	List []Account
	// Total of users.
	Total int
}

// Find looks for a user.
func (a *Accounts) Find(uid int64) (Account, bool) {
	if a != nil {
		for _, entry := range a.List {
			if entry.UID == uid {
				return entry, true
			}
		}
	}
	return Account{}, false
}

// accountsOf reads a file as passwd(5). It is nil for what does not look like it: /etc/passwd may be a link to a file of
// any name, so that the first line decides unless the name does.
func accountsOf(name string, content []byte) *Accounts {
	if name != "passwd" && !strings.HasSuffix(name, "/passwd") {
		first, _, _ := bytes.Cut(content, []byte("\n"))
		if _, fields, ok := account(first); !ok || fields != 7 {
			return nil
		}
	}
	found, seen := &Accounts{}, map[int64]bool{}
	for line := range bytes.Lines(content) {
		entry, _, ok := account(line)
		if !ok || seen[entry.UID] {
			continue
		}
		seen[entry.UID] = true
		if found.Total++; found.Total <= maxAccounts {
			found.List = append(found.List, entry)
		}
	}
	return found
}

// account reads a line of passwd(5); runtimes are content with fewer than all fields.
func account(line []byte) (entry Account, fields int, ok bool) {
	if fields = bytes.Count(line, []byte(":")) + 1; fields < 4 {
		return Account{}, fields, false
	}
	parts := strings.SplitN(string(line), ":", 5)
	uid, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return Account{}, fields, false
	}
	gid, err := strconv.ParseInt(strings.TrimSpace(parts[3]), 10, 64)
	return Account{UID: uid, GID: gid}, fields, err == nil
}
