package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// good is the status of a process that may do nothing.
const good = `Name:	probe
Uid:	65532	65532	65532	65532
Gid:	65532	65532	65532	65532
Groups:	65532 
CapInh:	0000000000000000
CapPrm:	0000000000000000
CapEff:	0000000000000000
CapBnd:	0000000000000000
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
`

func TestStatus(t *testing.T) {
	o := Options{UID: 65532, GID: 65532}
	user := func(s status) Check { return s.user(o) }
	all := map[string]func(status) Check{CheckUser: user, CheckCapabilities: status.capabilities, CheckNoNewPrivileges: status.noNewPrivileges, CheckSeccomp: status.seccomp}
	tests := map[string]struct {
		old, new string // in good
		fails    string // "": nothing does
		says     string
	}{
		"nothing is wrong":                  {"", "", "", ""},
		"no supplementary group at all":     {"Groups:\t65532 ", "Groups:\t", "", ""},
		"root":                              {"Uid:\t65532\t65532\t65532\t65532", "Uid:\t0\t0\t0\t0", CheckUser, `UID are "0 0 0 0", all must be 65532: end the Dockerfile with USER`},
		"a saved UID of root":               {"Uid:\t65532\t65532\t65532\t65532", "Uid:\t65532\t65532\t0\t65532", CheckUser, "65532 65532 0 65532"},
		"the group of root":                 {"Gid:\t65532\t65532\t65532\t65532", "Gid:\t0\t0\t0\t0", CheckUser, "GID"},
		"no line for the UID":               {"Uid:", "Xid:", CheckUser, "UID"},
		"a UID that begins as ours":         {"Uid:\t65532\t65532\t65532\t65532", "Uid:\t655320\t655320\t655320\t655320", CheckUser, "UID"},
		"another group":                     {"Groups:\t65532 ", "Groups:\t0 65532 ", CheckUser, "also in the groups 0: take the user out of them in the image's /etc/group"},
		"many other groups":                 {"Groups:\t65532 ", "Groups:\t1 2 3 4 5 6 7 ", CheckUser, "1, 2, 3, 4, 5 and 2 more"},
		"an effective capability":           {"CapEff:\t0000000000000000", "CapEff:\t0000000000000400", CheckCapabilities, `CapEff "0000000000000400"`},
		"a permitted capability":            {"CapPrm:\t0000000000000000", "CapPrm:\t8000000000000000", CheckCapabilities, "CapPrm"},
		"an inheritable capability":         {"CapInh:\t0000000000000000", "CapInh:\t0000000000000001", CheckCapabilities, "CapInh"},
		"an ambient capability":             {"CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001", CheckCapabilities, "CapAmb"},
		"a capability that could be gained": {"CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff", CheckCapabilities, "CapBnd"},
		"no line for a set":                 {"CapBnd:", "CapXxx:", CheckCapabilities, `CapBnd ""`},
		"new privileges":                    {"NoNewPrivs:\t1", "NoNewPrivs:\t0", CheckNoNewPrivileges, "admission webhook"},
		"no line for new privileges":        {"NoNewPrivs:", "Xxx:", CheckNoNewPrivileges, `""`},
		"no seccomp":                        {"Seccomp:\t2", "Seccomp:\t0", CheckSeccomp, "container runtime with seccomp"},
		"strict seccomp, which is no more":  {"Seccomp:\t2", "Seccomp:\t1", CheckSeccomp, `"1"`},
		"no line for seccomp":               {"Seccomp:\t2\n", "", CheckSeccomp, `""`},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if !strings.Contains(good, tt.old) {
				t.Fatalf("there is no %q", tt.old)
			}
			m := Machine{Proc: t.TempDir()}
			must(t, os.WriteFile(filepath.Join(m.Proc, "status"), []byte(strings.Replace(good, tt.old, tt.new, 1)), 0o644))
			s, err := m.status()
			must(t, err)
			for name, check := range all {
				if name == tt.fails {
					expect(t, check(s), Failed, tt.says)
				} else {
					expect(t, check(s), Passed)
				}
			}
		})
	}
}

func TestStatusThatCannotBeRead(t *testing.T) {
	for desc, proc := range map[string]files{
		"none":          {},
		"a directory":   {"status/": ""},
		"a FIFO":        {"status": "fifo"},
		"without bound": {"status": strings.Repeat("a:b\n", maxStatus)},
	} {
		t.Run(desc, func(t *testing.T) {
			m := Machine{Proc: t.TempDir()}
			proc.write(t, m.Proc)
			if s, err := m.status(); err == nil {
				t.Errorf("got %v", s)
			}
			if _, err := m.Run(t.Context(), Options{}); err == nil {
				t.Error("the probe proves something")
			}
		})
	}
}
