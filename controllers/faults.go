package controllers

import (
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/time/rate"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// maxMessage bounds condition messages, which the API limits to 32768.
	maxMessage = 4096

	firstRetry = time.Second
	lastRetry  = 10 * time.Minute
)

// backoff of transient failures: from a second to ten minutes for one object, and at most ten retries in a
// second for all of them.
func backoff() workqueue.TypedRateLimiter[ctrl.Request] {
	return workqueue.NewTypedMaxOfRateLimiter(
		workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](firstRetry, lastRetry),
		&workqueue.TypedBucketRateLimiter[ctrl.Request]{Limiter: rate.NewLimiter(10, 100)},
	)
}

// reasonOf is the condition reason of a failure.
func reasonOf(err error) string {
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return t.Reason
	}
	if t, ok := errors.AsType[*pipeline.Transient](err); ok {
		return t.Reason
	}
	if w, ok := errors.AsType[*pipeline.Waiting](err); ok {
		return w.Reason
	}
	return pipeline.ReasonInternalError
}

// sentence makes an error a bounded message that starts with a capital letter, unless it starts with a name.
func sentence(s string) string {
	s = strings.ToValidUTF8(s, "")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	// A field, a host or a platform keeps its spelling.
	word, _, _ := strings.Cut(s, " ")
	if strings.ContainsAny(word, "./") || s == "" {
		return s
	}
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}
