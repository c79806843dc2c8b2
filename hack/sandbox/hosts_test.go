//go:build linux

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestEditHosts(t *testing.T) {
	const line = "10.231.0.2 registry.basewright.test # basewright-sandbox\n"
	for name, test := range map[string]struct {
		content, line, want string
	}{
		"a line is added and the rest stays as it is":        {"127.0.0.1 localhost\n\n# a comment", line, line + "127.0.0.1 localhost\n\n# a comment"},
		"an old line of ours is replaced":                    {"1.2.3.4 old # basewright-sandbox\n127.0.0.1 localhost\n", line, line + "127.0.0.1 localhost\n"},
		"an old line of ours is found wherever it is":        {"127.0.0.1 a\n1.2.3.4 old # basewright-sandbox \r\n127.0.0.1 b\n", "", "127.0.0.1 a\n127.0.0.1 b\n"},
		"a line that only mentions us is somebody else's":    {"# basewright-sandbox is here\n", "", "# basewright-sandbox is here\n"},
		"without a line of ours nothing changes":             {"127.0.0.1 localhost", "", "127.0.0.1 localhost"},
		"the last line is ours even without an end of line":  {"127.0.0.1 a\n1.2.3.4 old # basewright-sandbox", "", "127.0.0.1 a\n"},
		"an empty file takes a line":                         {"", line, line},
		"adding and removing gives what was there before it": {string(editHosts([]byte("x"), line)), "", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(editHosts([]byte(test.content), test.line)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestSetHostsKeepsTheLinkAndTheMode(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "real"), filepath.Join(dir, "hosts")
	if err := os.WriteFile(file, []byte("127.0.0.1 localhost\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{hostsLine(nodeAddress, sandboxHosts), ""} {
		if err := setHosts(link, line); err != nil {
			t.Fatal(err)
		}
		if target, err := os.Readlink(link); err != nil || target != file {
			t.Errorf("the link points to %q, %v", target, err)
		}
		checkFile(t, file, 0o640, line+"127.0.0.1 localhost\n")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("temporary files stayed: %v, %v", left, err)
	}
}

func checkFile(t *testing.T, path string, mode os.FileMode, want string) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != mode {
		t.Errorf("the file is %v, %v", info, err)
	}
	content, err := os.ReadFile(path)
	if err != nil || string(content) != want {
		t.Errorf("the file holds %q, %v", content, err)
	}
}
