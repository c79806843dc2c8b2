// Command timestamp is a timestamp authority without what the stock program has beside it: a server for metrics on a
// fixed port, which Rekor wants for its own, and questions to time servers on the Internet.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	// For the defaults of its settings.
	_ "github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server/app"
	"github.com/sigstore/timestamp-authority/v2/pkg/log"
	"github.com/sigstore/timestamp-authority/v2/pkg/server"
	"github.com/spf13/viper"
)

const timeout = 30 * time.Second

func main() {
	port := flag.Int("port", 0, "the port on 127.0.0.1")
	key := flag.String("key", "", "the file with the private key")
	chain := flag.String("chain", "", "the file with the certificates, from the key's to the root")
	flag.Parse()
	log.ConfigureLogger("dev")
	viper.Set("timestamp-signer", "file")
	viper.Set("file-signer-key-path", *key)
	viper.Set("certificate-chain-path", *chain)
	fmt.Fprintln(os.Stderr, "timestamp:", server.NewRestAPIServer("127.0.0.1", *port, []string{"http"}, false, timeout, timeout).Serve())
	os.Exit(1)
}
