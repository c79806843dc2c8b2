package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

const (
	// readTimeout of a request, with its body. It also ends the context of a handler, so it is longer than any apiserver waits.
	readTimeout = 35 * time.Second
	// writeTimeout of an answer, from the head of its request on: longer than any apiserver waits.
	writeTimeout = 40 * time.Second
	// idleTimeout is longer than that of apiservers, 90 s: who closes a connection first must be who might still use it.
	idleTimeout = 3 * time.Minute
	// closeTimeout of requests that are under way when the listener closes: as long as apiservers wait for them.
	closeTimeout = 10 * time.Second

	maxHeader = 64 << 10
)

// certificateSource has the certificate of now.
type certificateSource func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// server serves what is registered with the server of controller-runtime, in a way by which no request is lost: requests
// under way are not cancelled when it ends, and while it drains, each answer asks to take another connection.
type server struct {
	ctrlwebhook.Server
	mux         *http.ServeMux
	address     string
	certificate certificateSource
	draining    *atomic.Bool
	listening   atomic.Bool
	// bound is told the address, in tests.
	bound func(net.Addr)
}

func newServer(address string, certificate certificateSource, draining *atomic.Bool) *server {
	mux := http.NewServeMux()
	return &server{Server: ctrlwebhook.NewServer(ctrlwebhook.Options{WebhookMux: mux}), mux: mux,
		address: address, certificate: certificate, draining: draining}
}

// Start serves until ctx ends, and then ends what is under way.
func (s *server) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("listening for requests: %w", err)
	}
	if s.bound != nil {
		s.bound(listener.Addr())
	}
	srv := s.http()
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeTLS(listener, "", "") }()
	s.listening.Store(true)
	defer s.listening.Store(false)
	select {
	case err := <-ended:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	return s.end(ctx, srv)
}

// end waits for what is under way; ctx has ended.
func (s *server) end(ctx context.Context, srv *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("waiting for requests under way: %w", err), srv.Close())
	}
	return nil
}

func (s *server) http() *http.Server {
	return &http.Server{
		Handler:     http.HandlerFunc(s.serve),
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: s.certificate},
		// Apiservers ask webhooks by HTTP/1.1, so that replicas share the requests.
		Protocols: http1(),
		ErrorLog:  slog.NewLogLogger(logr.ToSlogHandler(ctrl.Log.WithName("server")), slog.LevelInfo),
	}
}

func http1() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	return p
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	s.mux.ServeHTTP(w, r)
}

// check is a healthz.Checker.
func (s *server) check(*http.Request) error {
	if !s.listening.Load() {
		return errors.New("requests are not listened for yet")
	}
	return nil
}

// StartedChecker is of the server of controller-runtime.
func (s *server) StartedChecker() healthz.Checker { return s.check }
