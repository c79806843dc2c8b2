package job

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ibshafique/base-images/internal/limits"
)

func TestTailIsBounded(t *testing.T) {
	numbered := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "line %d\n", i)
		}
		return b.String()
	}
	tests := map[string]struct{ log, want string }{
		"a short log is whole":                   {"a\n\tb\n", "a |  b"},
		"ten lines are":                          {numbered(10), joinedLines(numbered(10))},
		"of eleven, the first is left out":       {numbered(11), strings.TrimPrefix(joinedLines(numbered(11)), "line 0 | ")},
		"empty lines don't count":                {"the error\n" + strings.Repeat("\r\n \n", 20), "the error"},
		"progress lines don't count":             {"the error\n" + strings.Repeat("time=x level=info msg=x\n", 20), "the error"},
		"warnings do":                            {"time=x level=warning msg=x\n", "time=x level=warning msg=x"},
		"a long line keeps its end":              {strings.Repeat("a", 2000) + "end", "…" + strings.Repeat("a", 1024-6) + "end"},
		"1024 bytes are whole":                   {strings.Repeat("a", 1024), strings.Repeat("a", 1024)},
		"a character that would be cut is left":  {strings.Repeat("é", 1000), "…" + strings.Repeat("é", 510)},
		"bytes that are no text are replaced":    {"a\xff\xfeb", "a�b"},
		"colours are left out":                   {"[0000] \x1b[31;1merror\x1b[0m\n", "[0000] error"},
		"so is what a terminal would obey":       {"a\rb\x07\x1b]0;c\x00\u202ed", "ab]0;cd"},
		"tabs are spaces":                        {"a\tb", "a b"},
		"also after they made the text too long": {strings.Repeat("a\xff", 512), "…" + strings.Repeat("a�", 255)},
	}
	progress := func(line string) bool { return strings.Contains(line, "level=info") }
	r := reader{Kind: Kind{Chatter: progress}, limits: limits.Build{}.WithDefaults()}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			got := r.tail(tt.log)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if len(got) > 1024 || !utf8.ValidString(got) || strings.Contains(got, "\n") {
				t.Errorf("%d bytes, valid: %t", len(got), utf8.ValidString(got))
			}
		})
	}
}

func joinedLines(log string) string { return strings.ReplaceAll(strings.TrimSpace(log), "\n", " | ") }
