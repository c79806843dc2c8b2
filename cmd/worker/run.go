package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/worker"
)

var errUsage = errors.New("usage: worker fetch|push [flags]")

type flags struct {
	input, inputDigest, workspace, gitCredentials, layout, dockerConfig, platform, report string
}

// run executes one command and leaves its outcome in the termination log, whatever it is.
func run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	command := args[0]
	if command != "fetch" && command != "push" {
		return fmt.Errorf("%w: unknown command %q", errUsage, command)
	}
	f, err := parse(command, args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	digest, failure := execute(ctx, command, f)
	return errors.Join(failure, report(f.report, digest, failure))
}

func parse(command string, args []string) (flags, error) {
	var f flags
	set := flag.NewFlagSet("worker "+command, flag.ContinueOnError)
	set.StringVar(&f.input, "input", "/input", "directory of the build's input")
	set.StringVar(&f.inputDigest, "input-digest", "", "digest that the build's input must have")
	set.StringVar(&f.platform, "platform", "", "platform that is built, for example linux/amd64")
	set.StringVar(&f.report, "report", worker.TerminationLog, "file that gets the outcome in JSON")
	if command == "fetch" {
		set.StringVar(&f.workspace, "workspace", "/workspace", "directory that gets the context and the Dockerfile")
		set.StringVar(&f.gitCredentials, "git-credentials", "", "directory of the mounted Secret for git; empty to fetch without")
	} else {
		set.StringVar(&f.layout, "layout", "/image/layout", "OCI image layout to push")
		set.StringVar(&f.dockerConfig, "docker-config", "", "Docker config.json with the push credentials; empty to push without")
	}
	if err := set.Parse(args); err != nil {
		return flags{}, err
	}
	if set.NArg() > 0 {
		return flags{}, fmt.Errorf("%w: unexpected argument %q", errUsage, set.Arg(0))
	}
	return f, nil
}

func execute(ctx context.Context, command string, f flags) (string, error) {
	platform, err := pipeline.ParsePlatform(f.platform)
	if err != nil {
		return "", err
	}
	if command == "fetch" {
		return "", worker.Fetch(ctx, worker.FetchOptions{Input: f.input, InputDigest: f.inputDigest, Workspace: f.workspace, GitCredentials: f.gitCredentials, Platform: platform})
	}
	digest, err := worker.Push(ctx, worker.PushOptions{Input: f.input, InputDigest: f.inputDigest, Layout: f.layout, DockerConfig: f.dockerConfig, Platform: platform})
	if err == nil {
		fmt.Println("pushed", digest)
	}
	return digest, err
}

func report(path, digest string, failure error) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("opening the termination log: %w", err)
	}
	return errors.Join(worker.Report(out, digest, failure), out.Close())
}
