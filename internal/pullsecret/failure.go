package pullsecret

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"

	"golang.org/x/oauth2"

	"github.com/ibshafique/base-images/internal/netmessage"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// failed says nothing that err says, unless it is known to be harmless: libraries put answers that they can't read, with
// tokens in them, into errors. So it does not wrap err either.
func (p *provider) failed(host string, err error) error {
	return pipeline.Transientf(pipeline.ReasonCloudCredentials, "%s gives the webhook no credentials for %s: %s: %s, or take %s out of registries.cloudCredentials",
		p.cloud, host, why(err), p.advice, p.cloud)
}

func why(err error) string {
	for _, known := range []func(error) string{timeWhy, codeWhy, statusWhy, networkWhy} {
		if said := known(err); said != "" {
			return said
		}
	}
	return "the webhook has no identity there, or the answer can't be read"
}

func timeWhy(err error) string {
	if timeout, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && timeout.Timeout() {
		return "it has not answered in time"
	}
	return ""
}

var errorCode = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,63}$`)

// codeWhy is a code such as AccessDeniedException or invalid_grant.
func codeWhy(err error) string {
	code := ""
	if e, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err); ok {
		code = e.ErrorCode()
	}
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		code = e.ErrorCode
	}
	if !errorCode.MatchString(code) {
		return ""
	}
	return "it says " + code
}

func statusWhy(err error) string {
	status := 0
	if e, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); ok {
		status = e.HTTPStatusCode()
	}
	if e, ok := errors.AsType[interface {
		error
		Response() *http.Response
	}](err); ok && e.Response() != nil {
		status = e.Response().StatusCode
	}
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok && e.Response != nil {
		status = e.Response.StatusCode
	}
	if status == 0 {
		return ""
	}
	return fmt.Sprintf("it answers with status %d", status)
}

func networkWhy(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return netmessage.Of(e)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return netmessage.Of(e)
	}
	return ""
}
