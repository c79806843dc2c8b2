package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/stall"
)

// Classify says what an error of a registry means for a build. doing is what was being
// done and to which reference, for example "reading manifest docker.io/library/alpine:3".
//
//	refused address, host or redirect     Terminal RegistryAddressNotAllowed
//	over a limit                          Terminal ImageTooLarge
//	401                                   Terminal RegistryUnauthorized
//	403                                   Terminal RegistryDenied
//	404                                   Terminal ImageNotFound
//	other 4xx                             Terminal RegistryRejected
//	bytes with another digest             Transient DigestMismatch
//	429                                   Transient RegistryThrottled, After from Retry-After
//	408, and time-outs of all kinds       Transient RegistryTimeout
//	an answer that comes in drops         Transient RegistryTooSlow
//	5xx, DNS, TLS, connections that
//	are refused or broken                 Transient RegistryUnavailable, After from Retry-After
//
// The methods of Client that write say instead, whichever of their requests failed, also
// one for a token:
//
//	401, 403                              Terminal PushDenied
//	404                                   Terminal RepositoryNotFound
//	404 of an upload that was begun       Transient RegistryUnavailable
//	404 of what a manifest refers to      Terminal ImageNotFound
//	tag that must not move                Terminal TagImmutable
//
// A fault stays what it is. context.Canceled, and what is none of the above, are wrapped
// and have no type. nil stays nil.
func Classify(doing string, err error) error { return reading(doing).classify(err) }

// attempt is what was tried.
type attempt struct {
	doing string
	// repository that was to be written; empty for a read.
	repository string
	// anonymous says that there were no credentials for its registry.
	anonymous bool
}

func reading(doing string) attempt { return attempt{doing: doing} }

func writing(doing string, repo name.Repository) attempt {
	return attempt{doing: doing, repository: RepositoryName(repo)}
}

// writing is writing with what the client knows of credentials.
func (c *Client) writing(doing string, repo name.Repository) attempt {
	a := writing(doing, repo)
	auth, err := c.credentials.Resolve(repo.Registry)
	a.anonymous = err == nil && auth == authn.Anonymous
	return a
}

// outcome is classify for a call with ctx. Calls share the login at a registry; one that
// was cancelled during it does not speak for the others.
func (a attempt) outcome(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && !errors.Is(ctx.Err(), context.Canceled) {
		err = errSlow
	}
	return a.classify(err)
}

func (a attempt) classify(err error) error {
	if err == nil {
		return nil
	}
	if isFault(err) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", a.doing, err)
	}
	for _, as := range []func(error) error{a.asRefusedAddress, a.asContent, a.asStatus, a.asTimeout, a.asUnavailable, a.asRefused} {
		if fault := as(err); fault != nil {
			return fault
		}
	}
	return fmt.Errorf("%s: %w", a.doing, err)
}

func isFault(err error) bool {
	return pipeline.IsTransient(err) || pipeline.IsTerminal(err) || pipeline.IsWaiting(err)
}

func (a attempt) asRefusedAddress(err error) error {
	if _, ok := errors.AsType[*AddressError](err); ok {
		return a.terminal(pipeline.ReasonRegistryAddress, err, "")
	}
	return nil
}

func (a attempt) asContent(err error) error {
	if e, ok := errors.AsType[*TooLargeError](err); ok {
		return tooLarge(a.doing, e.What, e.Limit)
	}
	if _, ok := errors.AsType[*DigestError](err); ok {
		return a.transient(pipeline.ReasonDigestMismatch, err)
	}
	if _, ok := errors.AsType[*stall.Error](err); ok {
		return a.transient(pipeline.ReasonRegistryTooSlow, err)
	}
	if e, ok := errors.AsType[*ThrottledError](err); ok {
		reason := pipeline.ReasonRegistryUnavailable
		if e.Status == http.StatusTooManyRequests {
			reason = pipeline.ReasonRegistryThrottled
		}
		return &pipeline.Transient{Reason: reason, After: e.After, Err: &opError{doing: a.doing, err: err}}
	}
	return nil
}

func (a attempt) asStatus(err error) error {
	e, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return nil
	}
	if immutable(e) {
		return a.terminal(pipeline.ReasonTagImmutable, err, "the tag exists and the registry does not let it move: choose another tag in spec.output.tags, or change the rule for this repository")
	}
	denied := a.unreadable
	if a.repository != "" {
		denied = a.unwritable
	}
	if fault := denied(e, err); fault != nil {
		return fault
	}
	return a.asOtherStatus(e, err)
}

func (a attempt) unreadable(e *transport.Error, err error) error {
	switch e.StatusCode {
	case http.StatusUnauthorized:
		return a.terminal(pipeline.ReasonRegistryUnauthorized, err, "the registry wants other credentials, or hides that there is no such repository: check its name and, if it is read with a secret, that secret")
	case http.StatusForbidden:
		return a.terminal(pipeline.ReasonRegistryDenied, err, "check that the repository exists and that whoever reads it is allowed to")
	case http.StatusNotFound:
		return a.terminal(pipeline.ReasonImageNotFound, err, "check the spelling of the repository and of the tag or digest")
	}
	return nil
}

func (a attempt) unwritable(e *transport.Error, err error) error {
	switch e.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		if a.anonymous {
			host, _, _ := strings.Cut(a.repository, "/")
			return a.terminal(pipeline.ReasonPushDenied, err, "no credentials were sent: name a Secret that has an entry for "+host+" in spec.output.pushSecretRef")
		}
		return a.terminal(pipeline.ReasonPushDenied, err, "the credentials of the push secret may not write to "+a.repository+": check spec.output.pushSecretRef and the rights of its user")
	case http.StatusNotFound:
		return a.missing(e, err)
	}
	return nil
}

// missing tells what the registry does not have, of which the repository is only the most common.
func (a attempt) missing(e *transport.Error, err error) error {
	switch {
	case says(e, transport.BlobUploadUnknownErrorCode):
		return a.transient(pipeline.ReasonRegistryUnavailable, err)
	case says(e, transport.ManifestUnknownErrorCode, transport.BlobUnknownErrorCode, transport.ManifestBlobUnknownErrorCode):
		return a.terminal(pipeline.ReasonImageNotFound, err, "what is written refers to something that is not in "+a.repository)
	}
	return a.terminal(pipeline.ReasonRepositoryNotFound, err, "check its name, and create the repository "+a.repository+" or allow the user of spec.output.pushSecretRef to")
}

func says(e *transport.Error, codes ...transport.ErrorCode) bool {
	return slices.ContainsFunc(e.Errors, func(d transport.Diagnostic) bool { return slices.Contains(codes, d.Code) })
}

func (a attempt) asOtherStatus(e *transport.Error, err error) error {
	switch {
	case e.StatusCode == http.StatusRequestTimeout:
		return a.transient(pipeline.ReasonRegistryTimeout, err)
	case e.StatusCode == http.StatusTooManyRequests, says(e, transport.TooManyRequestsErrorCode):
		return a.transient(pipeline.ReasonRegistryThrottled, err)
	case e.Temporary(), e.StatusCode >= 500, e.StatusCode == 499:
		return a.transient(pipeline.ReasonRegistryUnavailable, err)
	case e.StatusCode >= 400:
		return a.terminal(pipeline.ReasonRegistryRejected, err, "")
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

// asTimeout leaves a name server that is slow to asUnavailable: the registry was not asked.
func (a attempt) asTimeout(err error) error {
	e, network := errors.AsType[net.Error](err)
	_, dns := errors.AsType[*net.DNSError](err)
	if errors.Is(err, errSlow) || errors.Is(err, context.DeadlineExceeded) || network && !dns && e.Timeout() {
		return a.transient(pipeline.ReasonRegistryTimeout, err)
	}
	return nil
}

func (a attempt) asUnavailable(err error) error {
	if badCertificate(err) {
		return &pipeline.Transient{Reason: pipeline.ReasonRegistryUnavailable, Err: &opError{
			doing: a.doing, err: err, fix: "if its authority is private, add it to registries.caBundle",
		}}
	}
	_, network := errors.AsType[net.Error](err)
	_, op := errors.AsType[*net.OpError](err)
	if network && !isRefused(err) || op || broken(err) {
		return a.transient(pipeline.ReasonRegistryUnavailable, err)
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
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func (a attempt) asRefused(err error) error {
	if isRefused(err) {
		return a.terminal(pipeline.ReasonRegistryAddress, err, "")
	}
	return nil
}

func (a attempt) transient(reason string, err error) error {
	return &pipeline.Transient{Reason: reason, Err: &opError{doing: a.doing, err: err}}
}

func (a attempt) terminal(reason string, err error, fix string) error {
	return &pipeline.Terminal{Reason: reason, Err: &opError{doing: a.doing, err: err, fix: fix}}
}

func tooLarge(doing, what string, limit int64) error {
	return reading(doing).terminal(pipeline.ReasonImageTooLarge, &TooLargeError{What: what, Limit: limit}, "")
}
