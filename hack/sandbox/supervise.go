//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A daemon that dies is started again after a pause that grows to maxBackoff;
// one that ran for longer than steady starts over with the shortest pause.
const (
	minBackoff = 500 * time.Millisecond
	maxBackoff = 15 * time.Second
	steady     = time.Minute
	// needWithin is how long a daemon waits for what it needs before it says
	// so in the log, and waits again.
	needWithin = time.Minute
)

// daemonState is what status shows of a daemon.
type daemonState struct {
	Name     string    `json:"name"`
	PID      int       `json:"pid"` // in the node's namespace; 0 when it does not run
	Started  time.Time `json:"started,omitzero"`
	Restarts int       `json:"restarts"`
	Last     string    `json:"last,omitempty"`
}

// supervisor is the node's init. As PID 1 it inherits every orphan in the
// node, so it alone waits for children: a second waiter would steal the exit
// status that the other one is waiting for.
type supervisor struct {
	site site

	mu     sync.Mutex
	exits  map[int]chan syscall.WaitStatus
	states map[string]*daemonState
}

func newSupervisor(s site) *supervisor {
	return &supervisor{site: s, exits: map[int]chan syscall.WaitStatus{}, states: map[string]*daemonState{}}
}

// run keeps the daemons running until ctx is done. It does not stop them: the
// kernel does, the moment PID 1 ends.
func (s *supervisor) run(ctx context.Context, daemons []daemon) error {
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	for _, d := range daemons {
		s.update(d.Name, func(*daemonState) {})
		go s.keep(ctx, d)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-children:
			s.reap()
		}
	}
}

// reap collects every child that ended. One signal may stand for several.
func (s *supervisor) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
		if exit, ok := s.exits[pid]; ok {
			exit <- status
			delete(s.exits, pid)
		}
	}
}

// keep starts a daemon again whenever it ends.
func (s *supervisor) keep(ctx context.Context, d daemon) {
	backoff := minBackoff
	for ctx.Err() == nil {
		s.awaitNeeds(ctx, d)
		began := time.Now()
		last := s.once(ctx, d)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > steady {
			backoff = minBackoff
		}
		slog.Warn("daemon ended", "daemon", d.Name, "reason", last, "backoff", backoff)
		s.update(d.Name, func(state *daemonState) {
			state.PID, state.Started, state.Last = 0, time.Time{}, last
			state.Restarts++
		})
		wait(ctx, backoff)
		backoff = min(2*backoff, maxBackoff)
	}
}

func (s *supervisor) awaitNeeds(ctx context.Context, d daemon) {
	for _, need := range d.Needs {
		for ctx.Err() == nil {
			err := poll(ctx, needWithin, need, func(ctx context.Context) error { return s.answers(ctx, need) })
			if err == nil {
				break
			}
			slog.Warn("daemon is waiting", "daemon", d.Name, "error", err)
		}
	}
}

// answers tells whether something listens on an address, or serves a URL.
func (s *supervisor) answers(ctx context.Context, need string) error {
	if strings.HasPrefix(need, httpsPrefix) {
		return checkURL(ctx, s.site, need)
	}
	network, address := dialAddress(need)
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// once runs a daemon and says how it ended.
func (s *supervisor) once(ctx context.Context, d daemon) string {
	exit, err := s.start(d)
	if err != nil {
		return err.Error()
	}
	select {
	case <-ctx.Done():
		return "the node is shutting down"
	case status := <-exit:
		return describe(status)
	}
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + status.Signal().String()
	}
	return fmt.Sprintf("exited with status %d", status.ExitStatus())
}

func (s *supervisor) start(d daemon) (<-chan syscall.WaitStatus, error) {
	log, err := os.OpenFile(s.site.in("logs", d.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(d.Path, d.Args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = d.Env, log, log, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	exit := make(chan syscall.WaitStatus, 1)
	// Held until the child is known: it may end before Start returns.
	s.mu.Lock()
	if err := cmd.Start(); err != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("starting %s: %w", d.Path, err)
	}
	pid := cmd.Process.Pid
	s.exits[pid] = exit
	s.mu.Unlock()
	// reap waits for it, not os/exec.
	_ = cmd.Process.Release()
	s.update(d.Name, func(state *daemonState) { state.PID, state.Started = pid, time.Now() })
	return exit, nil
}

// update changes what is known of a daemon and writes all of it for status.
func (s *supervisor) update(name string, change func(*daemonState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.states[name] == nil {
		s.states[name] = &daemonState{Name: name}
	}
	change(s.states[name])
	content, err := json.Marshal(s.states)
	if err == nil {
		err = writeFile(s.site.in("daemons.json"), content, 0o644)
	}
	if err != nil {
		slog.Error("writing the state of the daemons failed", "error", err)
	}
}

// wait pauses unless ctx is done first.
func wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
