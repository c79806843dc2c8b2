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
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// writeConfig writes every file that the node's programs read.
func writeConfig(ctx context.Context, s site, b builds, d debian, ip string) error {
	if err := makePKI(s.in("pki"), time.Now()); err != nil {
		return err
	}
	if _, err := password(s); err != nil {
		return err
	}
	containerd, err := askContainerd(ctx, d)
	if err != nil {
		return err
	}
	plan, err := json.MarshalIndent(nodePlan{State: s.state, Keep: []string{s.state, s.cache}, IP: ip, Daemons: daemons(s, b, d)}, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the node's plan: %w", err)
	}
	certs := s.in("config", "certs.d")
	// A kubelet that may not raise limits has to be told.
	limited := !hasCapability(unix.CAP_SYS_RESOURCE)
	files := map[string][]byte{
		"node.json":   plan,
		"fulcio.yaml": fulcioConfig(),
		"hosts":       []byte("127.0.0.1 localhost\n::1 localhost\n" + hostsLine(nodeAddress, append([]string{nodeName}, sandboxHosts...))),
		// The kubelet wants a file; in the sandbox no server is behind it.
		"resolv.conf":     []byte("options ndots:1\n"),
		"cni/10.conflist": cniConfig(),
		"kubelet.yaml":    kubeletConfig(s.in("pki"), s.in("config", "resolv.conf"), limited),
		"containerd.toml": containerdConfig(containerd, containerdOptions{
			Root: s.in("containerd"), CNIBin: s.in("cni"), CNIConf: s.in("config", "cni"),
			Certs: certs, Socket: containerdSocket, Pause: pauseImage,
		}),
		"certs.d/" + registryHost + "/hosts.toml": registryHosts(s.in("pki", "ca.crt")),
	}
	for _, who := range []string{"controller-manager", "scheduler", "kubelet", "proxy", netpolCommand} {
		if files[kubeconfigOf+who], err = kubeconfig(s.in("pki"), "https://"+nodeAddress.String()+":"+apiPort, who); err != nil {
			return err
		}
	}
	for name, content := range files {
		if err := writeFile(s.in("config", name), content, 0o600); err != nil {
			return err
		}
	}
	// Pods with hostNetwork see this one.
	return os.Chmod(s.in("config", "hosts"), 0o644)
}

func askContainerd(ctx context.Context, d debian) (containerdVersion, error) {
	cmd := exec.CommandContext(ctx, d.root()+"/usr/bin/containerd", "--version")
	cmd.Env = []string{"LD_LIBRARY_PATH=" + d.libraries()}
	output, err := cmd.CombinedOutput()
	if err != nil {
		return containerdVersion{}, fmt.Errorf("asking containerd for its version: %w: %s", err, output)
	}
	return parseContainerdVersion(string(output))
}

// hasCapability looks at what this process may do.
func hasCapability(number uint) bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "CapEff:"); ok {
			var mask uint64
			_, err := fmt.Sscanf(strings.TrimSpace(rest), "%x", &mask)
			return err == nil && mask&(1<<number) != 0
		}
	}
	return false
}

// installProgram copies this program to where the node runs it from.
func installProgram(s site) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		return fmt.Errorf("reading this program: %w", err)
	}
	return writeFile(s.program(), content, 0o755)
}

// launch starts the node: it clones PID 1 into new namespaces, connects it,
// and only then lets it go.
func launch(ctx context.Context, s site, ip string) error {
	log, err := os.OpenFile(s.in("logs", "node.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the node's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	// Not CommandContext: the node outlives this command.
	cmd := exec.Command(s.program(), nodeCommand, s.in("config", "node.json"))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = "/", []string{"PATH=" + systemPath}, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	gate, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("preparing the node: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}
	if err := plugIn(ctx, ip, cmd.Process.Pid); err != nil {
		// Without the signal the node ends by itself.
		return errors.Join(err, gate.Close(), cmd.Wait())
	}
	if _, err := io.WriteString(gate, startSignal); err != nil {
		return errors.Join(fmt.Errorf("letting the node go: %w", err), gate.Close(), cmd.Wait())
	}
	if err := gate.Close(); err != nil {
		return fmt.Errorf("letting the node go: %w", err)
	}
	// As long as this command runs, it has to collect its child.
	go func() { _ = cmd.Wait() }()
	return nil
}

// lastWords is the end of a log, which down may remove before anybody has looked.
func lastWords(path string) string {
	const most = 2 << 10
	log, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if len(log) == 0 {
		return "(it is empty: the node was killed)"
	}
	return strings.TrimSpace(string(log[max(0, len(log)-most):]))
}

// watch returns a context that ends when the node does.
func watch(ctx context.Context, s site, node process) (context.Context, context.CancelFunc) {
	watched, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for watched.Err() == nil {
			const pause = 200 // milliseconds
			ready, err := unix.Poll([]unix.PollFd{{Fd: int32(node.handle), Events: unix.POLLIN}}, pause)
			if err == nil && ready > 0 {
				cancel(fmt.Errorf("the node ended; the end of its log:\n%s", lastWords(s.in("logs", "node.log"))))
			}
		}
	})
	return watched, func() {
		cancel(context.Canceled)
		watching.Wait() // it uses the node's handle
	}
}
