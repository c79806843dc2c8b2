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

var errUsage = errors.New("usage: worker fetch|install-probe|prepare|push|report [flags]")

// action does what a command is for, with the flags that were parsed, and says what it has done.
type action func(context.Context) (pipeline.WorkerReport, error)

// commands declare their flags.
var commands = map[string]func(*flag.FlagSet) action{
	"fetch":         fetch,
	"install-probe": installProbe,
	"prepare":       prepare,
	"push":          push,
	"report":        report,
}

// run executes one command and leaves its outcome in the termination log, whatever it is.
func run(args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	if _, known := commands[args[0]]; !known {
		return fmt.Errorf("%w: unknown command %q", errUsage, args[0])
	}
	set, log, execute := define(args[0])
	err := parse(set, args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	done, failure := execute(ctx)
	return errors.Join(failure, leave(*log, done, failure))
}

func define(command string) (set *flag.FlagSet, log *string, execute action) {
	set = flag.NewFlagSet("worker "+command, flag.ContinueOnError)
	log = set.String("report", worker.TerminationLog, "file that gets the outcome in JSON")
	return set, log, commands[command](set)
}

func parse(set *flag.FlagSet, args []string) error {
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, set.Arg(0))
	}
	return nil
}

func leave(path string, done pipeline.WorkerReport, failure error) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("opening the termination log: %w", err)
	}
	return errors.Join(worker.Report(out, done, failure), out.Close())
}

func fetch(set *flag.FlagSet) action {
	var o worker.FetchOptions
	inputFlags(set, &o.Input, &o.InputDigest)
	platform := platformFlag(set)
	set.StringVar(&o.Workspace, "workspace", "/workspace", "directory that gets the context and the Dockerfile")
	set.StringVar(&o.GitCredentials, "git-credentials", "", "directory of the mounted Secret for git; empty to fetch without")
	return func(ctx context.Context) (done pipeline.WorkerReport, err error) {
		if o.Platform, err = pipeline.ParsePlatform(*platform); err == nil {
			err = worker.Fetch(ctx, o)
		}
		return done, err
	}
}

func push(set *flag.FlagSet) action {
	var o worker.PushOptions
	inputFlags(set, &o.Input, &o.InputDigest)
	platform := platformFlag(set)
	set.StringVar(&o.Layout, "layout", "/image/layout", "OCI image layout to push")
	set.StringVar(&o.DockerConfig, "docker-config", "", "Docker config.json with the push credentials; empty to push without")
	return func(ctx context.Context) (done pipeline.WorkerReport, err error) {
		if o.Platform, err = pipeline.ParsePlatform(*platform); err != nil {
			return done, err
		}
		if done.Digest, err = worker.Push(ctx, o); err == nil {
			fmt.Println("pushed", done.Digest)
		}
		return done, err
	}
}

func prepare(set *flag.FlagSet) action {
	var o worker.PrepareOptions
	inputFlags(set, &o.Input, &o.InputDigest)
	set.StringVar(&o.Images, "images", "/images", "directory that gets an OCI image layout for each platform")
	set.StringVar(&o.Databases, "databases", "/databases", "directory that gets the vulnerability databases")
	set.StringVar(&o.Reports, "reports", "/reports", "directory that gets an empty one for each platform")
	set.StringVar(&o.DockerConfig, "docker-config", "", "Docker config.json with the credentials to pull the images; empty to pull without")
	return func(ctx context.Context) (done pipeline.WorkerReport, err error) {
		return done, worker.Prepare(ctx, o)
	}
}

func report(set *flag.FlagSet) action {
	var o worker.ScanReportOptions
	inputFlags(set, &o.Input, &o.InputDigest)
	set.StringVar(&o.Reports, "reports", "/reports", "directory with the reports of each platform")
	set.StringVar(&o.Databases, "databases", "/databases", "directory with the vulnerability databases")
	set.StringVar(&o.DockerConfig, "docker-config", "", "Docker config.json with the push credentials; empty to push without")
	return func(ctx context.Context) (done pipeline.WorkerReport, err error) {
		done.Scan, err = worker.ScanReport(ctx, o)
		for platform, reports := range done.Scan {
			fmt.Printf("pushed the reports of %s: %+v\n", platform, reports)
		}
		return done, err
	}
}

func installProbe(set *flag.FlagSet) action {
	platform := platformFlag(set)
	to := set.String("to", "/probe-volume/probe", "file that gets the probe")
	return func(context.Context) (done pipeline.WorkerReport, err error) {
		p, err := pipeline.ParsePlatform(*platform)
		if err == nil {
			err = worker.InstallProbe(worker.ProbesDir, p, *to)
		}
		return done, err
	}
}

func inputFlags(set *flag.FlagSet, input, digest *string) {
	set.StringVar(input, "input", "/input", "directory of the input")
	set.StringVar(digest, "input-digest", "", "digest that the input must have")
}

func platformFlag(set *flag.FlagSet) *string {
	return set.String("platform", "", "platform that is built, for example linux/amd64")
}
