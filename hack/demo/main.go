// Command demo installs the operator in the sandbox as a user would, through config/default, and builds the
// images of images/base. Then it has one image run that is signed, and another one refused that is not.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

var errUsage = errors.New("usage: demo install|run")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	d, err := newDemo(time.Now())
	if err != nil {
		return err
	}
	switch args[0] {
	case "install":
		return d.install(ctx)
	case "run":
		if err := d.install(ctx); err != nil {
			return err
		}
		if err := d.images(ctx); err != nil {
			return err
		}
		if err := d.admission(ctx); err != nil {
			return err
		}
		d.farewell()
		return nil
	}
	return errUsage
}
