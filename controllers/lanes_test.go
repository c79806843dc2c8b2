package controllers

import "testing"

func TestOneNamespaceNeverHasAllWorkers(t *testing.T) {
	var l lanes
	for range namespaceWorkers {
		if !l.enter("greedy") {
			t.Fatal("there is no worker though there is one")
		}
	}
	if l.enter("greedy") {
		t.Error("one namespace has more than its share")
	}
	if !l.enter("modest") {
		t.Error("another namespace has none")
	}
	l.leave("greedy")
	if !l.enter("greedy") {
		t.Error("a worker that came back is not given out again")
	}
	for range namespaceWorkers {
		l.leave("greedy")
	}
	if l.leave("modest"); len(l.busy) != 0 {
		t.Errorf("%v are remembered", l.busy)
	}
}
