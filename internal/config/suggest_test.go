package config

import (
	"reflect"
	"testing"
)

func TestSuggestion(t *testing.T) {
	tests := map[string]struct {
		name  string
		known []string
		want  string
	}{
		"another case":               {"imagES", []string{"images", "limits"}, "a.images"},
		"a letter too many":          {"imagess", []string{"images"}, "a.images"},
		"a letter too few":           {"imges", []string{"images"}, "a.images"},
		"two letters in their stead": {"registry", []string{"registries"}, "a.registries"},
		"the nearest":                {"maxBites", []string{"maxLines", "maxBytes"}, "a.maxBytes"},
		"the first of the nearest":   {"ab3", []string{"ab2", "ab1", "ab4"}, "a.ab1"},
		"a short name is no other":   {"hand", []string{"kind"}, ""},
		"a long name is none":        {"imagesimagesimages", []string{"images"}, ""},
		"nothing is known":           {"images", nil, ""},
		"no name":                    {"", []string{"images"}, ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			known, want := map[string]reflect.Value{}, tt.want
			for _, name := range tt.known {
				known[name] = reflect.Value{}
			}
			if want != "" {
				want = "; did you mean " + want + "?"
			}
			for range 20 { // Maps have no order.
				if got := suggestion(root.child("a"), tt.name, known); got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
		})
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"abc", "acb", 2}, {"aaaaa", "a", 5}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
