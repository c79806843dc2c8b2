package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestCommand(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	dir, name := filepath.Split(self)
	text := filepath.Join(t.TempDir(), "text")
	must(t, os.WriteFile(text, []byte("echo\n"), 0o755))
	tests := map[string]struct {
		program string
		command []string
		timeout time.Duration
		want    Outcome
		says    []string
	}{
		"it succeeds":                         {"succeed", []string{self}, time.Hour, Passed, []string{"exits with 0"}},
		"it is found in PATH":                 {"succeed", []string{name}, time.Hour, Passed, nil},
		"it leaves a process with its output": {"leave", []string{self}, time.Hour, Passed, nil},
		"it fails":                            {"fail", []string{self}, time.Hour, Failed, []string{"exit status 3", "spec.tests.command", "xxx the end"}},
		"it says nothing":                     {"silent", []string{self}, time.Hour, Failed, []string{"exit status 1", "it says: nothing"}},
		"it needs to write":                   {"write", []string{self}, time.Hour, Failed, []string{"it needs to write to /var/cache/app", "mount an emptyDir"}},
		"it is killed":                        {"killed", []string{self}, time.Hour, Failed, []string{"was killed", "memory"}},
		"it does not end":                     {"forever", []string{self}, 50 * time.Millisecond, Failed, []string{"did not end within 50ms"}},
		"it is not there":                     {"", []string{"/missing/command"}, time.Hour, Failed, []string{"/missing/command can't be executed: no such file"}},
		"it is not in PATH":                   {"", []string{"missing"}, time.Hour, Failed, []string{"in no directory of the image's PATH", "spec.tests.command"}},
		"it is a file that is no program":     {"", []string{text}, time.Hour, Failed, []string{"exec format error"}},
		"its name is long":                    {"", []string{"/" + strings.Repeat("n", 1000)}, time.Hour, Failed, []string{"can't be executed"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Setenv(program, tt.program)
			swept := 0
			m := machine(t, nil, map[string]string{"PATH": "/missing:" + dir})
			m.Timeout, m.Sweep = tt.timeout, func() { swept++ }
			got := m.command(t.Context(), tt.command)
			expect(t, got, tt.want, tt.says...)
			if len(got.Message) > maxMessage || !utf8.ValidString(got.Message) || swept != 1 {
				t.Errorf("%d bytes, swept %d times", len(got.Message), swept)
			}
		})
	}
}

func TestNeedsToWrite(t *testing.T) {
	for said, want := range map[string]string{
		"open /var/cache/x: read-only file system":                           "/var/cache/x",
		"mkdir: cannot create directory '/a/b': Read-only file system":       "/a/b",
		"mkdir: cannot create directory ‘/a’: Read-only file system":         "/a",
		"OSError: [Errno 30] Read-only file system: '/foo'":                  "/foo",
		"Error: EROFS: read-only file system, open '/x'":                     "/x",
		"starting\nmkdir data: read-only file system\nbye":                   "its root file system",
		"mkdir data: read-only file system\nmkdir /d: read-only file system": "/d",
		"/opt: no such file or directory":                                    "",
		"nothing":                                                            "",
	} {
		where, found := needsToWrite(said)
		if where != want || found != (want != "") {
			t.Errorf("%q: got %q, %t", said, where, found)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	for desc, writes := range map[string][]string{
		"in one piece":       {strings.Repeat("a", 5000) + strings.Repeat("b", maxTail)},
		"byte by byte":       strings.Split(strings.Repeat("a", 500)+strings.Repeat("b", maxTail), ""),
		"across two writes":  {strings.Repeat("a", maxTail-1) + "b", strings.Repeat("b", maxTail-1)},
		"nothing at the end": {strings.Repeat("b", maxTail), ""},
	} {
		var out tail
		for _, w := range writes {
			if n, err := out.Write([]byte(w)); n != len(w) || err != nil {
				t.Fatalf("%s: got %d, %v", desc, n, err)
			}
		}
		if got := out.String(); got != strings.Repeat("b", maxTail) {
			t.Errorf("%s: kept %d bytes: %s", desc, len(got), got)
		}
	}
}
