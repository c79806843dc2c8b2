package controllers

import (
	"errors"
	"slices"
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
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1 // Logs and the events of others may hold escape sequences.
		}
		return r
	}, strings.ToValidUTF8(s, ""))
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

// worst makes one failure of those of several platforms: terminal before transient before waiting, with
// the messages of its sort.
func worst(failures []error) error {
	var terminal, transient, waiting []error
	for _, err := range failures {
		switch {
		case pipeline.IsTerminal(err):
			terminal = append(terminal, err)
		case pipeline.IsWaiting(err):
			waiting = append(waiting, err)
		default:
			transient = append(transient, err)
		}
	}
	switch {
	case len(terminal) > 0:
		return &pipeline.Terminal{Reason: reasonOf(terminal[0]), Err: joined(terminal), Retryable: pipeline.IsRetryable(terminal[0])}
	case len(transient) > 0:
		return &pipeline.Transient{Reason: reasonOf(transient[0]), Err: joined(transient), After: soonest(transient)}
	case len(waiting) > 0:
		return &pipeline.Waiting{Reason: worstReason(waiting), Message: joined(waiting).Error(), After: soonest(waiting)}
	}
	return nil
}

// worstReason is the first that says more than that a Job runs.
func worstReason(waiting []error) string {
	for _, err := range waiting {
		if reason := reasonOf(err); !slices.Contains(underWay, reason) {
			return reason
		}
	}
	return reasonOf(waiting[0])
}

// soonest is the shortest time that one of the faults asks for; zero if none does.
func soonest(errs []error) time.Duration {
	var first time.Duration
	for _, err := range errs {
		after := time.Duration(0)
		if t, ok := errors.AsType[*pipeline.Transient](err); ok {
			after = t.After
		}
		if w, ok := errors.AsType[*pipeline.Waiting](err); ok {
			after = w.After
		}
		if after > 0 && (first == 0 || after < first) {
			first = after
		}
	}
	return first
}

func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	var texts []string
	for _, err := range errs {
		if !slices.Contains(texts, err.Error()) {
			texts = append(texts, err.Error())
		}
	}
	return errors.New(strings.Join(texts, "; "))
}
