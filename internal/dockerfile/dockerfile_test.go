package dockerfile_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/dockerfile"
	"github.com/ibshafique/base-images/internal/pipeline"
)

var arm64 = pipeline.Platform{OS: "linux", Architecture: "arm64"}

func TestImages(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		content string
		args    map[string]string
		target  string
		want    []dockerfile.Image
	}{
		"one stage": {
			content: "FROM alpine:3.23\nRUN true\n",
			want:    []dockerfile.Image{{Ref: "alpine:3.23", Line: 1, Stage: "0", Final: true}},
		},
		"an ARG has a default": {
			content: "ARG V=3.23\nFROM alpine:$V\n",
			want:    []dockerfile.Image{{Ref: "alpine:3.23", Line: 2, Stage: "0", Final: true}},
		},
		"a build argument overrides the default": {
			content: "ARG V=3.23\nFROM alpine:${V}\n", args: map[string]string{"V": "edge"},
			want: []dockerfile.Image{{Ref: "alpine:edge", Line: 2, Stage: "0", Final: true}},
		},
		"a build argument gives a value to an ARG without default": {
			content: "ARG V\nFROM alpine:$V\n", args: map[string]string{"V": "edge"},
			want: []dockerfile.Image{{Ref: "alpine:edge", Line: 2, Stage: "0", Final: true}},
		},
		"a default uses another ARG, several on one line and quotes": {
			content: "ARG V='3.23' R=\"docker.io\"\nARG IMAGE=\"$R/alpine:${V}\"\nFROM ${IMAGE}\n",
			want:    []dockerfile.Image{{Ref: "docker.io/alpine:3.23", Line: 3, Stage: "0", Final: true}},
		},
		"a default inside the expansion": {
			content: "FROM alpine:${V:-3.23}\n",
			want:    []dockerfile.Image{{Ref: "alpine:3.23", Line: 1, Stage: "0", Final: true}},
		},
		"platform arguments are there without a declaration": {
			content: "FROM example.com/$TARGETOS-${TARGETARCH}/x\n",
			want:    []dockerfile.Image{{Ref: "example.com/linux-arm64/x", Line: 1, Stage: "0", Final: true}},
		},
		"a platform flag that is the build's or the target's": {
			content: "FROM --platform=$BUILDPLATFORM golang AS b\nFROM --platform=${TARGETPLATFORM} alpine\nCOPY --from=b /a /a\n",
			want: []dockerfile.Image{
				{Ref: "golang", Line: 1, Stage: "b"}, {Ref: "alpine", Line: 2, Stage: "1", Final: true},
			},
		},
		"a chain of stages ends in the first base": {
			content: "FROM debian AS a\nFROM a AS b\nFROM B\n",
			want:    []dockerfile.Image{{Ref: "debian", Line: 1, Stage: "a", Final: true}},
		},
		"names of stages have no case": {
			content: "FROM golang AS Build\nFROM scratch\nCOPY --from=BUILD /a /a\n",
			want:    []dockerfile.Image{{Ref: "golang", Line: 1, Stage: "build"}},
		},
		"an index names a stage": {
			content: "FROM golang\nFROM scratch\nCOPY --from=0 /a /a\n",
			want:    []dockerfile.Image{{Ref: "golang", Line: 1, Stage: "0"}},
		},
		"a stage shadows the image of its name only below itself": {
			content: "FROM alpine AS alpine\nFROM alpine\n",
			want:    []dockerfile.Image{{Ref: "alpine", Line: 1, Stage: "alpine", Final: true}},
		},
		"a stage of FROM that is defined later is an image": {
			content: "FROM b AS a\nFROM scratch AS b\nCOPY --from=a /x /x\n",
			want:    []dockerfile.Image{{Ref: "b", Line: 1, Stage: "a"}},
		},
		"an image in COPY": {
			content: "FROM scratch\nCOPY --chown=1:1 --from=busybox:1 /bin/true /true\n",
			want:    []dockerfile.Image{{Ref: "busybox:1", Line: 2, Stage: "0"}},
		},
		"the same image twice keeps the first line and is final": {
			content: "FROM alpine AS a\nFROM alpine\nCOPY --from=a /x /x\n",
			want:    []dockerfile.Image{{Ref: "alpine", Line: 1, Stage: "a", Final: true}},
		},
		"stages that the target does not need are not resolved": {
			content: "FROM $UNDEFINED AS x\nFROM alpine AS y\nFROM --platform=windows/amd64 nano AS z\n", target: "Y",
			want: []dockerfile.Image{{Ref: "alpine", Line: 2, Stage: "y", Final: true}},
		},
		"a mount needs its stage": {
			content: "FROM golang AS b\nFROM alpine\nRUN --mount=type=bind,from=b,target=/b true\n",
			want:    []dockerfile.Image{{Ref: "golang", Line: 1, Stage: "b"}, {Ref: "alpine", Line: 2, Stage: "1", Final: true}},
		},
		"here-documents and comments are not instructions": {
			content: "# FROM no\nFROM alpine\nRUN <<EOF\nFROM no\nCOPY --from=no a b\nEOF\nCOPY <<X /x\nFROM no\nX\n",
			want:    []dockerfile.Image{{Ref: "alpine", Line: 2, Stage: "0", Final: true}},
		},
		"another escape character": {
			content: "# escape=`\nFROM `\n  alpine `\n  AS x\n",
			want:    []dockerfile.Image{{Ref: "alpine", Line: 2, Stage: "x", Final: true}},
		},
		"ONBUILD without an image": {
			content: "FROM alpine\nONBUILD COPY . /src\n",
			want:    []dockerfile.Image{{Ref: "alpine", Line: 1, Stage: "0", Final: true}},
		},
		"scratch only": {content: "FROM scratch\nCOPY a /a\n"},
		"carriage returns, a byte order mark and no last newline": {
			content: "\xef\xbb\xbfFROM alpine\r\nRUN true\r\nCOPY --from=busybox a b",
			want:    []dockerfile.Image{{Ref: "alpine", Line: 1, Stage: "0", Final: true}, {Ref: "busybox", Line: 3, Stage: "0"}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := dockerfile.Parse([]byte(tc.content), dockerfile.Options{BuildArgs: tc.args, Target: tc.target, Platform: arm64})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, f.Images()); diff != "" {
				t.Error(diff)
			}
			checkBase(t, f)
		})
	}
}

// checkBase compares Base with the one image that is marked as final.
func checkBase(t *testing.T, f *dockerfile.File) {
	t.Helper()
	want := ""
	for _, i := range f.Images() {
		if i.Final {
			want = i.Ref
		}
	}
	if base, ok := f.Base(); base != want || ok != (want != "") {
		t.Errorf("Base() = %q, %v, want %q", base, ok, want)
	}
}

// copies uses n different images.
func copies(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "COPY --from=image%d a b\n", i)
	}
	return b.String()
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	doubled := "ARG A0=aaaaaaaaaaaaaaaa\n"
	for i := range 40 {
		doubled += strings.NewReplacer("N", string(rune('0'+(i+1)%10)), "M", string(rune('0'+i%10))).Replace("ARG AN=$AM$AM\n")
	}
	tests := map[string]struct {
		content string
		args    map[string]string
		target  string
		mention []string
		reason  string // empty for DockerfileInvalid
	}{
		"too many images":                       {content: "FROM a\n" + copies(dockerfile.MaxImages), mention: []string{"line 65", "65 external images", "at most 64"}},
		"a reference that is too long":          {content: "FROM a/" + strings.Repeat("b", dockerfile.MaxReference) + "\n", mention: []string{"line 1", "514 bytes", "at most 512"}},
		"bytes that are not UTF-8":              {content: "FROM a\nRUN echo \xff\n", mention: []string{"UTF-8"}},
		"an undefined ARG":                      {content: "FROM alpine\nFROM alpine:$V\n", mention: []string{"line 2", "V", "add ARG V"}, reason: pipeline.ReasonDockerfileArgUndefined},
		"an undefined ARG in braces":            {content: "FROM alpine${V}\n", mention: []string{"line 1", "V"}, reason: pipeline.ReasonDockerfileArgUndefined},
		"an ARG that is declared too late":      {content: "FROM alpine AS a\nARG V=1\nFROM x:$V\n", mention: []string{"line 3", "V"}, reason: pipeline.ReasonDockerfileArgUndefined},
		"an empty base":                         {content: "ARG V=\nFROM $V\n", mention: []string{"line 2", "$V"}},
		"a base with a space":                   {content: "ARG V='a b'\nFROM $V\n", mention: []string{"line 2", "a b"}},
		"a build argument without a declared":   {content: "FROM a:$V\n", args: map[string]string{"V": "1"}, mention: []string{"V"}, reason: pipeline.ReasonDockerfileArgUndefined},
		"an unknown target":                     {content: "FROM a AS one\nFROM b AS two\n", target: "three", mention: []string{"three", "one", "two"}},
		"a target by index":                     {content: "FROM a AS one\nFROM b AS two\n", target: "0", mention: []string{"one"}},
		"a variable in COPY":                    {content: "ARG X=a\nFROM a\nARG X\nCOPY --from=$X a b\n", mention: []string{"line 4", "$X", "AS x"}},
		"an image in a mount":                   {content: "FROM a\nRUN --mount=from=busybox,target=/b true\n", mention: []string{"line 2", "busybox", "AS x"}},
		"a variable in a mount":                 {content: "FROM a\nRUN --mount=from=$X,target=/b true\n", mention: []string{"line 2"}},
		"COPY from a later stage":               {content: "FROM a AS f\nCOPY --from=l a b\nFROM a AS l\nFROM f\n", mention: []string{"line 2", "line 3", "move it up"}},
		"COPY from the stage itself":            {content: "FROM a AS s\nCOPY --from=s a b\n", mention: []string{"line 2", "move it up"}},
		"COPY from an index that is too high":   {content: "FROM a\nCOPY --from=0 a b\n", mention: []string{"line 2", "--from=0"}},
		"COPY from scratch":                     {content: "FROM a\nCOPY --from=scratch a b\n", mention: []string{"line 2"}},
		"a platform that is not the target's":   {content: "FROM --platform=linux/amd64 a\n", mention: []string{"line 1", "linux/amd64", "linux/arm64"}},
		"two stages of one name":                {content: "FROM a AS x\nFROM b AS X\n", mention: []string{"line 2", "x"}},
		"a stage named scratch":                 {content: "FROM a AS scratch\nFROM scratch\n", mention: []string{"line 1"}},
		"an ONBUILD that pulls":                 {content: "FROM a\nONBUILD COPY --from=b a b\n", mention: []string{"line 2", "ONBUILD"}},
		"an ONBUILD that hides that it pulls":   {content: "FROM a\nONBUILD COPY --fr\\om=b a b\n", mention: []string{"line 2", "ONBUILD"}},
		"an ONBUILD with an escape directive":   {content: "# escape=`\nFROM a\nONBUILD RUN x\n", mention: []string{"line 3", "escape"}},
		"a here-document that old parsers miss": {content: "FROM a\nRUN cat << CMD\nFROM evil\nCMD\n", mention: []string{"line 2", "<<CMD"}},
		"an instruction before FROM":            {content: "RUN true\nFROM a\n", mention: []string{"line 1", "RUN"}},
		"an unknown instruction":                {content: "FROM a\nFORM b\n", mention: []string{"line 2", "FORM"}},
		"an unterminated here-document":         {content: "FROM a\nRUN <<EOF\nx\n", mention: []string{"line 2", "heredoc"}},
		"nothing":                               {content: "", mention: []string{"line"}},
		"only ARGs":                             {content: "ARG A=1\n", mention: []string{"FROM"}},
		"too many bytes":                        {content: "FROM a\n#" + strings.Repeat("x", dockerfile.MaxSize), mention: []string{"131072"}},
		"too many stages":                       {content: strings.Repeat("FROM a\n", dockerfile.MaxStages+1), mention: []string{"64"}},
		"ARGs that double each other":           {content: doubled + "FROM $A1\n", mention: []string{"ARG", "at most"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := dockerfile.Parse([]byte(tc.content), dockerfile.Options{BuildArgs: tc.args, Target: tc.target, Platform: arm64})
			terminal, ok := errors.AsType[*pipeline.Terminal](err)
			want := pipeline.ReasonDockerfileInvalid
			if tc.reason != "" {
				want = tc.reason
			}
			if !ok || terminal.Reason != want {
				t.Fatalf("got %v, want a Terminal with reason %s", err, want)
			}
			for _, word := range tc.mention {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not mention %q", err, word)
				}
			}
		})
	}
}
