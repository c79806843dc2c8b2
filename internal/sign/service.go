package sign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/ibshafique/base-images/internal/netmessage"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/retryafter"
)

const (
	// maxAnswer bytes of an answer are read. A few KiB are usual.
	maxAnswer = 1 << 20
	// maxText of what a service says is shown.
	maxText = 300
	// maxPause is the longest that a service can ask for.
	maxPause = time.Hour
	// refusedPause is how long to wait after a refusal, which only an administrator can mend.
	refusedPause = 5 * time.Minute
)

// service is Fulcio, Rekor or a timestamp authority.
type service struct {
	name, host, url string
	client          *http.Client
	timeout         time.Duration
}

func (s *service) String() string { return s.name + " at " + s.host }

// request is what a service is asked.
type request struct {
	contentType string
	token       string
	body        []byte
}

// ask returns the body of a good answer, or a fault. What is asked is never part of it.
func (s *service) ask(ctx context.Context, r request) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limited, http.MethodPost, s.url, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", s, err)
	}
	req.Header.Set("Content-Type", r.contentType)
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated:
		return nil, s.refusal(resp, body)
	case err != nil:
		return nil, s.failed(ctx, err)
	case len(body) > maxAnswer:
		return nil, s.invalid("it has more than %d bytes", maxAnswer)
	}
	return body, nil
}

// failed is for a request without an answer. The cancellation of a caller is no fault of the service.
func (s *service) failed(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("asking %s: %w", s, context.Cause(ctx))
	}
	return pipeline.Transientf(pipeline.ReasonSigstoreUnavailable, "%s does not answer: %w", s, netmessage.Wrap(err))
}

func (s *service) refusal(resp *http.Response, body []byte) error {
	status, says := resp.StatusCode, said(body)
	switch {
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return &pipeline.Transient{
			Reason: pipeline.ReasonSigstoreUnavailable,
			After:  retryafter.Parse(resp.Header.Get("Retry-After"), time.Now(), maxPause),
			Err:    fmt.Errorf("%s answers %d%s", s, status, says),
		}
	case status/100 == 3:
		return s.refused("%s redirects (%d), which is not followed: write the address that it leads to into the configuration", s, status)
	}
	return s.refused("%s refuses what it was sent (%d%s)", s, status, says)
}

func (s *service) refused(format string, args ...any) error {
	return &pipeline.Transient{Reason: pipeline.ReasonSigstoreRefused, After: refusedPause, Err: fmt.Errorf(format, args...)}
}

// invalid is for an answer that is not what was asked for.
func (s *service) invalid(format string, args ...any) error {
	return pipeline.Transientf(pipeline.ReasonSigstoreAnswerInvalid, "the answer of %s is not valid: %w", s, &clipped{fmt.Errorf(format, args...)})
}

// clipped is an error with what others wrote in it.
type clipped struct{ err error }

func (c *clipped) Error() string { return oneLine(c.err.Error()) }
func (c *clipped) Unwrap() error { return c.err }

// secret are pieces of identity tokens, which a service may repeat.
var secret = regexp.MustCompile(`[A-Za-z0-9_-]{24,}`)

// said is what a service says of itself, on one line, without anything that may be a part of a token.
func said(body []byte) string {
	var answer struct {
		Message string `json:"message"`
	}
	text := string(body)
	if json.Unmarshal(body, &answer) == nil {
		text = answer.Message
	}
	if text = oneLine(secret.ReplaceAllString(strings.ToValidUTF8(text, ""), "…")); text == "" {
		return ""
	}
	return ": " + text
}

func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, ""), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
