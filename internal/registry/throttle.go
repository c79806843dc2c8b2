package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ibshafique/base-images/internal/retryafter"
)

// maxPause is waited here before a request is sent again. What takes longer is for the caller's queue: whoever waits here
// holds a worker, and a caller that knows when can do something else.
const maxPause = 10 * time.Second

// ThrottledError is an answer that says when to come back.
type ThrottledError struct {
	Host   string
	Status int
	// After is what Retry-After asks for, at most Limits.RetryAfter.
	After time.Duration
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("%s answers %d and asks to wait %s", e.Host, e.Status, e.After)
}

// retryAfter is zero if the answer is none of those that ask to wait, or names no time
// in the future.
func (a *answers) retryAfter(resp *http.Response) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	return retryafter.Parse(resp.Header.Get("Retry-After"), a.now(), a.limits.RetryAfter.Std())
}

// again waits as err asks, and returns the request to send then. It returns err if that is not worth it: try was
// the last one, the pause is long or longer than the context lasts, or the request can't be repeated.
func (a *answers) again(req *http.Request, err error, try int) (*http.Request, error) {
	throttled, ok := errors.AsType[*ThrottledError](err)
	if !ok || try >= a.limits.Tries || !repeatable(req) || throttled.After > min(maxPause, a.timeLeft(req.Context())) {
		return nil, err
	}
	if ended := a.pause(req.Context(), throttled.After); ended != nil {
		if errors.Is(ended, errSlow) {
			return nil, err // our own time-out, which says less
		}
		return nil, ended
	}
	return repeated(req)
}

func (a *answers) timeLeft(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return at.Sub(a.now())
	}
	return maxPause
}

// repeatable requests have the same effect when sent again. A PATCH appends to an upload, of which some may have arrived.
func repeatable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil && req.Method != http.MethodPatch
}

func repeated(req *http.Request) (*http.Request, error) {
	if req.GetBody == nil {
		return req, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	out := req.WithContext(req.Context()) // a copy: the request is not ours to change
	out.Body = body
	return out, nil
}
