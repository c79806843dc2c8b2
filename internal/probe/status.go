package probe

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const maxStatus = 64 << 10

// status is /proc/self/status (proc_pid_status(5)): what the kernel says of the probe's process.
type status map[string]string

func (m Machine) status() (status, error) {
	path := filepath.Join(m.Proc, "status")
	raw, err := readRegular(path, maxStatus)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, why(err))
	}
	s := status{}
	for line := range strings.Lines(string(raw)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			s[key] = strings.TrimSpace(value)
		}
	}
	return s, nil
}

// podChanged ends messages about what the test pod asks for and did not get.
const podChanged = "something in the cluster changes test pods: exempt them from the admission webhook that does"

func (s status) user(o Options) Check {
	if c := s.id("Uid", "UID", o.UID); c.Outcome == Failed {
		return c
	}
	if c := s.id("Gid", "GID", o.GID); c.Outcome == Failed {
		return c
	}
	var more []string
	for group := range strings.FieldsSeq(s["Groups"]) {
		if group != strconv.FormatInt(o.GID, 10) {
			more = append(more, group)
		}
	}
	if len(more) > 0 {
		return failed("is also in the groups %s: take the user out of them in the image's /etc/group", some(more))
	}
	return passed("UID %d, GID %d", o.UID, o.GID)
}

// id wants the real, effective, saved and file system ID to be one.
func (s status) id(key, name string, want int64) Check {
	got := strings.Fields(s[key])
	if !slices.Equal(got, slices.Repeat([]string{strconv.FormatInt(want, 10)}, 4)) {
		return failed("real, effective, saved and file system %s are %q, all must be %d: end the Dockerfile with USER %[3]d:%[3]d, or set spec.tests.user", name, strings.Join(got, " "), want)
	}
	return passed("")
}

func (s status) capabilities() Check {
	var has []string
	for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		if value := s[set]; value == "" || strings.Trim(value, "0") != "" {
			has = append(has, fmt.Sprintf("%s %q", set, value))
		}
	}
	if len(has) > 0 {
		return failed("has capabilities, although the pod drops all: %s; %s", strings.Join(has, ", "), podChanged)
	}
	return passed("none, and none can be gained")
}

func (s status) noNewPrivileges() Check {
	if got := s["NoNewPrivs"]; got != "1" {
		return failed("NoNewPrivs is %q and not 1, although the pod forbids privilege escalation: %s", got, podChanged)
	}
	return passed("programs with setuid or file capabilities gain nothing")
}

func (s status) seccomp() Check {
	if got := s["Seccomp"]; got != "2" {
		return failed("Seccomp is %q and not 2, a filter, although the pod asks for RuntimeDefault: use a container runtime with seccomp on this node, or %s", got, podChanged)
	}
	return passed("a filter is in force")
}
