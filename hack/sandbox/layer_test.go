//go:build linux

package main

import (
	"bytes"
	"slices"
	"testing"
)

func TestTreeHasEveryParentOnceAndFirst(t *testing.T) {
	tree := newTree()
	tree.text("/a/b/c", "c")
	tree.directory("a/b", 0o700)
	tree.symlink("a/../z", "a")
	var paths []string
	for _, e := range tree.sorted() {
		paths = append(paths, e.path)
		if e.path == "a/b" && e.mode != 0o700 {
			t.Errorf("a/b has mode %o", e.mode)
		}
	}
	if want := []string{"a", "a/b", "a/b/c", "z"}; !slices.Equal(paths, want) {
		t.Errorf("got %v, want %v", paths, want)
	}
}

func TestTarDoesNotDependOnTheOrder(t *testing.T) {
	one, two := newTree(), newTree()
	one.text("a", "1")
	one.text("b", "2")
	two.text("b", "2")
	two.text("a", "1")
	first, err := one.tar()
	if err != nil {
		t.Fatal(err)
	}
	second, err := two.tar()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the layers differ")
	}
}
