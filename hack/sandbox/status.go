//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// errUnhealthy makes status exit with 1.
var errUnhealthy = errors.New("the sandbox is not healthy")

// runStatus is the subcommand status.
func runStatus(ctx context.Context, _ []string) error {
	s, err := newSite()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("only root can see what the sandbox does: run status with sudo or as root")
	}
	nodes, err := findNodes(s)
	if err != nil {
		return err
	}
	defer closeAll(nodes)
	if len(nodes) == 0 {
		return errors.New("the sandbox is not up")
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	healthy := showChecks(ctx, out, s, nodes[0])
	healthy = showDaemons(out, s, nodes[0].pid) && healthy
	showFacts(out, s)
	if err := out.Flush(); err != nil {
		return err
	}
	if !healthy {
		return errUnhealthy
	}
	return nil
}

// showChecks prints one line for each thing that has to work.
func showChecks(ctx context.Context, out io.Writer, s site, node process) bool {
	fmt.Fprintf(out, "node\t%s\tprocess %d\n", nodeName, node.pid)
	c, err := newCluster(s, builds{})
	if err != nil {
		fmt.Fprintf(out, "cluster\tFAILED\t%v\n", err)
		return false
	}
	healthy := true
	for _, check := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"apiserver", func(ctx context.Context) error { return c.get(ctx, "/readyz", nil) }},
		{"node ready", func(ctx context.Context) error { return c.checkNode(ctx, kubeletStart(s)) }},
		{"dns", checkDNS},
		{"registry", func(ctx context.Context) error { return checkFront(ctx, s) }},
		{"sigstore", func(ctx context.Context) error { return checkSigstore(ctx, s) }},
	} {
		if err := check.run(ctx); err != nil {
			healthy = false
			fmt.Fprintf(out, "%s\tFAILED\t%v\n", check.name, err)
			continue
		}
		fmt.Fprintf(out, "%s\tok\n", check.name)
	}
	showVersions(ctx, out, c)
	return healthy
}

func showVersions(ctx context.Context, out io.Writer, c cluster) {
	var node nodeObject
	if err := c.get(ctx, "/api/v1/nodes/"+nodeName, &node); err != nil {
		return
	}
	info := node.Status.NodeInfo
	fmt.Fprintf(out, "versions\t%s, %s, kernel %s, %s\n", info.KubeletVersion, info.ContainerRuntimeVersion, info.KernelVersion, runtime.Version())
}

// readDaemonStates reads what the node's init wrote.
func readDaemonStates(s site) ([]daemonState, error) {
	content, err := os.ReadFile(s.in("daemons.json"))
	if err != nil {
		return nil, fmt.Errorf("reading the state of the daemons: %w", err)
	}
	var byName map[string]daemonState
	if err := json.Unmarshal(content, &byName); err != nil {
		return nil, fmt.Errorf("parsing the state of the daemons: %w", err)
	}
	var states []daemonState
	for _, state := range byName {
		states = append(states, state)
	}
	slices.SortFunc(states, func(a, b daemonState) int { return cmp.Compare(a.Name, b.Name) })
	return states, nil
}

func showDaemons(out io.Writer, s site, node int) bool {
	states, err := readDaemonStates(s)
	if err != nil {
		fmt.Fprintf(out, "daemons\tFAILED\t%v\n", err)
		return false
	}
	outside := hostPIDs(node)
	healthy := true
	for _, state := range states {
		if state.PID == 0 {
			healthy = false
			fmt.Fprintf(out, "daemon %s\tDOWN\t%d restarts, %s\n", state.Name, state.Restarts, state.Last)
			continue
		}
		fmt.Fprintf(out, "daemon %s\tup %s\tprocess %d, %d restarts\n",
			state.Name, time.Since(state.Started).Round(time.Second), outside[state.PID], state.Restarts)
	}
	return healthy
}

// hostPIDs maps process numbers inside the node's namespace to the host's.
func hostPIDs(node int) map[int]int {
	outside := map[int]int{}
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", node))
	if err != nil {
		return outside
	}
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return outside
	}
	for _, proc := range entries {
		if own, err := os.Readlink(filepath.Join(proc, "ns", "pid")); err != nil || own != namespace {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(proc))
		if numbers := namespacePIDs(proc); err == nil && len(numbers) > 0 {
			outside[numbers[len(numbers)-1]] = pid
		}
	}
	return outside
}

func showFacts(out io.Writer, s site) {
	emulation := "none: RUN in arm64 images does not work"
	if name, ok := arm64Emulation(); ok {
		emulation = "binfmt_misc entry " + name
	}
	facts := [][2]string{
		{"arm64", emulation},
		{"addresses", fmt.Sprintf("node %s, host %s, pods %s, services %s", nodeAddress, hostAddress, podRange, serviceRange)},
		{"apiserver at", issuerURL},
		{"registry at", "https://" + registryHost},
		{"git at", "https://" + gitHost},
		{"databases at", "https://" + databasesHost + ", " + servedDatabases(s)},
		{"state in", s.state},
		{"logs in", s.in("logs")},
	}
	if state := serviceState(s.in("sigstore"), registryService); state != started {
		facts = append(facts, [2]string{"registry is", "in the state " + state})
	}
	for _, service := range sigstoreServices {
		about := "https://" + service.host
		if state := serviceState(s.in("sigstore"), service.name); state != started {
			about += ", in the state " + state
		}
		facts = append(facts, [2]string{service.name + " at", about})
	}
	for _, fact := range facts {
		fmt.Fprintf(out, "%s\t%s\n", fact[0], fact[1])
	}
}
