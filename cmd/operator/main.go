// Command operator builds base images.
package main

import (
	"fmt"
	"os"
	_ "time/tzdata" // The image has no files beside the program: time zones come along,

	_ "golang.org/x/crypto/x509roots/fallback" // and the certificate authorities of the web.
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	if err := run(ctrl.SetupSignalHandler(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}
