package codescanning

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/retryafter"
)

const (
	// pause is what GitHub asks for where it doesn't say how long
	// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit).
	pause = time.Minute
	// maxPause is the longest: limits are per hour.
	maxPause = time.Hour
	// maxText of an answer is shown.
	maxText = 300
)

// answer is that of GitHub.
type answer struct {
	*http.Response
	body    []byte
	request Request
	now     time.Time
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,128}$`)

// read returns the id of an upload that GitHub has accepted, or a fault.
func (a answer) read() (string, error) {
	if a.StatusCode == http.StatusAccepted {
		var accepted struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(a.body, &accepted); err != nil || !idForm.MatchString(accepted.ID) {
			return "", unavailable(0, "%s accepted the upload of SARIF without an id", a.Request.URL.Host)
		}
		return accepted.ID, nil
	}
	if a.limited() {
		return "", unavailable(a.wait(), "%s asks to upload SARIF later (%d: %s)", a.Request.URL.Host, a.StatusCode, a.says())
	}
	return "", a.fault()
}

// limited reports whether it is for the number of requests that GitHub does not take this one.
func (a answer) limited() bool {
	if a.StatusCode == http.StatusTooManyRequests {
		return true
	}
	return a.StatusCode == http.StatusForbidden &&
		(a.Header.Get("Retry-After") != "" || a.Header.Get("X-RateLimit-Remaining") == "0" || strings.Contains(strings.ToLower(a.says()), "rate limit"))
}

// wait is how long GitHub asks to wait.
func (a answer) wait() time.Duration {
	if after := retryafter.Parse(a.Header.Get("Retry-After"), a.now, maxPause); after > 0 {
		return after
	}
	if a.Header.Get("X-RateLimit-Remaining") == "0" {
		if at, err := strconv.ParseInt(a.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return min(max(time.Unix(at, 0).Sub(a.now), pause), maxPause)
		}
	}
	return pause
}

func (a answer) fault() error {
	r, status, says := a.request, a.StatusCode, a.says()
	switch {
	case status >= 500 || status == http.StatusRequestTimeout:
		return unavailable(retryafter.Parse(a.Header.Get("Retry-After"), a.now, maxPause), "%s could not take the upload of SARIF (%d: %s)", a.Request.URL.Host, status, says)
	case status == http.StatusUnauthorized:
		return pipeline.Terminalf(pipeline.ReasonGitHubTokenInvalid, "GitHub does not know the token of spec.scan.github.tokenSecretRef (401: %s): put a valid one into its key token", says)
	case status == http.StatusForbidden:
		return refused("GitHub does not let the token of spec.scan.github.tokenSecretRef write security events of %s (403: %s): give it that permission (security_events), and enable code scanning for the repository", r.Repository, says)
	case status == http.StatusNotFound:
		return refused("GitHub does not find repository %s, commit %s or %s (404: %s): check spec.scan.github.repository and ref, and that the token may see the repository", r.Repository, r.Commit, text(r.Ref), says)
	case status == http.StatusRequestEntityTooLarge:
		return refused("Trivy's findings are too large for GitHub (413: %s): update the packages that have the most, or leave out spec.scan.github", says)
	case status >= 300 && status < 400:
		return refused("GitHub sends the upload for %s elsewhere (%d): write the present name of the repository into spec.scan.github.repository", r.Repository, status)
	case status >= 400:
		return refused("GitHub does not take the findings for commit %s of %s (%d: %s): check spec.scan.github", r.Commit, r.Repository, status, says)
	}
	return unavailable(0, "%s answered the upload of SARIF with %d", a.Request.URL.Host, status)
}

// says is GitHub's own message.
func (a answer) says() string {
	var answer struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(a.body, &answer); err != nil || answer.Message == "" {
		return "without a message"
	}
	return text(strings.ReplaceAll(answer.Message, a.request.Token, "…"))
}

// text is one line of what somebody else says, of at most 300 bytes.
func text(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText-len("…")], "") + "…"
	}
	return s
}
