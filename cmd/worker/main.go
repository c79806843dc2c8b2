// Command worker runs in build pods, where "fetch" writes the build context and "push" uploads the image, and in pods that
// scan, where "prepare" gets the images and the vulnerability databases and "report" uploads the reports. In test pods
// "install-probe" puts the probe into a volume.
package main

import (
	"fmt"
	"os"

	_ "golang.org/x/crypto/x509roots/fallback" // The image has no certificate authorities of its own.
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}
