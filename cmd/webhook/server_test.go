package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"
)

var _ ctrlwebhook.Server = &server{}

// standIn has a certificate, and a client that trusts it.
func standIn(t *testing.T) (tls.Certificate, *http.Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return s.TLS.Certificates[0], &http.Client{Transport: transport}
}

// started is a server that runs until the function is called, which returns how it has ended.
func started(t *testing.T, draining *atomic.Bool, hook http.HandlerFunc) (s *server, url string, client *http.Client, end func() error) {
	t.Helper()
	pair, client := standIn(t)
	s = newServer("127.0.0.1:0", func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }, draining)
	s.Register("/hook", hook)
	bound := make(chan net.Addr, 1)
	s.bound = func(a net.Addr) { bound <- a }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	end = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = end() })
	return s, "https://" + (<-bound).String() + "/hook", client, end
}

func ask(t *testing.T, client *http.Client, url string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	return resp, err
}

func TestRequestsDuringTheDrainSucceedAndTakeAnotherConnectionNextTime(t *testing.T) {
	draining := &atomic.Bool{}
	_, url, client, end := started(t, draining, func(http.ResponseWriter, *http.Request) {})
	resp, err := ask(t, client, url)
	if err != nil || resp.Close || resp.ProtoMajor != 1 {
		t.Fatalf("before: %v, %v", resp, err)
	}
	draining.Store(true)
	for range 3 {
		if resp, err := ask(t, client, url); err != nil || resp.StatusCode != http.StatusOK || !resp.Close {
			t.Fatalf("during the drain: %v, %v", resp, err)
		}
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	if _, err := ask(t, client, url); err == nil {
		t.Error("there is an answer after the end")
	}
}

func TestARequestUnderWayIsFinishedAndNotCancelled(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	var cancelled atomic.Bool
	_, url, client, end := started(t, &atomic.Bool{}, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		cancelled.Store(r.Context().Err() != nil)
	})
	answered := make(chan error, 1)
	go func() {
		_, err := ask(t, client, url)
		answered <- err
	}()
	<-arrived
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	// The listener is closed first, so nobody new comes in: then it waits.
	for {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", url[len("https://"):len(url)-len("/hook")])
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	select {
	case err := <-ended:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-ended; err != nil || cancelled.Load() {
		t.Errorf("got %v, cancelled: %t", err, cancelled.Load())
	}
}

func TestItListensOnceItDoes(t *testing.T) {
	idle := newServer("127.0.0.1:0", nil, &atomic.Bool{})
	if idle.check(nil) == nil || idle.StartedChecker()(nil) == nil {
		t.Error("it listens before it has started")
	}
	s, url, client, end := started(t, &atomic.Bool{}, func(http.ResponseWriter, *http.Request) {})
	if _, err := ask(t, client, url); err != nil {
		t.Fatal(err)
	}
	if err := s.check(nil); err != nil {
		t.Error(err)
	}
	_ = end()
	if s.check(nil) == nil {
		t.Error("it listens after it has ended")
	}
}

func TestAPortThatIsTakenIsAnError(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	if err := newServer(taken.Addr().String(), nil, &atomic.Bool{}).Start(t.Context()); err == nil {
		t.Error("no error")
	}
}

// An apiserver keeps connections for 90 s and gives a webhook at most 30 s, however it is configured.
func TestTimesOfTheServerFitThoseOfApiservers(t *testing.T) {
	srv := newServer("", nil, nil).http()
	if srv.IdleTimeout <= 90*time.Second || srv.ReadTimeout <= 30*time.Second || srv.WriteTimeout <= 30*time.Second || srv.TLSConfig.MinVersion < tls.VersionTLS13 {
		t.Errorf("got %+v", srv)
	}
}

func TestItServesWhileItDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining := &atomic.Bool{}
		ctx, cancel := context.WithCancel(t.Context())
		serving := drained(ctx, clock.RealClock{}, 10*time.Second, draining)
		ready := notDraining(draining)
		if serving.Err() != nil || ready(nil) != nil {
			t.Error("it ends before it has to")
		}
		cancel()
		synctest.Wait()
		if serving.Err() != nil || !errors.Is(ready(nil), errDraining) {
			t.Errorf("told to end: %v, %v", serving.Err(), ready(nil))
		}
		time.Sleep(10*time.Second - 1) // Of the bubble.
		if serving.Err() != nil {
			t.Error("it ends before the drain does")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if serving.Err() == nil {
			t.Error("it does not end")
		}
	})
}
