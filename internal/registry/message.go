package registry

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ibshafique/base-images/internal/netmessage"
)

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
	_, op := errors.AsType[*net.OpError](err)
	if e, ok := errors.AsType[*RefusedError](err); ok && !op {
		return e.Error()
	}
	return netmessage.Of(err)
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
