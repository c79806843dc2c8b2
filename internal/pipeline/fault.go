// Package pipeline holds the values that pass between the phases of a build:
// platforms, resolved inputs, digest references and the three ways in which a
// phase can fail to be done. It does no I/O.
package pipeline

import (
	"errors"
	"fmt"
	"time"
)

// A phase that is not done says why with exactly one of three types, because
// each asks for another reaction:
//
//   - Waiting: nothing is wrong, something we watch has not happened yet.
//   - Transient: the same input may succeed later; retry with backoff.
//   - Terminal: the same input will fail again; wait for a changed input.
//
// Any other error counts as transient with reason "InternalError": a defect of ours is
// retried and visible, and never becomes a verdict on somebody's input.

// Waiting says that a phase waits for something it is notified of.
type Waiting struct {
	// Reason is a CamelCase condition reason, for example "BuildRunning".
	Reason string
	// Message says in one sentence what is awaited.
	Message string
	// After is when to look again even if nothing is told. Zero: only when told.
	After time.Duration
}

func (w *Waiting) Error() string { return w.Message }

// Transient is a failure that the same input may survive later.
type Transient struct {
	// Reason is a CamelCase condition reason, for example "RegistryUnavailable".
	Reason string
	// After is the least time to wait before the next try, for example from
	// Retry-After. Zero leaves it to the caller's backoff.
	After time.Duration
	// Err says what we were doing and what came back.
	Err error
}

func (t *Transient) Error() string { return t.Err.Error() }

// Unwrap returns the cause.
func (t *Transient) Unwrap() error { return t.Err }

// Terminal is a failure that the same input will meet again.
type Terminal struct {
	// Reason is a CamelCase condition reason, for example "DockerfileInvalid".
	Reason string
	// Err names the field or object, its value and the fix.
	Err error
	// Retryable: this attempt is over, but another one with the same input may succeed: its pod was evicted, or a
	// registry was away for too long. The attempts are counted, see spec.retries.
	Retryable bool
}

func (t *Terminal) Error() string { return t.Err.Error() }

// Unwrap returns the cause.
func (t *Terminal) Unwrap() error { return t.Err }

// Waitingf makes a Waiting from a format.
func Waitingf(reason, format string, args ...any) error {
	return &Waiting{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Transientf makes a Transient from a format; %w keeps the cause.
func Transientf(reason, format string, args ...any) error {
	return &Transient{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Terminalf makes a Terminal from a format; %w keeps the cause.
func Terminalf(reason, format string, args ...any) error {
	return &Terminal{Reason: reason, Err: fmt.Errorf(format, args...)}
}

// Retryablef makes a Terminal that another attempt may survive, from a format; %w keeps the cause.
func Retryablef(reason, format string, args ...any) error {
	return &Terminal{Reason: reason, Err: fmt.Errorf(format, args...), Retryable: true}
}

// IsRetryable reports whether err is, or wraps, a Terminal that another attempt may survive.
func IsRetryable(err error) bool {
	t, ok := errors.AsType[*Terminal](err)
	return ok && t.Retryable
}

// IsTransient reports whether err is, or wraps, a Transient.
func IsTransient(err error) bool {
	_, ok := errors.AsType[*Transient](err)
	return ok
}

// IsTerminal reports whether err is, or wraps, a Terminal.
func IsTerminal(err error) bool {
	_, ok := errors.AsType[*Terminal](err)
	return ok
}

// IsWaiting reports whether err is, or wraps, a Waiting.
func IsWaiting(err error) bool {
	_, ok := errors.AsType[*Waiting](err)
	return ok
}
