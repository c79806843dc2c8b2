//go:build !linux

// Command sandbox runs on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "sandbox: the sandbox runs on Linux only: it is made of Linux namespaces")
	os.Exit(1)
}
