// Package policy holds Dockerfiles with what the rules of policy/base.rego must find in them, and the test that stock
// conftest and the operator find the same.
//
// A file of testdata is named after what it shows. Its line "# expect:" lists findings as rule:line, or nothing; its
// line "# data:", if it has one, is what the operator knows of the build and stock conftest has to be told.
package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Case is one Dockerfile of the corpus.
type Case struct {
	Name, Path string
	Content    []byte
	// Expect are findings as rule:line, sorted.
	Expect []string
	Data   Data
}

// Data is what a build tells to the rules.
type Data struct {
	BuildArgs map[string]string `json:"build_args,omitempty"`
	Target    string            `json:"target,omitempty"`
}

var (
	expect = regexp.MustCompile(`(?m)^# expect: (.+)$`)
	data   = regexp.MustCompile(`(?m)^# data: (.+)$`)
)

// Corpus reads the Dockerfiles of testdata, and those of images/base, in which there is nothing to find. root is the
// root of the repository.
func Corpus(root string) ([]Case, error) {
	var cases []Case
	for _, pattern := range []string{"test/policy/testdata/*.Dockerfile", "images/base/*/Dockerfile"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(paths) == 0 {
			return nil, fmt.Errorf("no files match %s: %w", pattern, err)
		}
		for _, path := range paths {
			c, err := read(path)
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", path, err)
			}
			cases = append(cases, c)
		}
	}
	return cases, nil
}

func read(path string) (Case, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Case{}, err
	}
	c := Case{Path: path, Name: strings.TrimSuffix(filepath.Base(path), ".Dockerfile"), Content: content}
	if c.Name == "Dockerfile" {
		c.Name = filepath.Base(filepath.Dir(path))
		return c, nil
	}
	m := expect.FindSubmatch(content)
	if m == nil {
		return Case{}, fmt.Errorf(`there is no line "# expect:"`)
	}
	if words := string(m[1]); words != "nothing" {
		c.Expect = strings.Fields(words)
	}
	slices.Sort(c.Expect)
	if m := data.FindSubmatch(content); m != nil {
		err = json.Unmarshal(m[1], &c.Data)
	}
	return c, err
}
