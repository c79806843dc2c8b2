package sigstoretest

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Fault is how a service fails.
type Fault string

const (
	// Works is no fault.
	Works Fault = ""
	// Down closes connections without an answer.
	Down Fault = "is down"
	// Unavailable answers 503, to come back after 7 s.
	Unavailable Fault = "is unavailable"
	// Throttles answers 429, to come back after 7 s.
	Throttles Fault = "throttles"
	// Slow never answers: it waits until the client has gone.
	Slow Fault = "is slow"
	// Stalls begins an answer that never ends.
	Stalls Fault = "stalls"
	// Refuses answers 400, and repeats the credentials that it was sent.
	Refuses Fault = "refuses"
	// Redirects answers 307 to another host.
	Redirects Fault = "redirects"
	// Babbles answers 200 with something that is no answer.
	Babbles Fault = "babbles"
	// Empty answers 200 with an empty document.
	Empty Fault = "is empty"
	// Floods answers 200 and does not stop.
	Floods Fault = "floods"

	// OtherAuthority means that Fulcio, or the timestamp authority, signs with a key that the trust root does not know.
	OtherAuthority Fault = "is another authority"
	// OtherKey means that the certificate is for another key than the one that it was asked for.
	OtherKey Fault = "certifies another key"
	// OtherIdentity means that the certificate is for another ServiceAccount than that of the token.
	OtherIdentity Fault = "certifies another identity"
	// Expired means that the certificate was good an hour ago.
	Expired Fault = "certifies too late"
	// WithoutSCT means that the certificate is not in the certificate transparency log.
	WithoutSCT Fault = "certifies without SCT"
	// OtherLog means that the SCT, or the log entry, is signed with a key that the trust root does not know.
	OtherLog Fault = "is another log"
	// OtherEntry is Rekor, which answers with a valid entry of something else.
	OtherEntry Fault = "answers with another entry"
	// TwoEntries is Rekor, which answers with its entry twice.
	TwoEntries Fault = "answers with two entries"
	// WithoutProof means that Rekor's entry has no proof of inclusion.
	WithoutProof Fault = "proves no inclusion"
	// WrongProof means that Rekor's proof is of another entry.
	WrongProof Fault = "proves the inclusion of another entry"
	// WithoutPromise means that Rekor's entry has no signed entry timestamp.
	WithoutPromise Fault = "promises no inclusion"
	// OtherImprint means that the timestamp is of something else.
	OtherImprint Fault = "timestamps something else"
	// TimestampRefused means that the timestamp authority answers 200 with a response that says no.
	TimestampRefused Fault = "answers that it refuses"
)

// Service counts what it is asked, and fails if it is told to.
type Service struct {
	// URL of the service: its base, or for the timestamp authority its whole address. It is plain HTTP on loopback.
	URL string

	mu       sync.Mutex
	fault    Fault
	times    int
	requests int
	hook     func()
	bodies   [][]byte
	server   *httptest.Server
	path     string
	answer   func(http.ResponseWriter, *http.Request, Fault)
}

func (s *Service) start(t testing.TB, path string, answer func(http.ResponseWriter, *http.Request, Fault)) {
	t.Helper()
	s.path, s.answer = path, answer
	s.server = httptest.NewUnstartedServer(s)
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.Start()
	s.URL = s.server.URL
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
	})
}

// Fail makes the service fail until it is told otherwise.
func (s *Service) Fail(f Fault) { s.FailTimes(f, -1) }

// FailTimes makes the service fail as often, and work after that.
func (s *Service) FailTimes(f Fault, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.times = f, times
}

// Before runs hook before each answer, for example to count who is served at the same time.
func (s *Service) Before(hook func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Requests that have come so far.
func (s *Service) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Bodies of the requests that have come so far.
func (s *Service) Bodies() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.bodies...)
}

func (s *Service) begin(body []byte) (Fault, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.bodies = append(s.bodies, body)
	if s.fault == Works || s.times == 0 {
		return Works, s.hook
	}
	if s.times > 0 {
		s.times--
	}
	return s.fault, s.hook
}

// ServeHTTP fails in the ways that all services have in common.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	fault, hook := s.begin(body)
	if hook != nil {
		hook()
	}
	if s.failed(w, r, fault) {
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != s.path && r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	s.answer(w, r, fault)
}

func (s *Service) failed(w http.ResponseWriter, r *http.Request, fault Fault) bool {
	switch fault {
	case Down:
		panic(http.ErrAbortHandler)
	case Slow:
		<-r.Context().Done()
	case Stalls:
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case Redirects:
		w.Header().Set("Location", "http://127.0.0.2/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
	case Floods:
		line := []byte(`"` + strings.Repeat("x", 1<<10) + `",`)
		_, err := w.Write([]byte("["))
		for err == nil {
			_, err = w.Write(line)
		}
	default:
		return s.refused(w, r, fault)
	}
	return true
}

func (s *Service) refused(w http.ResponseWriter, r *http.Request, fault Fault) bool {
	switch fault {
	case Unavailable:
		w.Header().Set("Retry-After", "7")
		http.Error(w, "<html>\n<h1>503</h1>", http.StatusServiceUnavailable)
	case Throttles:
		w.Header().Set("Retry-After", "7")
		refuse(w, http.StatusTooManyRequests, "too many")
	case Refuses:
		refuse(w, http.StatusBadRequest, "no:\n"+r.Header.Get("Authorization"))
	case Babbles:
		_, _ = io.WriteString(w, "<html>hello</html>")
	case Empty:
		_, _ = io.WriteString(w, "{}")
	default:
		return false
	}
	return true
}

// refuse answers as Fulcio and Rekor do.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"code":%d,"message":%q}`, status, message)
}
