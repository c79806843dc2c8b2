package dockerfile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/dockerfile"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// test/policy compares the document with that of stock conftest.
func TestDocument(t *testing.T) {
	t.Parallel()
	content := "# of all\n\nARG A=1\n# of the stage\nFROM a AS b\nRUN --network=none x \\\n  y\nENV A=1 B=\"c d\"\nRUN <<EOF\nz\nEOF\nFROM b\ncmd [\"e\"]\nONBUILD Copy f g\n"
	entry := func(name, sub string, flags, value any, isJSON bool, stage int) any {
		return map[string]any{"Cmd": name, "SubCmd": sub, "Flags": flags, "Value": value, "JSON": isJSON, "Stage": stage}
	}
	none := []any{}
	want := []any{
		entry("comment", "", nil, []any{"of all"}, false, 0),
		entry("arg", "", none, []any{"A=1"}, false, 0),
		entry("comment", "", nil, []any{"of the stage"}, false, 0),
		entry("from", "", none, []any{"a", "AS", "b"}, false, 0),
		entry("run", "", []any{"--network=none"}, []any{"x   y"}, false, 0),
		entry("env", "", none, []any{"A", "1", "=", "B", `"c d"`, "="}, false, 0),
		entry("run", "", none, []any{"<<EOF"}, false, 0),
		entry("from", "", none, []any{"b"}, false, 1),
		entry("cmd", "", none, []any{"e"}, true, 1),
		entry("onbuild", "Copy", none, []any{"f", "g"}, false, 1),
	}
	document, lines, err := dockerfile.Document([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, document); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{3, 3, 5, 5, 6, 8, 9, 12, 13, 14}, lines); diff != "" {
		t.Error(diff)
	}
}

func TestDocumentRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ content, mention string }{
		"nothing":                {"", "no instructions"},
		"an unknown instruction": {"FROM a\nFORM b\n", "line 2"},
		"a flag that is none":    {"FROM a\nRUN --x=y z\n", "line 2"},
		"too many bytes":         {"FROM a\n#" + strings.Repeat("x", dockerfile.MaxSize), "131072"},
		"what is not UTF-8":      {"FROM a\xff\n", "UTF-8"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := dockerfile.Document([]byte(tc.content))
			terminal, ok := errors.AsType[*pipeline.Terminal](err)
			if !ok || terminal.Reason != pipeline.ReasonDockerfileInvalid || !strings.Contains(err.Error(), tc.mention) {
				t.Errorf("got %v, want a Terminal that mentions %q", err, tc.mention)
			}
		})
	}
}
