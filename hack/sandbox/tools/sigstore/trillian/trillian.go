// Package trillian is a Trillian that keeps one tree, in memory, for the log in the same process. They end together, so
// that no log meets a tree that knows less than the log remembers.
package trillian

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/google/trillian"
	"github.com/google/trillian/extension"
	"github.com/google/trillian/log"
	"github.com/google/trillian/quota"
	"github.com/google/trillian/server"
	"github.com/google/trillian/server/admin"
	"github.com/google/trillian/server/interceptor"
	"github.com/google/trillian/storage/memory"
	"github.com/google/trillian/util/clock"
	"google.golang.org/grpc"
)

const (
	// A client waits for its entry to be in the tree.
	sequencingInterval = 50 * time.Millisecond
	batchSize          = 100
)

// Start serves on a port of its own until the process ends, and returns the address.
func Start() (netip.AddrPort, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listening for the log: %w", err)
	}
	address, err := netip.ParseAddrPort(listener.Addr().String())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading the address: %w", err)
	}
	trees := memory.NewTreeStorage()
	registry := extension.Registry{
		AdminStorage: memory.NewAdminStorage(trees), LogStorage: memory.NewLogStorage(trees, nil), QuotaManager: quota.Noop(),
	}
	service := grpc.NewServer(grpc.UnaryInterceptor(interceptor.ErrorWrapper))
	trillian.RegisterTrillianAdminServer(service, admin.New(registry, nil))
	trillian.RegisterTrillianLogServer(service, server.NewTrillianLogRPCServer(registry, clock.System))
	go sequence(registry)
	go func() {
		// Without its tree a log is of no use: whoever started it has to start it again.
		fmt.Fprintln(os.Stderr, "trillian:", service.Serve(listener))
		os.Exit(1)
	}()
	return address, nil
}

// sequence puts what is queued into the tree.
func sequence(registry extension.Registry) {
	log.NewOperationManager(log.OperationInfo{
		Registry: registry, BatchSize: batchSize, NumWorkers: 1, RunInterval: sequencingInterval, TimeSource: clock.System,
	}, log.NewSequencerManager(registry, 0)).OperationLoop(context.Background())
}
