package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/stall"
)

func status(method string, code int, diagnostics ...transport.Diagnostic) error {
	req, _ := http.NewRequest(method, "https://registry.example/v2/x/manifests/1", nil)
	return &transport.Error{StatusCode: code, Request: req, Errors: diagnostics}
}

func inURL(err error) error { return &url.Error{Op: "Get", URL: "https://registry.example/", Err: err} }

func TestClassify(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	tests := map[string]struct {
		err  error
		want string
		says string // a setting or fact that the message must name
	}{
		"no error stays none":           {},
		"401 is unauthorized":           {err: status("GET", 401), want: "Terminal RegistryUnauthorized", says: "secret"},
		"403 is denied":                 {err: status("GET", 403), want: "Terminal RegistryDenied"},
		"404 is not found":              {err: status("GET", 404), want: "Terminal ImageNotFound"},
		"408 is a time-out":             {err: status("GET", 408), want: "Transient RegistryTimeout"},
		"429 is throttled":              {err: status("GET", 429), want: "Transient RegistryThrottled"},
		"500 is an outage":              {err: status("GET", 500), want: "Transient RegistryUnavailable"},
		"504 is an outage":              {err: status("GET", 504), want: "Transient RegistryUnavailable"},
		"521 of a proxy is an outage":   {err: status("GET", 521), want: "Transient RegistryUnavailable"},
		"429 that names its time":       {err: inURL(&ThrottledError{Status: 429}), want: "Transient RegistryThrottled"},
		"503 that names its time":       {err: inURL(&ThrottledError{Status: 503}), want: "Transient RegistryUnavailable"},
		"throttling under another name": {err: status("GET", 400, transport.Diagnostic{Code: transport.TooManyRequestsErrorCode}), want: "Transient RegistryThrottled"},
		"400 is rejected":               {err: status("PUT", 400), want: "Terminal RegistryRejected"},
		"an immutable tag of ECR": {
			err:  status("PUT", 400, transport.Diagnostic{Code: "TAG_INVALID", Message: "The image tag 'a' already exists in the 'x' repository and cannot be overwritten because the tag is immutable."}),
			want: "Terminal TagImmutable", says: "spec.output.tags",
		},
		"an immutable tag of Harbor": {
			err:  status("PUT", 412, transport.Diagnostic{Code: "PRECONDITION", Message: "Failed to process request due to 'x:a' configured as immutable."}),
			want: "Terminal TagImmutable",
		},
		"a locked tag of Azure": {
			err:  status("PUT", 403, transport.Diagnostic{Code: "DENIED", Message: "Operation is disallowed on this registry, repository or image."}),
			want: "Terminal TagImmutable",
		},
		"a malformed tag is not an immutable one": {err: status("PUT", 400, transport.Diagnostic{Code: "TAG_INVALID", Message: "bad"}), want: "Terminal RegistryRejected"},
		"a read is never about immutability":      {err: status("GET", 403, transport.Diagnostic{Code: "DENIED", Message: "immutable"}), want: "Terminal RegistryDenied"},
		"a refused connection":                    {err: inURL(refused), want: "Transient RegistryUnavailable"},
		"a name that is not found":                {err: inURL(&net.DNSError{Name: "registry.example", IsNotFound: true}), want: "Transient RegistryUnavailable"},
		"an answer that breaks off":               {err: fmt.Errorf("reading: %w", io.ErrUnexpectedEOF), want: "Transient RegistryUnavailable"},
		"a deadline":                              {err: inURL(context.DeadlineExceeded), want: "Transient RegistryTimeout"},
		"our own time-out":                        {err: inURL(errSlow), want: "Transient RegistryTimeout"},
		"a connection that times out":             {err: inURL(&net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}), want: "Transient RegistryTimeout"},
		"a name server that times out":            {err: inURL(&net.DNSError{Name: "registry.example", IsTimeout: true}), want: "Transient RegistryUnavailable"},
		"an answer in drops":                      {err: inURL(&stall.Error{What: "the blob", Rule: stall.Rule{Bytes: 256 << 10, Within: limits.Duration(time.Minute), Section: "registry"}}), want: "Transient RegistryTooSlow", says: "limits.registry.stallBytes"},
		"an unknown authority":                    {err: inURL(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), want: "Transient RegistryUnavailable", says: "registries.caBundle"},
		"a private address":                       {err: inURL(&AddressError{Host: "registry.example", Addr: netip.MustParseAddr("10.0.0.1"), Private: true}), want: "Terminal RegistryAddressNotAllowed", says: "registries.privateHosts"},
		"a link-local address":                    {err: inURL(&AddressError{Host: "registry.example", Addr: netip.MustParseAddr("169.254.169.254")}), want: "Terminal RegistryAddressNotAllowed", says: "registries.privateHosts"},
		"a refused redirect":                      {err: inURL(&RefusedError{Host: "registry.example", Why: "redirects"}), want: "Terminal RegistryAddressNotAllowed"},
		"HTTPS is down and HTTP was not tried":    {err: errors.Join(inURL(refused), inURL(&RefusedError{Host: "registry.example"})), want: "Transient RegistryUnavailable"},
		"HTTPS is not spoken":                     {err: errors.Join(inURL(errors.New("server gave HTTP response")), inURL(&RefusedError{Host: "registry.example"})), want: "Terminal RegistryAddressNotAllowed"},
		"a limit":                                 {err: &TooLargeError{What: "the manifest", Limit: 3}, want: "Terminal ImageTooLarge"},
		"a terminal fault stays one":              {err: pipeline.Terminalf(pipeline.ReasonTagImmutable, "x"), want: "Terminal TagImmutable"},
		"a transient fault stays one":             {err: &pipeline.Transient{Reason: "Other", Err: status("GET", 404)}, want: "Transient Other"},
		"cancellation has no type":                {err: inURL(context.Canceled), want: "plain"},
		"what is unknown has no type":             {err: errors.New("surprise"), want: "plain"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			err := Classify("reading manifest docker.io/library/alpine:3", tt.err)
			if got := fault(err); got != tt.want {
				t.Fatalf("got %s: %v, want %s", got, err, tt.want)
			}
			if err == nil {
				return
			}
			if !errors.Is(err, tt.err) && fault(tt.err) == "plain" && tt.want != "Terminal ImageTooLarge" {
				t.Errorf("%v lost its cause", err)
			}
			for _, want := range []string{"docker.io/library/alpine:3", tt.says} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %q", err, want)
				}
			}
		})
	}
}

func TestClassifyAWrite(t *testing.T) {
	unknown := func(code transport.ErrorCode) error {
		return status("PUT", 404, transport.Diagnostic{Code: code, Message: "not here"})
	}
	tests := map[string]struct {
		err  error
		want string
		says string
	}{
		"401 is denied":                                {err: status("POST", 401), want: "Terminal PushDenied", says: "spec.output.pushSecretRef"},
		"403 is denied":                                {err: status("POST", 403), want: "Terminal PushDenied", says: "may not write to docker.io/library/x"},
		"401 to the look before a push is, too":        {err: status("HEAD", 401), want: "Terminal PushDenied"},
		"404 has no such repository":                   {err: status("POST", 404), want: "Terminal RepositoryNotFound", says: "create the repository docker.io/library/x"},
		"404 of its name has none either":              {err: unknown(transport.NameUnknownErrorCode), want: "Terminal RepositoryNotFound"},
		"404 of an upload that was begun is an outage": {err: unknown(transport.BlobUploadUnknownErrorCode), want: "Transient RegistryUnavailable"},
		"404 of an image that an index lists":          {err: unknown(transport.ManifestUnknownErrorCode), want: "Terminal ImageNotFound", says: "docker.io/library/x"},
		"404 of a layer":                               {err: unknown(transport.BlobUnknownErrorCode), want: "Terminal ImageNotFound"},
		"429 is throttled":                             {err: status("PUT", 429), want: "Transient RegistryThrottled"},
		"500 is an outage":                             {err: status("PUT", 500), want: "Transient RegistryUnavailable"},
		"a deadline is a time-out":                     {err: inURL(context.DeadlineExceeded), want: "Transient RegistryTimeout"},
		"400 is rejected":                              {err: status("PUT", 400), want: "Terminal RegistryRejected"},
		"a tag that must not move":                     {err: status("PUT", 403, transport.Diagnostic{Code: "DENIED", Message: "Operation is disallowed on this registry, repository or image."}), want: "Terminal TagImmutable"},
	}
	repo, err := name.NewRepository("x")
	if err != nil {
		t.Fatal(err)
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			err := writing("pushing x", repo).classify(tt.err)
			if got := fault(err); got != tt.want || !strings.Contains(err.Error(), tt.says) || !errors.Is(err, tt.err) {
				t.Errorf("got %s: %v", got, err)
			}
		})
	}
}

func TestMessagesAreShortAndRepeatable(t *testing.T) {
	long := Classify("reading", status("GET", 404, transport.Diagnostic{Code: "X", Message: strings.Repeat("é\n", 60_000)}))
	if n := len(long.Error()); n > 600 || strings.Contains(long.Error(), "\n") {
		t.Errorf("%d bytes: %.80q", n, long)
	}
	at := func(port int) string {
		local, remote := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: port}, &net.TCPAddr{IP: net.IPv4(93, 184, 216, 34), Port: 443}
		return Classify("reading", inURL(&net.OpError{Op: "read", Net: "tcp", Source: local, Addr: remote, Err: syscall.ECONNRESET})).Error()
	}
	if at(40001) != at(40002) {
		t.Errorf("%q is not %q", at(40001), at(40002))
	}
}
