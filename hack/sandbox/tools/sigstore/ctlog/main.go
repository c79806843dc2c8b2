// Command ctlog is a certificate transparency log and its Trillian in one process.
package main

import (
	"context"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/google/certificate-transparency-go/trillian/ctfe"
	"github.com/google/certificate-transparency-go/trillian/ctfe/configpb"
	"github.com/google/trillian"
	"github.com/google/trillian/client"
	"github.com/google/trillian/crypto/keys"
	"github.com/google/trillian/crypto/keys/der"
	"github.com/google/trillian/crypto/keyspb"
	"github.com/google/trillian/monitoring"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	memory "github.com/ibshafique/base-images/hack/sandbox/tools/sigstore/trillian"
)

const timeout = 30 * time.Second

func main() {
	address := flag.String("address", "", "where to listen")
	prefix := flag.String("prefix", "", "the path of the log")
	key := flag.String("key", "", "the file with the private key")
	roots := flag.String("roots", "", "the file with the certificates of those whose certificates are logged")
	flag.Parse()
	if err := run(*address, *prefix, *key, *roots); err != nil {
		fmt.Fprintln(os.Stderr, "ctlog:", err)
		os.Exit(1)
	}
}

func run(address, prefix, key, roots string) error {
	private, err := readKey(key)
	if err != nil {
		return err
	}
	log, tree, err := newTree(context.Background())
	if err != nil {
		return err
	}
	handlers, err := setUp(log, &configpb.LogConfig{
		LogId: tree, Prefix: prefix, PrivateKey: private, RootsPemFile: []string{roots}, ExtKeyUsages: []string{"CodeSigning"},
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	for path, handler := range handlers {
		mux.Handle(path, handler)
	}
	server := &http.Server{Addr: address, Handler: mux, ReadTimeout: timeout, WriteTimeout: timeout}
	return server.ListenAndServe()
}

func readKey(path string) (*anypb.Any, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New("the key is no PEM")
	}
	return anypb.New(&keyspb.PrivateKey{Der: block.Bytes})
}

// newTree starts Trillian, with one empty tree.
func newTree(ctx context.Context) (trillian.TrillianLogClient, int64, error) {
	address, err := memory.Start()
	if err != nil {
		return nil, 0, err
	}
	connection, err := grpc.NewClient(address.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, 0, fmt.Errorf("connecting to Trillian: %w", err)
	}
	log := trillian.NewTrillianLogClient(connection)
	tree, err := client.CreateAndInitTree(ctx, &trillian.CreateTreeRequest{Tree: &trillian.Tree{
		TreeState: trillian.TreeState_ACTIVE, TreeType: trillian.TreeType_LOG, MaxRootDuration: durationpb.New(time.Hour),
	}}, trillian.NewTrillianAdminClient(connection), log)
	if err != nil {
		return nil, 0, fmt.Errorf("making a tree: %w", err)
	}
	return log, tree.GetTreeId(), nil
}

func setUp(log trillian.TrillianLogClient, config *configpb.LogConfig) (ctfe.PathHandlers, error) {
	keys.RegisterHandler(&keyspb.PrivateKey{}, der.FromProto)
	validated, err := ctfe.ValidateLogConfig(config)
	if err != nil {
		return nil, fmt.Errorf("checking the configuration: %w", err)
	}
	instance, err := ctfe.SetUpInstance(context.Background(), ctfe.InstanceOptions{
		Validated: validated, Client: log, Deadline: timeout,
		MetricFactory: monitoring.InertMetricFactory{}, RequestLog: new(ctfe.DefaultRequestLog),
	})
	if err != nil {
		return nil, fmt.Errorf("setting the log up: %w", err)
	}
	return instance.Handlers, nil
}
