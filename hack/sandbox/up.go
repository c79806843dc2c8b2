//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// upper is one run of up.
type upper struct {
	site   site
	p      *progress
	builds builds
	debian debian
	ip     string
	images []madeImage
	hash   string
}

// runUp is the subcommand up. Each step finds out by itself what is there
// already, so that it continues wherever an earlier up ended.
func runUp(ctx context.Context, _ []string) error {
	s, err := newSite()
	if err != nil {
		return err
	}
	if err := preflight(s); err != nil {
		return err
	}
	p := newProgress()
	unlock, err := lock(ctx, p, s.in("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	u := &upper{site: s, p: p}
	for _, step := range []func(context.Context) error{u.prepare, u.ensureNode, u.ensureCluster} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	u.p.say("the sandbox is up; to use it: . %s", filepath.Join(localDir, "env"))
	return nil
}

// prepare builds and downloads what the node is made of.
func (u *upper) prepare(ctx context.Context) error {
	var err error
	if u.debian, err = getDebian(ctx, u.site, u.p); err != nil {
		return err
	}
	if u.ip, err = findIP(u.debian); err != nil {
		return err
	}
	if u.builds, err = build(ctx, u.site, u.p, nodeGroupNames()); err != nil {
		return err
	}
	if u.images, err = makeImages(ctx, u.site, u.p, u.builds, u.debian); err != nil {
		return err
	}
	u.hash, err = u.wanted()
	return err
}

// wanted is a hash over all that decides how the node runs.
func (u *upper) wanted() (string, error) {
	source, err := sourceHash(u.site, "*.go", "manifests/*.yaml")
	if err != nil {
		return "", err
	}
	plan, err := json.Marshal(daemons(u.site, u.builds, u.debian))
	if err != nil {
		return "", fmt.Errorf("encoding the daemons: %w", err)
	}
	sum := sha256.Sum256(append([]byte(source), plan...))
	return hex.EncodeToString(sum[:]), nil
}

// sourceHash covers files of this program, but not its tests.
func sourceHash(s site, patterns ...string) (string, error) {
	var files []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(s.source(pattern))
		if err != nil {
			return "", fmt.Errorf("listing the sandbox's sources: %w", err)
		}
		files = append(files, found...)
	}
	sum := sha256.New()
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		if err := hashFile(sum, file); err != nil {
			return "", fmt.Errorf("hashing the sandbox's sources: %w", err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// ensureNode starts the node unless the right one runs.
func (u *upper) ensureNode(ctx context.Context) error {
	nodes, err := findNodes(u.site)
	if err != nil {
		return err
	}
	defer closeAll(nodes)
	running, _ := os.ReadFile(u.site.in("running"))
	if len(nodes) == 1 && string(running) == u.hash {
		u.p.say("the node runs already, as process %d", nodes[0].pid)
		return nil
	}
	if len(nodes) > 0 {
		u.p.say("stopping the node: what it is made of has changed")
	}
	if err := stopNodes(ctx, u.site, u.ip, nodes); err != nil {
		return err
	}
	return u.p.during("starting the node", func() error { return u.startNode(ctx) })
}

func closeAll(nodes []process) {
	for _, node := range nodes {
		node.close()
	}
}

func (u *upper) startNode(ctx context.Context) error {
	s := u.site
	for _, dir := range []string{"logs", "registry", "git", "kubelet", "containerd"} {
		if err := os.MkdirAll(s.in(dir), 0o711); err != nil {
			return fmt.Errorf("making %s: %w", dir, err)
		}
	}
	if err := u.changeHost(); err != nil {
		return err
	}
	if err := makeCgroups(); err != nil {
		return err
	}
	if err := installProgram(s); err != nil {
		return err
	}
	if err := linkPlugins(s.in("cni"), filepath.Join(u.debian.root(), "usr/lib/cni"), s.program()); err != nil {
		return err
	}
	if err := writeConfig(ctx, s, u.builds, u.debian, u.ip); err != nil {
		return err
	}
	if err := keepOldLogs(s.in("logs")); err != nil {
		return err
	}
	if err := launch(ctx, s, u.ip); err != nil {
		return err
	}
	return writeFile(s.in("running"), []byte(u.hash), 0o644)
}

// changeHost does what cannot be done in the node, and notes how to undo it
// before it does.
func (u *upper) changeHost() error {
	changes, err := readHostChanges(u.site)
	if err != nil {
		return err
	}
	changes.rememberTunables("/proc/sys")
	if err := changes.write(u.site); err != nil {
		return err
	}
	emulator, err := u.debian.emulator()
	if err != nil {
		return err
	}
	mounted, err := registerEmulator(emulator)
	if err != nil {
		u.p.say("RUN in arm64 images will not work, all else will: %v", err)
	}
	changes.MountedBinfmt = changes.MountedBinfmt || mounted
	return changes.write(u.site)
}

// keepOldLogs keeps the logs of one earlier start.
func keepOldLogs(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return fmt.Errorf("listing the logs: %w", err)
	}
	for _, log := range logs {
		if err := os.Rename(log, log+".1"); err != nil {
			return fmt.Errorf("keeping an old log: %w", err)
		}
	}
	return nil
}

// ensureCluster fills the registry and waits for everything to be ready.
func (u *upper) ensureCluster(ctx context.Context) error {
	s := u.site
	node, err := theNode(ctx, s)
	if err != nil {
		return err
	}
	defer node.close()
	ctx, stop := watch(ctx, s, node)
	defer stop()
	if err := setHosts("/etc/hosts", hostsLine(nodeAddress, sandboxHosts)); err != nil {
		return err
	}
	// Whoever starts the sandbox wants all of it.
	if err := removeAll(s.in("sigstore")); err != nil {
		return err
	}
	// A cluster that starts waits more than it works: time to push what only its users need.
	work, ctx := errgroup.WithContext(ctx)
	pushed := make(chan struct{})
	work.Go(func() error {
		return u.p.during("filling the registry", func() error { return u.fillRegistry(ctx, pushed) })
	})
	work.Go(func() error {
		select {
		case <-pushed:
		case <-ctx.Done():
			return nil
		}
		if err := u.p.during("waiting for the cluster", func() error { return u.awaitCluster(ctx) }); err != nil {
			return fmt.Errorf("%w\nthe logs are in %s", err, s.in("logs"))
		}
		return nil
	})
	if err := work.Wait(); err != nil {
		return err
	}
	return writeCheckout(s, u.builds)
}

// theNode finds the node that was just started, or was there. It is not recognised for the moment in which it has
// hidden the host's directories and not brought its own back.
func theNode(ctx context.Context, s site) (process, error) {
	var node process
	err := poll(ctx, 5*time.Second, "the node", func(context.Context) error {
		nodes, err := findNodes(s)
		if err != nil {
			return err
		}
		if len(nodes) != 1 {
			closeAll(nodes)
			return fmt.Errorf("%d of them run", len(nodes))
		}
		node = nodes[0]
		return nil
	})
	if err != nil {
		return process{}, fmt.Errorf("%w; the end of its log:\n%s", err, lastWords(s.in("logs", "node.log")))
	}
	return node, nil
}

// fillRegistry closes pushed as soon as the images are there that the cluster is waiting for.
func (u *upper) fillRegistry(ctx context.Context, pushed chan<- struct{}) error {
	err := poll(ctx, time.Minute, "the registry", func(ctx context.Context) error { return checkFront(ctx, u.site) })
	if err != nil {
		return err
	}
	client, err := newRegistryClient(ctx, u.site)
	if err != nil {
		return err
	}
	for i, image := range u.images {
		if i == neededByCluster {
			close(pushed)
		}
		if err := client.push(image); err != nil {
			return err
		}
	}
	return refreshDatabases(ctx, u.site, u.builds, client)
}

func (u *upper) awaitCluster(ctx context.Context) error {
	config, err := kubeconfig(u.site.in("pki"), "https://"+nodeAddress.String()+":"+apiPort, "admin")
	if err != nil {
		return err
	}
	if err := writeFile(u.site.in("admin.kubeconfig"), config, 0o600); err != nil {
		return err
	}
	c, err := newCluster(u.site, u.builds)
	if err != nil {
		return err
	}
	if err := poll(ctx, 2*time.Minute, "the apiserver", func(ctx context.Context) error { return c.get(ctx, "/readyz", nil) }); err != nil {
		return err
	}
	// Right after its start the apiserver may still be making its own objects.
	if err := poll(ctx, time.Minute, "the manifests to be accepted", c.apply); err != nil {
		return err
	}
	return errors.Join(
		poll(ctx, 2*time.Minute, "the node to be ready", func(ctx context.Context) error { return c.checkNode(ctx, kubeletStart(u.site)) }),
		poll(ctx, 2*time.Minute, "the cluster's DNS", checkDNS),
		poll(ctx, time.Minute, "the ServiceAccount default", c.checkAccount),
		poll(ctx, time.Minute, "Sigstore", func(ctx context.Context) error { return checkSigstore(ctx, u.site) }))
}

// kubeletStart is when the kubelet was started last.
func kubeletStart(s site) time.Time {
	states, err := readDaemonStates(s)
	if err != nil {
		return time.Now()
	}
	at := slices.IndexFunc(states, func(state daemonState) bool { return state.Name == "kubelet" })
	if at < 0 || states[at].PID == 0 {
		return time.Now()
	}
	return states[at].Started
}
