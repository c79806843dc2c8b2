package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Classify says what an error of a registry means for a build. doing is what was being
// done and to which reference, for example "reading manifest docker.io/library/alpine:3".
//
//	refused address, host or redirect     Terminal RegistryAddressNotAllowed
//	over a limit                          Terminal ImageTooLarge
//	tag that must not move                Terminal TagImmutable
//	401, 403                              Terminal RegistryDenied
//	404                                   Terminal ImageNotFound
//	other 4xx                             Terminal RegistryRejected
//	bytes with another digest             Transient DigestMismatch
//	408, 429, 5xx, timeouts, DNS, TLS,
//	connections refused or broken         Transient RegistryUnavailable, After from Retry-After
//
// A fault stays what it is. context.Canceled, and what is none of the above, are wrapped
// and have no type. nil stays nil.
func Classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	if isFault(err) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	for _, as := range []func(string, error) error{asRefusedAddress, asContent, asStatus, asUnavailable, asRefused} {
		if fault := as(doing, err); fault != nil {
			return fault
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// classify is Classify for a call with ctx. Calls share the login at a registry; one that
// was cancelled during it does not speak for the others.
func (c *Client) classify(ctx context.Context, doing string, err error) error {
	if errors.Is(err, errSlow) || errors.Is(err, context.Canceled) && !errors.Is(ctx.Err(), context.Canceled) {
		return unavailable(doing, errSlow)
	}
	return Classify(doing, err)
}

func isFault(err error) bool {
	_, transient := errors.AsType[*pipeline.Transient](err)
	return transient || pipeline.IsTerminal(err) || pipeline.IsWaiting(err)
}

func asRefusedAddress(doing string, err error) error {
	if _, ok := errors.AsType[*AddressError](err); ok {
		return terminal(pipeline.ReasonRegistryAddress, doing, err, "")
	}
	return nil
}

func asContent(doing string, err error) error {
	if e, ok := errors.AsType[*TooLargeError](err); ok {
		return tooLarge(doing, e.What, e.Limit)
	}
	if _, ok := errors.AsType[*DigestError](err); ok {
		return &pipeline.Transient{Reason: pipeline.ReasonDigestMismatch, Err: &opError{doing: doing, err: err}}
	}
	if e, ok := errors.AsType[*ThrottledError](err); ok {
		return &pipeline.Transient{Reason: pipeline.ReasonRegistryUnavailable, After: e.After, Err: &opError{doing: doing, err: err}}
	}
	return nil
}

func asStatus(doing string, err error) error {
	e, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return nil
	}
	switch {
	case immutable(e):
		return terminal(pipeline.ReasonTagImmutable, doing, err, "the tag exists and the registry does not let it move: choose another tag in spec.output.tags, or change the rule for this repository")
	case e.StatusCode == http.StatusUnauthorized, e.StatusCode == http.StatusForbidden:
		return terminal(pipeline.ReasonRegistryDenied, doing, err, "check that the repository exists and that the secret for this registry may use it")
	case e.StatusCode == http.StatusNotFound:
		return terminal(pipeline.ReasonImageNotFound, doing, err, "check the spelling of the repository and of the tag or digest")
	case e.Temporary(), e.StatusCode >= 500, e.StatusCode == 499, e.StatusCode == http.StatusTooManyRequests:
		return unavailable(doing, err)
	case e.StatusCode >= 400:
		return terminal(pipeline.ReasonRegistryRejected, doing, err, "")
	}
	return nil
}

// immutable recognises how registries say that a tag must not move. The specification has
// no code for it: ECR answers TAG_INVALID, Harbor PRECONDITION, Artifact Registry
// FAILED_PRECONDITION, Azure that the operation is disallowed.
func immutable(e *transport.Error) bool {
	if e.Request == nil || e.Request.Method != http.MethodPut || e.StatusCode >= 500 {
		return false
	}
	for _, d := range e.Errors {
		said := strings.ToLower(string(d.Code) + " " + d.Message)
		for _, word := range []string{"immutab", "cannot be overwritten", "operation is disallowed"} {
			if strings.Contains(said, word) {
				return true
			}
		}
	}
	return false
}

func asUnavailable(doing string, err error) error {
	if badCertificate(err) {
		return &pipeline.Transient{Reason: pipeline.ReasonRegistryUnavailable, Err: &opError{
			doing: doing, err: err, fix: "if its authority is private, add it to registries.caBundle",
		}}
	}
	_, network := errors.AsType[net.Error](err)
	_, op := errors.AsType[*net.OpError](err)
	if network && !isRefused(err) || op || broken(err) {
		return unavailable(doing, err)
	}
	return nil
}

// isRefused tells a refusal of ours from a failed request: both arrive in a url.Error,
// which is a net.Error.
func isRefused(err error) bool {
	_, ok := errors.AsType[*RefusedError](err)
	return ok
}

func badCertificate(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

func broken(err error) bool {
	for _, target := range []error{
		context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func asRefused(doing string, err error) error {
	if isRefused(err) {
		return terminal(pipeline.ReasonRegistryAddress, doing, err, "")
	}
	return nil
}

func unavailable(doing string, err error) error {
	return &pipeline.Transient{Reason: pipeline.ReasonRegistryUnavailable, Err: &opError{doing: doing, err: err}}
}

func terminal(reason, doing string, err error, fix string) error {
	return &pipeline.Terminal{Reason: reason, Err: &opError{doing: doing, err: err, fix: fix}}
}

func tooLarge(doing, what string, limit int64) error {
	return terminal(pipeline.ReasonImageTooLarge, doing, &TooLargeError{What: what, Limit: limit}, "")
}

// opError has a message that is short and the same each time, whatever a registry says.
type opError struct {
	doing, fix string
	err        error
}

func (e *opError) Error() string {
	msg := e.doing + ": " + clip(said(e.err))
	if e.fix != "" {
		msg += ": " + e.fix
	}
	return msg
}

func (e *opError) Unwrap() error { return e.err }

// said is the message of err without what changes from call to call, such as local ports.
func said(err error) string {
	if e, ok := errors.AsType[*transport.Error](err); ok {
		return saidByRegistry(e)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Sprintf("%s %v: %v", e.Op, e.Addr, e.Err)
	}
	if e, ok := errors.AsType[*RefusedError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

func saidByRegistry(e *transport.Error) string {
	var msg strings.Builder
	fmt.Fprintf(&msg, "the registry answers %d", e.StatusCode)
	for _, d := range e.Errors {
		fmt.Fprintf(&msg, " %s (%s)", d.Code, d.Message)
	}
	return msg.String()
}

// clip bounds what others wrote, and keeps it on one line.
func clip(s string) string {
	const limit = 400
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
