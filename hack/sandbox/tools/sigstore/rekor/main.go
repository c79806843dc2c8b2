// Command rekor is a Rekor server and its Trillian in one process. Its arguments are those of rekor-server.
package main

import (
	"fmt"
	"os"

	"github.com/sigstore/rekor/cmd/rekor-server/app"

	"github.com/ibshafique/base-images/hack/sandbox/tools/sigstore/trillian"
)

func main() {
	address, err := trillian.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rekor:", err)
		os.Exit(1)
	}
	os.Args = append(os.Args,
		fmt.Sprintf("--trillian_log_server.address=%s", address.Addr()),
		fmt.Sprintf("--trillian_log_server.port=%d", address.Port()))
	app.Execute()
}
