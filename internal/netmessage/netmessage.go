// Package netmessage says what went wrong on a network in the same words each time. Messages end up in the status of
// objects: with a local port or the number of a stream in it, every try would rewrite the status, and wake all who watch it.
package netmessage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"syscall"
)

const closed = "the connection was closed in the middle of it"

// Wrap is err with the message of Of. nil stays nil.
func Wrap(err error) error {
	if err == nil {
		return nil
	}
	return &wrapped{err}
}

type wrapped struct{ err error }

func (w *wrapped) Error() string { return Of(w.err) }

func (w *wrapped) Unwrap() error { return w.err }

// Of is what err says without what changes from call to call: local ports, the name server that was asked, the numbers
// of streams. What was being done around the network error is left out too: the caller knows it.
func Of(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return "looking up " + e.Name + ": " + answered(e)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return failed(e)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return closed
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return Of(e.Err)
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() && e.Error() == err.Error() {
		return "it took too long"
	}
	return changing.ReplaceAllString(err.Error(), "")
}

// answered is how a name server did. The error has only a text of it, in which there may be a connection.
func answered(e *net.DNSError) string {
	switch {
	case e.IsNotFound:
		return "no such host"
	case errors.Is(e, context.Canceled):
		return "it was cancelled"
	case e.Err == "server misbehaving":
		return "the name server could not find it out"
	}
	return "the name server did not answer"
}

// failed leaves out the local end. Whether it is a read or a write that notices a reset is a matter of chance.
func failed(e *net.OpError) string {
	if e.Addr != nil && (errors.Is(e, syscall.ECONNRESET) || errors.Is(e, syscall.EPIPE)) {
		return "the connection to " + e.Addr.String() + " was reset"
	}
	at := e.Op
	if e.Addr != nil {
		at += " " + e.Addr.String()
	}
	if e.Timeout() {
		return at + ": it took too long"
	}
	return fmt.Sprintf("%s: %v", at, e.Err)
}

// changing is what changes in errors of which a library has kept only the text, and in those of HTTP/2, which have no
// type: the local end of a connection, and the numbers of streams.
var changing = regexp.MustCompile(`\S+:\d+->|stream ID \d+; |LastStreamID=\d+, `)
