package dockerfile_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/dockerfile"
	"github.com/ibshafique/base-images/internal/pipeline"
)

func digest(c string) string { return "@sha256:" + strings.Repeat(c, 64) }

func TestRewrite(t *testing.T) {
	t.Parallel()
	a, b := "mirror.local:5000/alpine"+digest("a"), "mirror.local/busybox"+digest("b")
	pulls := map[string]string{"alpine:3": a, "busybox": b}
	tests := map[string]struct {
		content, want string
		target        string
	}{
		"a base and nothing else": {content: "FROM alpine:3\nRUN x\n", want: "FROM " + a + "\nRUN x\n"},
		"lower case, flags, spaces and a name": {
			content: "  from\t--platform=$TARGETPLATFORM   alpine:3  as  X  \n", want: "  from\t--platform=$TARGETPLATFORM   " + a + "  as  X  \n",
		},
		"a variable": {content: "ARG I=alpine:3\nFROM ${I} AS x\n", want: "ARG I=alpine:3\nFROM " + a + " AS x\n"},
		"a variable that names a stage or scratch": {
			content: "ARG I=x S=scratch\nFROM alpine:3 AS x\nFROM $S AS y\nFROM $I\nCOPY --from=y a b\n",
			want:    "ARG I=x S=scratch\nFROM " + a + " AS x\nFROM scratch AS y\nFROM x\nCOPY --from=y a b\n",
		},
		"continuation lines with comments and empty lines": {
			content: "FROM \\\n# alpine:3\n\n  alpine:3 \\  \n  AS x\nCOPY \\\n --chown=0 \\\n  --from=busybox \\\n a b\n",
			want:    "FROM \\\n# alpine:3\n\n  " + a + " \\  \n  AS x\nCOPY \\\n --chown=0 \\\n  --from=" + b + " \\\n a b\n",
		},
		"a reference over two lines": {content: "FROM alp\\\nine:3 AS x\n", want: "FROM " + a + " AS x\n"},
		"another escape character": {
			content: "# escape=`\nFROM `\n alpine:3\nCOPY --fr`om=\"busybox\" a C:\\b\n",
			want:    "# escape=`\nFROM `\n " + a + "\nCOPY --from=" + b + " a C:\\b\n",
		},
		"carriage returns, a byte order mark and no last newline": {
			content: "\xef\xbb\xbfFROM alpine:3\r\nCOPY --from=busybox a \\\r\n b", want: "\xef\xbb\xbfFROM " + a + "\r\nCOPY --from=" + b + " a \\\r\n b",
		},
		"here-documents with the same text": {
			content: "FROM alpine:3\nRUN <<EOF\nFROM alpine:3\nCOPY --from=busybox a b\nEOF\nCOPY --from=busybox --chmod=1 <<E a /b/\nbusybox\nE\n",
			want:    "FROM " + a + "\nRUN <<EOF\nFROM alpine:3\nCOPY --from=busybox a b\nEOF\nCOPY --from=" + b + " --chmod=1 <<E a /b/\nbusybox\nE\n",
		},
		"the same image twice, and its name elsewhere": {
			content: "FROM alpine:3 AS x\nRUN echo alpine:3\nFROM alpine:3\nCOPY --from=x alpine:3 b\n",
			want:    "FROM " + a + " AS x\nRUN echo alpine:3\nFROM " + a + "\nCOPY --from=x alpine:3 b\n",
		},
		"a stage that is not needed": {
			content: "FROM alpine:3 AS x\nFROM $NO AS y\n", target: "x", want: "FROM " + a + " AS x\nFROM $NO AS y\n",
		},
		"a quoted base": {content: "FROM \"alpine:3\"\n", want: "FROM " + a + "\n"},
		"scratch":       {content: "FROM scratch", want: "FROM scratch"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := dockerfile.Parse([]byte(tc.content), dockerfile.Options{Target: tc.target, Platform: arm64})
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.Rewrite(pulls)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRewriteRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]map[string]string{
		"an image without entry":                       {"busybox": "busybox" + digest("b")},
		"a pull reference by tag":                      {"alpine": "alpine:3", "busybox": "busybox" + digest("b")},
		"a pull reference with a line break":           {"alpine": "alpine" + digest("a") + "\nRUN evil", "busybox": "busybox" + digest("b")},
		"a pull reference with a digest that is short": {"alpine": "alpine@sha256:abc", "busybox": "busybox" + digest("b")},
	}
	for name, pulls := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := dockerfile.Parse([]byte("FROM alpine\nCOPY --from=busybox a b\n"), dockerfile.Options{Platform: arm64})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := f.Rewrite(pulls); err == nil {
				t.Errorf("no error, but %q", got)
			}
		})
	}
}

// FuzzParse checks that nothing panics, that every refusal is terminal, and that what
// is accepted can be pinned.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"FROM alpine\n", "ARG A=b\nFROM ${A:-c} AS x\nFROM x\nCOPY --from=busybox a b\n", "# escape=`\nFROM `\n a\n",
		"FROM a\nRUN <<EOF\nFROM b\nEOF\n", "FROM a\nONBUILD RUN x\n", "\xef\xbb\xbffrom a\r\ncopy \\\r\n --from=\"b\" c d",
		"FROM a\nRUN --mount=type=bind,from=b,target=/x y\n", "FROM al\\\n# x\n\npine\nCOPY --from=\\\nx a b\n", "FROM $A$B\n", "FROM -- a\nCOPY -- --from=a b\n",
	} {
		f.Add(seed, "A", "value", "x")
	}
	f.Fuzz(func(t *testing.T, content, name, value, target string) {
		file, err := dockerfile.Parse([]byte(content), dockerfile.Options{BuildArgs: map[string]string{name: value}, Target: target, Platform: arm64})
		if err != nil {
			if !pipeline.IsTerminal(err) {
				t.Fatalf("%v is not terminal", err)
			}
			return
		}
		pulls := map[string]string{}
		for _, image := range file.Images() {
			pulls[image.Ref] = "example.com/pinned" + digest("c")
		}
		if out, err := file.Rewrite(pulls); err != nil {
			t.Fatalf("%v\n%q", err, out)
		}
	})
}
