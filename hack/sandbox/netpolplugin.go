//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A pod's containers start once every CNI plugin has said that its network is there. The last plugin is this program under
// another name: it tells the enforcer which address the pod got, and waits for its rules. So a policy that was there before
// a pod holds from the pod's first packet on.
const (
	netpolPlugin = "basewright-netpol"
	netpolSocket = "/run/basewright-netpol.sock"
	netpolLoaded = "loaded"
	cniVersion   = "0.4.0"

	// enforcedWithin bounds how long a pod waits for its rules. The kubelet tries again.
	enforcedWithin = time.Minute
	// longestClaim and longestCNI bound what is read, in bytes.
	longestClaim = 4 << 10
	longestCNI   = 1 << 20
)

// arguments are those of a subcommand. containerd calls a plugin by its file's name, with none.
func arguments(args []string) []string {
	if filepath.Base(args[0]) == netpolPlugin {
		return []string{netpolPlugin}
	}
	return args[1:]
}

// linkPlugins makes the directory in which containerd looks for plugins.
func linkPlugins(dir, plugins, program string) error {
	found, err := filepath.Glob(filepath.Join(plugins, "*"))
	if err != nil || len(found) == 0 {
		return fmt.Errorf("finding CNI plugins in %s: %d files: %w", plugins, len(found), err)
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return fmt.Errorf("making the directory of CNI plugins: %w", err)
	}
	for _, plugin := range found {
		if err := os.Symlink(plugin, filepath.Join(dir, filepath.Base(plugin))); err != nil {
			return fmt.Errorf("linking a CNI plugin: %w", err)
		}
	}
	return os.Symlink(program, filepath.Join(dir, netpolPlugin))
}

// runNetpolPlugin speaks the protocol of CNI plugins.
func runNetpolPlugin(ctx context.Context, _ []string) error {
	return netpolCNI(ctx, os.Getenv("CNI_COMMAND"), os.Getenv("CNI_ARGS"), os.Stdin, os.Stdout, netpolSocket)
}

// netpolCNI has nothing to do when a pod goes: the enforcer hears of it from the apiserver, and an address without a pod is
// cut off.
func netpolCNI(ctx context.Context, command, args string, in io.Reader, out io.Writer, socket string) error {
	switch command {
	case "ADD":
		result, c, err := readCNI(in, args)
		if err != nil {
			return err
		}
		if err := poll(ctx, enforcedWithin, "the pod's network policies", func(ctx context.Context) error { return announce(ctx, socket, c) }); err != nil {
			return err
		}
		_, err = out.Write(result)
		return err
	case "DEL", "CHECK":
		return nil
	case "VERSION":
		_, err := fmt.Fprintf(out, `{"cniVersion":%q,"supportedVersions":[%[1]q]}`, cniVersion)
		return err
	default:
		return fmt.Errorf("CNI_COMMAND is %q, and may be ADD, DEL, CHECK or VERSION", command)
	}
}

// readCNI finds out who the pod is, and what the plugins before gave it.
func readCNI(in io.Reader, args string) (result json.RawMessage, c claim, err error) {
	var config struct {
		PrevResult json.RawMessage `json:"prevResult"`
	}
	if err := json.NewDecoder(io.LimitReader(in, longestCNI)).Decode(&config); err != nil {
		return nil, c, fmt.Errorf("parsing the configuration of the plugin: %w", err)
	}
	var previous struct {
		IPs []struct {
			Address string `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(config.PrevResult, &previous); err != nil {
		return nil, c, fmt.Errorf("parsing prevResult: %w", err)
	}
	if len(previous.IPs) != 1 {
		return nil, c, fmt.Errorf("prevResult has %d addresses, and has to have one", len(previous.IPs))
	}
	address, err := netip.ParsePrefix(previous.IPs[0].Address)
	if err != nil {
		return nil, c, fmt.Errorf("parsing the pod's address: %w", err)
	}
	uid, err := podUID(args)
	return config.PrevResult, claim{UID: uid, Address: address.Addr()}, err
}

// podUID is in CNI_ARGS, which look like A=1;B=2.
func podUID(args string) (types.UID, error) {
	for pair := range strings.SplitSeq(args, ";") {
		if uid, ok := strings.CutPrefix(pair, "K8S_POD_UID="); ok && uid != "" {
			return types.UID(uid), nil
		}
	}
	return "", errors.New("CNI_ARGS has no K8S_POD_UID")
}

// announce returns once the pod's rules are loaded.
func announce(ctx context.Context, socket string, c claim) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("asking the enforcer of network policies: %w", err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := json.NewEncoder(conn).Encode(c); err != nil {
		return fmt.Errorf("telling the enforcer of network policies of a pod: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, longestClaim))
	if err == nil && string(answer) != netpolLoaded {
		err = fmt.Errorf("it said %q", answer)
	}
	if err != nil {
		return fmt.Errorf("waiting for the enforcer of network policies: %w", err)
	}
	return nil
}

// listen takes announcements from now on. What an earlier enforcer left at path is nobody's any more.
func (e *enforcer) listen(ctx context.Context, path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("removing an old socket: %w", err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("listening for pods: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // It was closed.
			}
			go e.answer(ctx, conn)
		}
	}()
	return nil
}

// answer says that a pod may start, or breaks the connection.
func (e *enforcer) answer(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, enforcedWithin)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	a := announcement{ctx: ctx, loaded: make(chan struct{})}
	if err := json.NewDecoder(io.LimitReader(conn, longestClaim)).Decode(&a.claim); err != nil {
		slog.Error("a pod was announced badly", "error", err)
		return
	}
	select {
	case e.announced <- a:
	case <-ctx.Done():
		return
	}
	select {
	case <-a.loaded:
		_, _ = io.WriteString(conn, netpolLoaded)
	case <-ctx.Done():
		slog.Error("a pod's rules were not loaded in time", "uid", a.UID, "address", a.Address)
	}
}
