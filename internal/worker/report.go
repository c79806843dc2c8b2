package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// maxMessage is what the operator shows of a failure.
const maxMessage = 1024

// Report writes what came of a command to w, as the operator reads it: what it has done, and why no more than that.
func Report(w io.Writer, done pipeline.WorkerReport, failure error) error {
	raw, err := encodeReport(done, failure)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// encodeReport shortens the message until it fits: JSON writes some characters with six.
func encodeReport(r pipeline.WorkerReport, failure error) ([]byte, error) {
	if failure == nil {
		return json.Marshal(r)
	}
	r.Reason, r.Transient = reasonOf(failure)
	for limit := maxMessage; ; limit /= 2 {
		r.Message = truncate(failure.Error(), limit)
		raw, err := json.Marshal(r)
		if err != nil || len(raw) <= pipeline.MaxReport || limit == 0 {
			return raw, err
		}
	}
}

// reasonOf returns the reason of a failure and whether another attempt may succeed.
func reasonOf(err error) (reason string, transient bool) {
	if t, ok := errors.AsType[*pipeline.Terminal](err); ok {
		return t.Reason, t.Retryable
	}
	if t, ok := errors.AsType[*pipeline.Transient](err); ok {
		return t.Reason, true
	}
	return pipeline.ReasonInternalError, false
}

// truncate keeps the start of a text, at most limit bytes of whole characters.
func truncate(s string, limit int) string {
	const cut = "…"
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:max(0, limit-len(cut))], "") + cut
}
