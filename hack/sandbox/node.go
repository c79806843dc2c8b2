//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// nodeCommand is the internal subcommand that is PID 1 of the node.
const nodeCommand = "node"

// startSignal is what up sends once the node's cable is plugged in.
const startSignal = "start\n"

// nodePlan is all that PID 1 of the node is told, as a file.
type nodePlan struct {
	State   string   `json:"state"`
	Keep    []string `json:"keep"`
	IP      string   `json:"ip"`
	Daemons []daemon `json:"daemons"`
}

// runNode sets the node up from the inside and keeps its daemons running. It
// runs in namespaces of its own: when it ends, the kernel removes whatever
// processes, mounts, addresses and packet filters came to be in them.
func runNode(ctx context.Context, args []string) error {
	if os.Getpid() != 1 || len(args) != 1 {
		return errUsage
	}
	if err := awaitStart(); err != nil {
		return err
	}
	plan, err := readPlan(args[0])
	if err != nil {
		return err
	}
	if err := enterNode(plan); err != nil {
		return err
	}
	return newSupervisor(site{state: plan.State}).run(ctx, plan.Daemons)
}

// awaitStart ends the node if up died before it could finish its part.
func awaitStart() error {
	word, err := io.ReadAll(os.Stdin)
	if err != nil {
		return fmt.Errorf("waiting for up: %w", err)
	}
	if string(word) != startSignal {
		return errors.New("up ended before the node was ready to start")
	}
	return nil
}

func readPlan(path string) (nodePlan, error) {
	var plan nodePlan
	content, err := os.ReadFile(path)
	if err != nil {
		return plan, fmt.Errorf("reading the node's plan: %w", err)
	}
	if err := json.Unmarshal(content, &plan); err != nil {
		return plan, fmt.Errorf("parsing the node's plan: %w", err)
	}
	return plan, nil
}

// enterNode turns the new namespaces into a machine.
func enterNode(plan nodePlan) error {
	if err := unix.Sethostname([]byte(nodeName)); err != nil {
		return fmt.Errorf("setting the node's name: %w", err)
	}
	if err := mountNode(plan); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("switching routing on: %w", err)
	}
	for _, line := range nodeNetwork() {
		if err := runQuietly(exec.Command(plan.IP, strings.Fields(line)...)); err != nil {
			return fmt.Errorf("setting the node's network up: %w", err)
		}
	}
	return nil
}

// nodeNetwork is what ip is called with in the node. There is no default
// route: the only way out is to the host. The route for Services is never
// taken, but without it there would be no packet for kube-proxy to redirect.
func nodeNetwork() []string {
	return []string{
		"link set lo up",
		fmt.Sprintf("address add %s/32 dev lo", metadataAddress),
		fmt.Sprintf("address add %s/%d dev %s", nodeAddress, linkRange.Bits(), nodeLink),
		"link set " + nodeLink + " up",
		fmt.Sprintf("route add %s via %s", serviceRange, hostAddress),
	}
}

// mount is one call of mount(2).
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// mountNode hides the host's running state from the node, and the node's from
// the host.
func mountNode(plan nodePlan) error {
	before := []mount{
		// The host's unmounts still arrive, nothing goes back; the kubelet
		// needs the node's own mounts to be shared with its containers.
		{target: "/", flags: unix.MS_REC | unix.MS_SLAVE},
		{target: "/", flags: unix.MS_REC | unix.MS_SHARED},
		{source: "proc", target: "/proc", kind: "proc", flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{source: "tmpfs", target: "/run", kind: "tmpfs", flags: unix.MS_NOSUID | unix.MS_NODEV, data: "mode=0755"},
	}
	if err := mountAll(before); err != nil {
		return err
	}
	// The kubelet's and CNI's directories in /var/lib are compiled in: an
	// empty one keeps them off the host. What the node needs comes back.
	if err := mountOver("/var/lib", plan.Keep); err != nil {
		return err
	}
	after := []mount{
		{source: filepath.Join(plan.State, "kubelet"), target: "/var/lib/kubelet", flags: unix.MS_BIND},
		{source: filepath.Join(plan.State, "logs"), target: "/var/log", flags: unix.MS_BIND},
		{source: filepath.Join(plan.State, "config", "hosts"), target: "/etc/hosts", flags: unix.MS_BIND},
	}
	return mountAll(after)
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		// A bind mount on a directory of the node's own may need it made.
		if strings.HasPrefix(m.target, "/var/lib/") {
			if err := os.MkdirAll(m.target, 0o755); err != nil {
				return fmt.Errorf("making %s: %w", m.target, err)
			}
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.source, m.target, err)
		}
	}
	return nil
}

// mountOver puts an empty file system on dir and brings back those of the
// directories to keep that are below it.
func mountOver(dir string, keep []string) error {
	handles := map[string]*os.File{}
	for _, path := range keep {
		if !strings.HasPrefix(path, dir+"/") {
			continue
		}
		handle, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("keeping %s: %w", path, err)
		}
		defer func() { _ = handle.Close() }()
		handles[path] = handle
	}
	if err := mountAll([]mount{{source: "tmpfs", target: dir, kind: "tmpfs", flags: unix.MS_NOSUID | unix.MS_NODEV, data: "mode=0755"}}); err != nil {
		return err
	}
	for path, handle := range handles {
		source := fmt.Sprintf("/proc/self/fd/%d", handle.Fd())
		if err := mountAll([]mount{{source: source, target: path, flags: unix.MS_BIND | unix.MS_REC}}); err != nil {
			return err
		}
	}
	return nil
}
