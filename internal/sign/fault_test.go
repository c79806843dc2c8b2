package sign

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/sigstoretest"
)

const (
	unavailable = "Transient " + pipeline.ReasonSigstoreUnavailable
	refused     = "Transient " + pipeline.ReasonSigstoreRefused
	invalid     = "Transient " + pipeline.ReasonSigstoreAnswerInvalid
)

// inCommon are faults that each service may have.
var inCommon = map[sigstoretest.Fault]string{
	sigstoretest.Down:        unavailable,
	sigstoretest.Unavailable: unavailable,
	sigstoretest.Throttles:   unavailable,
	sigstoretest.Slow:        unavailable,
	sigstoretest.Stalls:      unavailable,
	sigstoretest.Refuses:     refused,
	sigstoretest.Redirects:   refused,
	sigstoretest.Babbles:     invalid,
	sigstoretest.Empty:       invalid,
	sigstoretest.Floods:      invalid,
}

var ofFulcio = map[sigstoretest.Fault]string{
	sigstoretest.OtherAuthority: invalid,
	sigstoretest.OtherKey:       invalid,
	sigstoretest.OtherIdentity:  invalid,
	sigstoretest.Expired:        invalid,
	sigstoretest.WithoutSCT:     invalid,
	sigstoretest.OtherLog:       invalid,
}

var ofRekor = map[sigstoretest.Fault]string{
	sigstoretest.OtherLog:       invalid,
	sigstoretest.OtherEntry:     invalid,
	sigstoretest.TwoEntries:     invalid,
	sigstoretest.WithoutProof:   invalid,
	sigstoretest.WrongProof:     invalid,
	sigstoretest.WithoutPromise: invalid,
}

var ofTimestamp = map[sigstoretest.Fault]string{
	sigstoretest.OtherAuthority:   invalid,
	sigstoretest.OtherImprint:     invalid,
	sigstoretest.TimestampRefused: invalid,
}

// faulty is a bench whose service fails, and a session that notices it soon.
func faulty(t *testing.T, name string, fault sigstoretest.Fault) (*bench, *Session) {
	t.Helper()
	b := newBench(t, true)
	b.options.TimestampURL = b.sigstore.Timestamp.URL
	s := b.session(t)
	at, service := &b.sigstore.Fulcio.Service, s.signer.fulcio
	switch name {
	case "Rekor":
		at, service = &b.sigstore.Rekor.Service, s.signer.rekor
	case "the timestamp authority":
		at, service = &b.sigstore.Timestamp.Service, s.signer.timestamp
	}
	at.Fail(fault)
	if fault == sigstoretest.Slow || fault == sigstoretest.Stalls {
		service.timeout = 50 * time.Millisecond
	}
	return b, s
}

func TestServicesThatFail(t *testing.T) {
	for service, own := range map[string]map[sigstoretest.Fault]string{"Fulcio": ofFulcio, "Rekor": ofRekor, "the timestamp authority": ofTimestamp} {
		for _, faults := range []map[sigstoretest.Fault]string{inCommon, own} {
			for f, want := range faults {
				t.Run(service+" "+string(f), func(t *testing.T) {
					b, s := faulty(t, service, f)
					written := b.count("PUT", "/manifests/") + b.count("POST", "/blobs/")
					for what, err := range map[string]error{"signing": s.Sign(t.Context(), b.client, b.ref), "attesting": b.attest(t, s, someType, "1")} {
						if got := fault(err); got != want {
							t.Errorf("%s: got %v, want %s", what, err, want)
							continue
						}
						b.checkMessage(t, err, service)
					}
					if again := b.count("PUT", "/manifests/") + b.count("POST", "/blobs/"); again != written {
						t.Error("something was written")
					}
				})
			}
		}
	}
}

// checkMessage: it is one line of bearable length that names who is to blame and no secret.
func (b *bench) checkMessage(t *testing.T, err error, service string) {
	t.Helper()
	says := err.Error()
	if !strings.Contains(says, service+" at 127.0.0.1:") || strings.ContainsAny(says, "\n\r\t") || len(says) > 500 {
		t.Errorf("%q is not one line about %s", says, service)
	}
	token := b.sigstore.Token(issuer, namespace, account)
	claims := strings.Split(token, ".")[1]
	for _, secret := range []string{token, claims, claims[:30], "eyJ"} {
		if strings.Contains(says, secret) {
			t.Errorf("%q has a piece of the token", says)
		}
	}
}

func TestWhatIsWrongIsTold(t *testing.T) {
	for f, want := range map[sigstoretest.Fault]string{
		sigstoretest.Floods: "more than 1048576 bytes", sigstoretest.Expired: "has expired", sigstoretest.WithoutSCT: "let Fulcio embed SCTs",
		sigstoretest.Refuses: "(400: no: Bearer", sigstoretest.Unavailable: "answers 503: <html> <h1>503</h1>", sigstoretest.Redirects: "redirects (307)",
		sigstoretest.OtherIdentity: "/serviceaccounts/somebody-else",
	} {
		b, s := faulty(t, "Fulcio", f)
		if err := s.Sign(t.Context(), b.client, b.ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not say %q", f, err, want)
		}
	}
}

func TestAPanicIsAFaultOfTheAnswer(t *testing.T) {
	b := newBench(t, true)
	err := b.session(t).signer.rekor.guarded(func() error { panic("too deep") })
	if fault(err) != invalid || !strings.Contains(err.Error(), "too deep") {
		t.Errorf("got %v", err)
	}
}

func TestPauses(t *testing.T) {
	for f, want := range map[sigstoretest.Fault]time.Duration{
		sigstoretest.Unavailable: 7 * time.Second, sigstoretest.Throttles: 7 * time.Second,
		sigstoretest.Refuses: refusedPause, sigstoretest.Redirects: refusedPause, sigstoretest.Down: 0,
	} {
		b, s := faulty(t, "Fulcio", f)
		var got *pipeline.Transient
		if err := s.Sign(t.Context(), b.client, b.ref); !errors.As(err, &got) || got.After != want {
			t.Errorf("%s: got %v, want a pause of %s", f, err, want)
		}
	}
}

func TestACertificateOfSomebodyElseIsNotUsedAgain(t *testing.T) {
	b, s := faulty(t, "Fulcio", sigstoretest.OtherIdentity)
	if got := fault(s.Sign(t.Context(), b.client, b.ref)); got != invalid {
		t.Errorf("got %s", got)
	}
	b.sigstore.Fulcio.Fail(sigstoretest.Works)
	if err := s.Sign(t.Context(), b.client, b.ref); err != nil {
		t.Errorf("the next time: %v", err)
	}
}

func TestFaultsOfOthersPassThrough(t *testing.T) {
	waiting := pipeline.Waitingf("X", "for something")
	tests := map[string]func(*bench){
		"of the token":      func(b *bench) { b.options.Token = func(context.Context) (string, error) { return "", waiting } },
		"of the trust root": func(b *bench) { b.options.Material = func() (root.TrustedMaterial, error) { return nil, waiting } },
	}
	for desc, change := range tests {
		b := newBench(t, true)
		change(b)
		err := b.session(t).Sign(t.Context(), b.client, b.ref)
		if !errors.Is(err, waiting) || b.count("PUT", ".sig") != 0 {
			t.Errorf("%s: got %v", desc, err)
		}
	}
}

func TestTokensThatAreNone(t *testing.T) {
	for _, token := range []string{"", "secret", "a.b", "a.b.c", "a.bnVsbA.c", "a.e30.c", "a.e30", "a.b.c.d.e"} {
		b := newBench(t, true)
		b.options.Token = func(context.Context) (string, error) { return token, nil }
		err := b.session(t).Sign(t.Context(), b.client, b.ref)
		if fault(err) != "Transient "+pipeline.ReasonIdentityUnavailable || b.sigstore.Fulcio.Requests() != 0 {
			t.Errorf("%q: got %v", token, err)
		}
	}
}

func TestACallerThatGoesAway(t *testing.T) {
	b, s := faulty(t, "Fulcio", sigstoretest.Slow)
	s.signer.fulcio.timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	b.sigstore.Fulcio.Before(cancel)
	if err := s.Sign(ctx, b.client, b.ref); !errors.Is(err, context.Canceled) || pipeline.IsTransient(err) {
		t.Errorf("got %v", err)
	}
}

// The registry's faults are its own.
func TestARegistryThatFails(t *testing.T) {
	for desc, tt := range map[string]struct {
		method, part string
		status       int
		want         string
		logged       bool
	}{
		"may not be read":                    {"GET", ".sig", 401, "Terminal RegistryUnauthorized", false},
		"is down when it is read":            {"GET", ".sig", 503, "Transient RegistryUnavailable", false},
		"is down when it lists":              {"GET", "/referrers/", 503, "Transient RegistryUnavailable", false},
		"is down when it is written":         {"PUT", ".sig", 503, "Transient RegistryUnavailable", true},
		"may not be written":                 {"PUT", ".sig", 403, "Terminal PushDenied", true},
		"does not take a bundle":             {"PUT", "/manifests/sha256:", 403, "Terminal PushDenied", true},
		"does not have what is to be signed": {"HEAD", "/manifests/sha256:", 404, "Terminal ImageNotFound", true},
	} {
		t.Run(desc, func(t *testing.T) {
			b := newBench(t, true)
			b.on(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == "GET" && tt.method == "HEAD" && strings.Contains(r.URL.Path, b.ref.DigestStr()) && strings.Contains(r.URL.Path, "/manifests/") {
					w.WriteHeader(404)
					return true
				}
				return refusing(tt.method, tt.part, tt.status)(w, r)
			})
			if got := fault(b.session(t).Sign(t.Context(), b.client, b.ref)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if !tt.logged && b.sigstore.Rekor.Requests() != 0 {
				t.Error("something was logged before it was known what is there")
			}
		})
	}
}

func TestOptionsThatAreWrong(t *testing.T) {
	good := newBench(t, true).options
	for field, change := range map[string]func(*Options){
		"fulcioURL":                   func(o *Options) { o.FulcioURL = "" },
		`fulcioURL: "fulcio.example"`: func(o *Options) { o.FulcioURL = "fulcio.example" },
		"timestampURL: it is not":     func(o *Options) { o.TimestampURL = "https://user:hunter2@tsa.example:port" },
		"rekorURL and timestampURL":   func(o *Options) { o.RekorURL = "" },
		"rekorURL: ":                  func(o *Options) { o.RekorURL = "ftp://rekor.example" },
		"timestampURL: ":              func(o *Options) { o.TimestampURL = "https://user:hunter2@tsa.example" },
		"http":                        func(o *Options) { o.HTTP = nil },
		"token":                       func(o *Options) { o.Token = nil },
		"material":                    func(o *Options) { o.Material = nil },
		"formats":                     func(o *Options) { o.Formats = nil },
		`formats: "Other" is not`:     func(o *Options) { o.Formats = []v1alpha1.SignatureFormat{"Legacy", "Other"} },
		"":                            func(*Options) {},
		"(a trailing slash is none)":  func(o *Options) { o.FulcioURL += "/" },
	} {
		o := good
		change(&o)
		_, err := New(o)
		wrong := field != "" && !strings.HasPrefix(field, "(")
		if wrong != (err != nil) || wrong && !strings.Contains(err.Error(), field) {
			t.Errorf("%q: got %v", field, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
	}
	if s, _ := New(good); s.options.Limits != (limits.Signatures{RequestTimeout: good.Limits.RequestTimeout}).WithDefaults() {
		t.Errorf("the limits are %+v", s.options.Limits)
	}
}
