// Old certificate authorities have such serial numbers.
//
//go:debug x509negativeserial=1
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"

	"github.com/ibshafique/base-images/internal/probe"
)

// selfTest as the only argument does nothing and succeeds.
const selfTest = "--self-test"

var errUsage = errors.New("usage: probe --uid=N --gid=N [flags] [-- command of the image]")

// run fails only if nothing can be proven: a check that fails is in the report.
func run(args []string) error {
	if len(args) == 1 && args[0] == selfTest {
		return nil
	}
	o, report, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the probe's own file: %w", err)
	}
	if err := hide(); err != nil {
		return err
	}
	machine := probe.Here(self, selfTest)
	if err := machine.Usable(); err != nil {
		return err
	}
	found, err := machine.Run(context.Background(), o)
	if err != nil {
		return err
	}
	return write(found, report)
}

func parse(args []string) (o probe.Options, report string, err error) {
	set := flag.NewFlagSet("probe", flag.ContinueOnError)
	set.Int64Var(&o.UID, "uid", -1, "user that every process must have")
	set.Int64Var(&o.GID, "gid", -1, "group that every process must have")
	set.BoolVar(&o.AllowShells, "allow-shells", false, "leave out the check for shells")
	set.BoolVar(&o.AllowPackageManagers, "allow-package-managers", false, "leave out the check for package managers")
	set.StringVar(&report, "report", "/dev/termination-log", "file that gets the report in JSON")
	if err := set.Parse(args); err != nil {
		return o, "", err
	}
	if o.UID < 0 || o.GID < 0 {
		return o, "", errUsage
	}
	o.Command = set.Args()
	return o, report, nil
}

// hide keeps programs of the image, which run as the same user, from changing the probe's memory (prctl(2),
// PR_SET_DUMPABLE).
func hide() error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0); errno != 0 {
		return fmt.Errorf("keeping the image's programs out of the probe's memory: %w", errno)
	}
	return nil
}

// write comes last, when no program of the image runs any more that could write to the same file.
func write(r probe.Report, path string) error {
	raw, err := r.Encode()
	if err != nil {
		return err
	}
	for _, c := range r.Checks {
		fmt.Printf("%s %s: %q\n", c.Outcome, c.Name, c.Message)
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
