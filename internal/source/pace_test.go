package source

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/stall/stalltest"
)

// slowServer sends the texts of its listing, and those of a pack if there are any, until one that is empty or the last:
// then it is silent. It tells of each.
type slowServer struct {
	listing, pack []string
	said          chan string
}

func newSlowServer(listing, pack []string) *slowServer {
	return &slowServer{listing: listing, pack: pack, said: make(chan string)}
}

func (s *slowServer) send(ctx context.Context, w io.Writer, texts []string) {
	for _, text := range texts {
		_, _ = io.WriteString(w, text)
		flush(w)
		select {
		case s.said <- text:
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
}

func flush(w io.Writer) {
	if response, ok := w.(http.ResponseWriter); ok {
		_ = http.NewResponseController(response).Flush()
	}
}

// ServeHTTP is smart HTTP.
func (s *slowServer) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.Method == http.MethodPost:
		_, _ = io.Copy(io.Discard, req.Body)
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		s.send(req.Context(), w, s.pack)
	case s.pack == nil:
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		s.send(req.Context(), w, s.listing)
	default:
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000"+strings.Join(s.listing, ""))
	}
}

// command is git-upload-pack.
func (s *slowServer) command(ctx context.Context, _ string, channel ssh.Channel) uint32 {
	if s.pack == nil {
		s.send(ctx, channel, s.listing)
		return 0
	}
	_, _ = io.WriteString(channel, strings.Join(s.listing, ""))
	_, _ = channel.Read(make([]byte, 4096))
	s.send(ctx, channel, s.pack)
	return 0
}

// overBoth starts a server for HTTP and one for SSH.
func overBoth(t *testing.T, handler http.Handler, run command) map[string]Git {
	t.Helper()
	overHTTP := httptest.NewServer(handler)
	t.Cleanup(overHTTP.Close)
	client, private := newKey(t, ssh.KeyAlgoED25519)
	host, _ := newKey(t, ssh.KeyAlgoED25519)
	overSSH := serveSSH(t, client.PublicKey(), run, host)
	return map[string]Git{
		"HTTP": {URL: overHTTP.URL + "/repo.git"},
		"SSH":  {URL: overSSH.url("/repo.git"), Credentials: &Credentials{PrivateKey: private, KnownHosts: overSSH.knownBy(host)}},
	}
}

// timed is a configuration whose time passes when told.
func timed(t *testing.T) (Config, *stalltest.Time) {
	t.Helper()
	config, clock := local(t), stalltest.NewTime()
	config.clock = clock.Clock()
	return config, clock
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not so after 20 s", what)
		}
	}
}

func TestSlowServersAreGivenUp(t *testing.T) {
	t.Parallel()
	listing := []string{advertised("7217a7c7e582c46cec22a130adf4b9d7d950fba0 HEAD\x00"), "0000"}
	const (
		late     = "did not begin to come in 2m (4 times limits.source.stallTimeout)"
		stalled  = "brought less than 64Ki in 30s (limits.source.stallBytes and stallTimeout)"
		begins   = 2 * time.Minute
		stalls   = 30 * time.Second
		accepted = "00000008NAK\n"
	)
	for name, tc := range map[string]struct {
		listing, pack []string
		// alarm that is set, at most, when the server is silent.
		alarm time.Duration
		says  string
	}{
		"nothing of the list":                       {listing: []string{""}, alarm: begins, says: "the list of references " + late},
		"a part of the list":                        {listing: []string{"00"}, alarm: stalls, says: "the list of references " + stalled},
		"the list in drops":                         {listing: []string{"0", "0", "4", "8"}, alarm: stalls, says: "the list of references " + stalled},
		"nothing of the pack":                       {listing: listing, pack: []string{""}, alarm: begins, says: "the pack of objects " + late},
		"what comes before the pack":                {listing: listing, pack: []string{accepted}, alarm: begins, says: "the pack of objects " + late},
		"what comes before the pack, and packets":   {listing: listing, pack: []string{accepted, "0005\x01", "0005\x01", "000a\x02wait\n"}, alarm: begins, says: "the pack of objects " + late},
		"a part of the pack":                        {listing: listing, pack: []string{accepted, "000a\x01PACK\n"}, alarm: stalls, says: "the pack of objects " + stalled},
		"a part of the pack, and then packets only": {listing: listing, pack: []string{accepted, "000a\x01PACK\n", "0005\x01", "000a\x02wait\n"}, alarm: stalls, says: "the pack of objects " + stalled},
	} {
		server := newSlowServer(tc.listing, tc.pack)
		for protocol, git := range overBoth(t, server, server.command) {
			t.Run(name+", over "+protocol, func(t *testing.T) {
				config, clock := timed(t)
				resolver, failed := NewResolver(config), make(chan error, 1)
				go func() {
					_, err := resolver.ResolveGit(t.Context(), git, "")
					failed <- err
				}()
				told := tc.pack
				if told == nil {
					told = tc.listing
				}
				for range told {
					<-server.said
				}
				var err error
				eventually(t, "it fails", func() bool {
					// What is said may not have been read yet: the time to the alarm of before must not pass.
					if next := clock.Next(); next >= 0 && next <= tc.alarm {
						clock.Pass(next)
					}
					select {
					case err = <-failed:
						return true
					default:
						return false
					}
				})
				wantTransient(t, err, 0)
				if !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), git.URL) {
					t.Errorf("says %q, want %q", err, tc.says)
				}
				if n := len(resolver.slots.all) + len(resolver.slots.tenants); n != 0 || clock.Pending() != 0 {
					t.Errorf("%d slots are held, %d alarms are set", n, clock.Pending())
				}
			})
		}
	}
}

// pausing is an answer that stops for a while where git begins to count objects.
type pausing struct {
	io.Writer
	paused chan<- struct{}
	resume <-chan struct{}
}

// Write implements io.Writer.
func (p *pausing) Write(b []byte) (int, error) {
	const accepted = "0008NAK\n"
	at := bytes.Index(b, []byte(accepted))
	if at < 0 {
		return p.Writer.Write(b)
	}
	at += len(accepted)
	if _, err := p.Writer.Write(append(bytes.Clone(b[:at]), "0005\x01"...)); err != nil {
		return 0, err
	}
	flush(p.Writer)
	p.paused <- struct{}{}
	<-p.resume
	n, err := p.Writer.Write(b[at:])
	return at + n, err
}

type pausingResponse struct {
	http.ResponseWriter
	*pausing
}

func (r *pausingResponse) Write(b []byte) (int, error) { return r.pausing.Write(b) }

type pausingChannel struct {
	ssh.Channel
	*pausing
}

func (c *pausingChannel) Write(b []byte) (int, error) { return c.pausing.Write(b) }

// reading tells when somebody reads on after an empty packet.
type reading struct {
	http.RoundTripper
	on chan struct{}
}

// RoundTrip implements http.RoundTripper.
func (r *reading) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := r.RoundTripper.RoundTrip(req)
	if err == nil {
		res.Body = &readingBody{ReadCloser: res.Body, on: r.on}
	}
	return res, err
}

type readingBody struct {
	io.ReadCloser
	on    chan struct{}
	empty bool
}

// Read implements io.Reader.
func (r *readingBody) Read(p []byte) (int, error) {
	if r.empty {
		r.on <- struct{}{}
	}
	n, err := r.ReadCloser.Read(p)
	r.empty = bytes.HasSuffix(p[:n], []byte("0005\x01"))
	return n, err
}

func TestAServerMayCountObjectsForAWhile(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	one := r.commit()
	paused, resume := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.handler.ServeHTTP(&pausingResponse{w, &pausing{w, paused, resume}}, req)
	})
	run := func(ctx context.Context, _ string, channel ssh.Channel) uint32 {
		return runShell(ctx, "git-upload-pack "+shellQuote(r.bare), &pausingChannel{channel, &pausing{channel, paused, resume}})
	}
	for protocol, git := range overBoth(t, handler, run) {
		t.Run(protocol, func(t *testing.T) {
			config, clock := timed(t)
			on := make(chan struct{})
			config.Transport = &reading{RoundTripper: config.Transport, on: on}
			type result struct {
				rev pipeline.Revision
				err error
			}
			done := make(chan result, 1)
			go func() {
				rev, err := NewResolver(config).ResolveGit(t.Context(), git, "")
				done <- result{rev, err}
			}()
			<-paused
			if protocol == "HTTP" { // of SSH, another goroutine reads the connection
				<-on
			}
			eventually(t, "the answer is awaited", func() bool { return clock.Next() == 2*time.Minute })
			clock.Pass(time.Minute)
			resume <- struct{}{}
			if got := <-done; got.err != nil || got.rev.ID != one {
				t.Errorf("got %+v, %v", got.rev, got.err)
			}
		})
	}
}

func TestOneTenantLeavesASlotToOthers(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.write("Dockerfile", "FROM one\n", 0o644)
	one := r.commit()
	listing := []string{advertised("7217a7c7e582c46cec22a130adf4b9d7d950fba0 HEAD\x00"), "0000"}
	resolver := NewResolver(local(t))
	ctx, leave := context.WithCancel(t.Context())
	failed, servers := make(chan error, 2), []*slowServer{}
	for range 2 {
		server := newSlowServer(listing, []string{"00000008NAK\n", "000a\x01PACK\n"})
		started := httptest.NewServer(server)
		t.Cleanup(started.Close)
		servers = append(servers, server)
		go func() {
			_, err := resolver.ResolveGit(ctx, Git{URL: started.URL + "/x", Tenant: "slow"}, "")
			failed <- err
		}()
	}
	// One of them is being read, and the other one waits.
	select {
	case <-servers[0].said:
	case <-servers[1].said:
	}
	eventually(t, "the other one waits", func() bool {
		resolver.slots.mu.Lock()
		defer resolver.slots.mu.Unlock()
		slow := resolver.slots.tenants["slow"]
		return slow != nil && slow.reads == 2
	})
	for range 3 {
		if rev, err := resolver.ResolveGit(t.Context(), Git{URL: r.url, Tenant: "honest"}, ""); err != nil || rev.ID != one {
			t.Errorf("got %+v, %v", rev, err)
		}
		resolver.cache.Purge()
	}
	leave()
	for range 2 {
		wantTransient(t, <-failed, 0)
	}
	if n := len(resolver.slots.all) + len(resolver.slots.tenants); n != 0 {
		t.Errorf("%d slots are held", n)
	}
}

func TestSlotsOfATenant(t *testing.T) {
	t.Parallel()
	for parallel, want := range map[int]int{1: 1, 2: 1, 3: 2, 32: 31} {
		s := newSlots(parallel)
		ended, end := context.WithCancel(t.Context())
		var releases []func()
		for range want {
			release, err := s.take(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
		end()
		if _, err := s.take(ended, "a"); err == nil {
			t.Errorf("of %d, one tenant has more than %d", parallel, want)
		}
		if parallel > 1 {
			release, err := s.take(t.Context(), "b")
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
		if _, err := s.take(ended, "c"); err == nil {
			t.Errorf("there are more than %d", parallel)
		}
		for _, release := range releases {
			release()
		}
		if len(s.all) != 0 || len(s.tenants) != 0 {
			t.Errorf("%d slots are held, %d tenants are known", len(s.all), len(s.tenants))
		}
	}
}
