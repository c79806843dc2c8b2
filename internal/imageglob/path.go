package imageglob

import (
	"errors"
	"fmt"
	"strings"
)

// segment is a pattern for one segment of a path or one label of a host: the literals around its wildcards. One literal has no wildcard.
type segment []string

// block is a run of segments between two **.
type block []segment

func compileSegment(text string) segment { return strings.Split(text, "*") }

// match takes the leftmost place for each literal: if there is any way to match, there is one from there.
func (s segment) match(text string) bool {
	last := len(s) - 1
	if last == 0 {
		return s[0] == text
	}
	text, begins := strings.CutPrefix(text, s[0])
	text, ends := strings.CutSuffix(text, s[last])
	if !begins || !ends {
		return false
	}
	for _, literal := range s[1:last] {
		_, after, found := strings.Cut(text, literal)
		if !found {
			return false
		}
		text = after
	}
	return true
}

func compilePath(path string) ([]block, error) {
	blocks := []block{nil}
	for text := range strings.SplitSeq(path, "/") {
		if text == anything {
			blocks = append(blocks, nil)
			continue
		}
		if err := checkSegment(text, "*"); err != nil {
			return nil, err
		}
		last := len(blocks) - 1
		blocks[last] = append(blocks[last], compileSegment(text))
	}
	return blocks, nil
}

// checkSegment refuses what no registry serves, above all "." and "..", which some would resolve.
func checkSegment(text, wildcard string) error {
	edge := isNeither(wildcard)
	switch {
	case text == "":
		return errors.New("its path has an empty segment: leave out the slash too many")
	case strings.Contains(text, anything):
		return fmt.Errorf("its path has %q: ** has to be a whole segment, use * for the characters of one", text)
	case strings.IndexFunc(text, isNeither("._-"+wildcard)) >= 0:
		return fmt.Errorf("its path has %q: write lower case letters, digits, '.', '_', '-', and * or ** for any", text)
	case edge(rune(text[0])) || edge(rune(text[len(text)-1])):
		return fmt.Errorf("its path has %q: a segment begins and ends with a letter, a digit, or *", text)
	}
	return nil
}

// matchPath anchors the first block at the beginning and the last at the end, and takes the leftmost place for each between them.
func matchPath(blocks []block, path string) bool {
	if len(blocks) == 0 {
		return false
	}
	rest, ok := blocks[0].cut(path)
	if !ok || len(blocks) == 1 {
		return ok && rest == ""
	}
	last := len(blocks) - 1
	for _, b := range blocks[1:last] {
		if rest, ok = b.find(rest); !ok {
			return false
		}
	}
	rest, ok = blocks[last].cut(skip(rest, count(rest)-len(blocks[last])))
	return ok && rest == ""
}

// cut returns what comes after the segments of b, if path begins with them. A path without segments is "".
func (b block) cut(path string) (string, bool) {
	for _, s := range b {
		head, tail, _ := strings.Cut(path, "/")
		if path == "" || !s.match(head) {
			return "", false
		}
		path = tail
	}
	return path, true
}

// find returns what comes after the leftmost place of the segments of b.
func (b block) find(path string) (string, bool) {
	for {
		if rest, ok := b.cut(path); ok {
			return rest, true
		}
		if path == "" {
			return "", false
		}
		_, path, _ = strings.Cut(path, "/")
	}
}

// skip n segments, if there are as many.
func skip(path string, n int) string {
	for range n {
		_, path, _ = strings.Cut(path, "/")
	}
	return path
}

func count(path string) int {
	if path == "" {
		return 0
	}
	return strings.Count(path, "/") + 1
}
