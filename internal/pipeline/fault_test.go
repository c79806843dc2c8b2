package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"
)

func TestFaultsKeepTheirKindAndCause(t *testing.T) {
	const reason = "SomeReason"
	tests := map[string]struct {
		err                          error
		terminal, transient, waiting bool
		message                      string
		cause                        error
	}{
		"terminal":  {err: Terminalf(reason, "reading %q: %w", "a", fs.ErrNotExist), terminal: true, message: `reading "a": file does not exist`, cause: fs.ErrNotExist},
		"transient": {err: Transientf(reason, "reading %q: %w", "a", fs.ErrClosed), transient: true, message: `reading "a": file already closed`, cause: fs.ErrClosed},
		"waiting":   {err: Waitingf(reason, "%d Jobs run", 2), waiting: true, message: "2 Jobs run"},
		"wrapped": {err: fmt.Errorf("linux/amd64: %w", fmt.Errorf("building: %w", Terminalf(reason, "x: %w", fs.ErrNotExist))),
			terminal: true, message: "linux/amd64: building: x: file does not exist", cause: fs.ErrNotExist},
		"wrapped and transient": {err: fmt.Errorf("linux/amd64: %w", Transientf(reason, "x")), transient: true, message: "linux/amd64: x"},
		"wrapped and waiting":   {err: fmt.Errorf("linux/amd64: %w", Waitingf(reason, "x")), waiting: true, message: "linux/amd64: x"},
		"joined":                {err: errors.Join(errors.New("a"), Terminalf(reason, "b")), terminal: true, message: "a\nb"},
		"none":                  {err: fs.ErrNotExist, message: "file does not exist", cause: fs.ErrNotExist},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			terminal, isTerminal := errors.AsType[*Terminal](tt.err)
			transient, isTransient := errors.AsType[*Transient](tt.err)
			waiting, isWaiting := errors.AsType[*Waiting](tt.err)
			if isTerminal != tt.terminal || isTransient != tt.transient || isWaiting != tt.waiting {
				t.Fatalf("terminal %t, transient %t, waiting %t", isTerminal, isTransient, isWaiting)
			}
			if IsTerminal(tt.err) != tt.terminal || IsWaiting(tt.err) != tt.waiting {
				t.Errorf("IsTerminal %t, IsWaiting %t", IsTerminal(tt.err), IsWaiting(tt.err))
			}
			if isTerminal && terminal.Reason != reason || isTransient && transient.Reason != reason || isWaiting && waiting.Reason != reason {
				t.Errorf("the reason is lost: %v %v %v", terminal, transient, waiting)
			}
			if tt.err.Error() != tt.message {
				t.Errorf("got %q, want %q", tt.err, tt.message)
			}
			if tt.cause != nil && !errors.Is(tt.err, tt.cause) {
				t.Errorf("the cause %v is lost", tt.cause)
			}
		})
	}
	if IsTerminal(nil) || IsWaiting(nil) {
		t.Error("no error is a fault")
	}
}

func TestUnwrap(t *testing.T) {
	cause := errors.New("x")
	for desc, err := range map[string]error{
		"terminal":  &Terminal{Reason: "A", Err: cause},
		"transient": &Transient{Reason: "A", After: time.Second, Err: cause},
	} {
		if got := errors.Unwrap(err); !errors.Is(got, cause) {
			t.Errorf("%s unwraps to %v", desc, got)
		}
	}
	if got := errors.Unwrap(Waitingf("A", "x")); got != nil {
		t.Errorf("waiting unwraps to %v", got)
	}
}
