//go:build linux

// Command sandbox runs a real single-node Kubernetes cluster, with a registry,
// a git server and a Sigstore, on one Linux machine. See README.md beside this file.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// errUsage makes main print how the program is called.
var errUsage = errors.New("unknown command")

// command is one subcommand. Internal ones are called by the sandbox itself.
type command struct {
	name     string
	args     string
	help     string
	internal bool
	run      func(ctx context.Context, args []string) error
}

var commands = []command{
	{name: "up", help: "start the sandbox, or make sure that it is up", run: runUp},
	{name: "status", help: "say what runs; exit 0 only when it is up and healthy", run: runStatus},
	{name: "down", help: "remove everything that up made, except the build cache", run: runDown},
	{name: "build", args: "[group...]", help: "only build the programs (" + strings.Join(groupNames(), ", ") + ")", run: runBuild},
	{name: "path", args: "[group]", help: "print the directory of a group's programs; by default etcd, kube-apiserver and kubectl (for envtest)", run: runPath},
	{name: "image", args: "--repository R --tag T --entrypoint E [--user U] host=image...", help: "push an image of host files, print its digest", run: runImage},
	{name: "git-repo", args: "<name>", help: "make sure a bare repository exists, print its URL", run: runGitRepo},
	{name: "outage", args: "<repository> begin|end", help: "break every connection about a repository, or those below it", run: runOutage},
	{name: "digest", args: "<repository>:<tag>", help: "print what a tag in the registry means, by digest", run: runDigest},
	{name: "databases", args: "fresh|stale|missing|corrupt", help: "switch which vulnerability databases are served", run: runDatabases},
	{name: "sigstore", args: "fulcio|rekor|ctlog|timestamp start|stop|garbage|slow", help: "stop a service of Sigstore, or make it useless, until it is started again", run: runSigstore},
	{name: registryService, args: "start|stop|garbage|slow", help: "stop the registry, or make it useless, until it is started again", run: runRegistry},
	{name: nodeCommand, internal: true, run: runNode},
	{name: serveCommand, internal: true, run: runServe},
	{name: netpolCommand, internal: true, run: runNetpol},
	{name: netpolPlugin, internal: true, run: runNetpolPlugin},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, arguments(os.Args))
	stop()
	if errors.Is(err, errUsage) {
		fmt.Fprint(os.Stderr, usage())
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "sandbox: %v\n", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	at := slices.IndexFunc(commands, func(c command) bool { return c.name == args[0] })
	if at < 0 {
		return errUsage
	}
	return commands[at].run(ctx, args[1:])
}

func usage() string {
	var text strings.Builder
	text.WriteString("usage: go run ./hack/sandbox <command>\n\n")
	for _, c := range commands {
		if !c.internal {
			fmt.Fprintf(&text, "  %s\n        %s\n", strings.TrimSpace(c.name+" "+c.args), c.help)
		}
	}
	return text.String()
}
