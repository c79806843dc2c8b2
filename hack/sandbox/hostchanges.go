//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// tunables are the kernel's settings that a kubelet changes for the whole
// machine, and what it sets them to.
var tunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// hostChanges is what the sandbox changed on the host that no name gives away.
type hostChanges struct {
	Boot          string            `json:"boot"`
	Tunables      map[string]string `json:"tunables"`
	MountedBinfmt bool              `json:"mountedBinfmt"`
}

// bootID tells one boot of the machine from another: none of the changes
// outlives a reboot.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

func readHostChanges(s site) (hostChanges, error) {
	changes := hostChanges{Boot: bootID(), Tunables: map[string]string{}}
	content, err := os.ReadFile(s.in("host.json"))
	if errors.Is(err, os.ErrNotExist) {
		return changes, nil
	}
	if err != nil {
		return changes, fmt.Errorf("reading what was changed on the host: %w", err)
	}
	var old hostChanges
	if err := json.Unmarshal(content, &old); err != nil {
		return changes, fmt.Errorf("parsing host.json: %w", err)
	}
	if old.Boot != changes.Boot {
		return changes, nil
	}
	return old, nil
}

func (c hostChanges) write(s site) error {
	content, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding host.json: %w", err)
	}
	return writeFile(s.in("host.json"), content, 0o644)
}

// rememberTunables notes the values that a kubelet is about to change. Values
// that were noted before stay: they are the ones from before the first start.
func (c *hostChanges) rememberTunables(root string) {
	for name := range tunables {
		if _, known := c.Tunables[name]; known {
			continue
		}
		if value, err := os.ReadFile(filepath.Join(root, name)); err == nil {
			c.Tunables[name] = strings.TrimSpace(string(value))
		}
	}
}

// restoreTunables puts values back, except those that were set to something
// else by somebody else in the meantime.
func (c *hostChanges) restoreTunables(root string) error {
	var failed []error
	for name, old := range c.Tunables {
		path := filepath.Join(root, name)
		now, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(now)) != tunables[name] || tunables[name] == old {
			continue
		}
		if err := os.WriteFile(path, []byte(old), 0o644); err != nil {
			failed = append(failed, fmt.Errorf("restoring %s: %w", name, err))
		}
	}
	c.Tunables = map[string]string{}
	return errors.Join(failed...)
}
