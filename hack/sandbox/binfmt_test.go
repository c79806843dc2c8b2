//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestBinfmtLine(t *testing.T) {
	line := binfmtLine("/x/qemu-aarch64-static")
	fields := strings.Split(line, ":")
	if len(fields) != 8 {
		t.Fatalf("%q has %d fields", line, len(fields))
	}
	if fields[1] != binfmtName || fields[2] != "M" || fields[6] != "/x/qemu-aarch64-static" || fields[7] != "OPF" {
		t.Errorf("got %q", fields)
	}
	if magic, mask := strings.Count(fields[4], `\x`), strings.Count(fields[5], `\x`); magic != 17 || mask != 20 {
		t.Errorf("magic has %d escapes and mask %d", magic, mask)
	}
	// The kernel takes no line that is longer.
	if len(line) > 1920 {
		t.Errorf("the line has %d bytes", len(line))
	}
}

func TestEmulates(t *testing.T) {
	const magic = "magic 7f454c460201010000000000000000000200b700\n"
	for name, test := range map[string]struct {
		entry string
		want  bool
	}{
		"ours": {"enabled\ninterpreter /x\nflags: POCF\noffset 0\n" + magic, true},
		"one that does not reach into containers": {"enabled\ninterpreter /x\nflags: PO\noffset 0\n" + magic, false},
		"one that is switched off":                {"disabled\ninterpreter /x\nflags: POCF\noffset 0\n" + magic, false},
		"another architecture":                    {"enabled\ninterpreter /x\nflags: F\noffset 0\nmagic 7f454c4602010100000000000000000002003e00\n", false},
		"the state of the whole directory":        {"enabled\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := emulates(test.entry); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
