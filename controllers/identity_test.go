package controllers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// tokens gives tokens, as the apiserver does.
type tokens struct {
	client.SubResourceClient
	t     *testing.T
	clock clock.PassiveClock
	// claims of the tokens, with the number of each in it.
	claims string
	// give changes what is given.
	give func(ctx context.Context, status *authenticationv1.TokenRequestStatus) error

	mu    sync.Mutex
	asked int
}

func (a *tokens) SubResource(name string) client.SubResourceClient {
	if name != "token" {
		a.t.Errorf("asked for the subresource %s", name)
	}
	return a
}

func (a *tokens) Create(ctx context.Context, o, sub client.Object, _ ...client.SubResourceCreateOption) error {
	a.mu.Lock()
	a.asked++
	n := a.asked
	a.mu.Unlock()
	request, ok := sub.(*authenticationv1.TokenRequest)
	if _, account := o.(*corev1.ServiceAccount); !account || !ok || o.GetNamespace() != "basewright-system" || o.GetName() != "basewright-signer" {
		a.t.Errorf("asked for a %T of a %T %s/%s", sub, o, o.GetNamespace(), o.GetName())
	}
	if s := request.Spec; !slices.Equal(s.Audiences, []string{"sigstore"}) || s.ExpirationSeconds == nil || *s.ExpirationSeconds != 600 || s.BoundObjectRef != nil {
		a.t.Errorf("asked for %+v", request.Spec)
	}
	if _, bounded := ctx.Deadline(); !bounded {
		a.t.Error("nothing ends the request")
	}
	request.Status = authenticationv1.TokenRequestStatus{Token: jwt(a.claims, n), ExpirationTimestamp: metav1.NewTime(a.clock.Now().Add(10 * time.Minute))}
	if a.give != nil {
		return a.give(ctx, &request.Status)
	}
	return nil
}

func jwt(claims string, n int) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + fmt.Sprintf(".secret%d", n)
}

const signerClaims = `{"iss": "https://issuer.example", "sub": "system:serviceaccount:basewright-system:basewright-signer", "aud": ["sigstore"]}`

func newSigner(t *testing.T, now clock.PassiveClock) (*SignerIdentity, *tokens) {
	t.Helper()
	a := &tokens{t: t, clock: now, claims: signerClaims}
	return NewSignerIdentity(a, types.NamespacedName{Namespace: "basewright-system", Name: "basewright-signer"}, "sigstore", now), a
}

func TestATokenIsMintedWhenTheLastOneIsAboutToExpire(t *testing.T) {
	now := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
	signer, api := newSigner(t, now)
	for _, step := range []struct {
		later time.Duration
		asked int
	}{{0, 1}, {0, 1}, {8*time.Minute - 1, 1}, {1, 2}, {7 * time.Minute, 2}, {time.Hour, 3}} {
		now.SetTime(now.Now().Add(step.later))
		token, err := signer.Token(t.Context())
		if err != nil || api.asked != step.asked || token != jwt(signerClaims, step.asked) {
			t.Errorf("%+v: got %q, %v after %d requests", step, token, err, api.asked)
		}
	}
}

func TestTheIdentityIsThatOfTheToken(t *testing.T) {
	signer, api := newSigner(t, clock.RealClock{})
	for range 2 {
		issuer, subject, err := signer.Identity(t.Context())
		if err != nil || issuer != "https://issuer.example" || subject != "https://kubernetes.io/namespaces/basewright-system/serviceaccounts/basewright-signer" {
			t.Errorf("got %s, %s, %v", issuer, subject, err)
		}
	}
	if _, err := signer.Token(t.Context()); err != nil || api.asked != 1 {
		t.Errorf("asked %d times, %v", api.asked, err)
	}
}

func TestATokenThatIsNotTheSignersIsRefused(t *testing.T) {
	for name, tt := range map[string]struct{ token, says string }{
		"nothing":               {"", "is not a JWT"},
		"two parts":             {"e30.secret", "is not a JWT"},
		"endless":               {jwt(`{"iss":"`+strings.Repeat("secret", 4096)+`"}`, 1), "is not a JWT of at most 16384 bytes"},
		"no Base64":             {"e30.sec%ret.secret", "claims that can't be read"},
		"no JSON":               {jwt("secret", 1), "claims that can't be read"},
		"another account":       {jwt(strings.Replace(signerClaims, ":basewright-signer", ":default", 1), 1), `names the subject "system:serviceaccount:basewright-system:default"`},
		"another namespace":     {jwt(strings.Replace(signerClaims, ":basewright-system", ":payments", 1), 1), `names the subject "system:serviceaccount:payments:basewright-signer"`},
		"no issuer":             {jwt(strings.Replace(signerClaims, "https://issuer.example", "", 1), 1), `the issuer ""`},
		"an issuer of no text":  {jwt(strings.Replace(signerClaims, `"https://issuer.example"`, "1", 1), 1), "claims that can't be read"},
		"the account of a user": {jwt(strings.Replace(signerClaims, "system:serviceaccount:", "", 1), 1), `names the subject "basewright-system:basewright-signer"`},
	} {
		t.Run(name, func(t *testing.T) {
			signer, api := newSigner(t, clock.RealClock{})
			api.give = func(_ context.Context, s *authenticationv1.TokenRequestStatus) error { s.Token = tt.token; return nil }
			token, err := signer.Token(t.Context())
			if err == nil || token != "" || reasonOf(err) != pipeline.ReasonIdentityUnavailable || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %q, %v", token, err)
			}
			if _, _, err := signer.Identity(t.Context()); err == nil || api.asked != 2 {
				t.Errorf("what was refused is remembered: %v after %d requests", err, api.asked)
			}
		})
	}
}

func TestWhyThereIsNoTokenAndWhatToDo(t *testing.T) {
	away := errors.New("connection refused")
	resource := corev1.Resource("serviceaccounts/token")
	for name, tt := range map[string]struct {
		err  error
		says string
	}{
		"the operator may not": {apierrors.NewForbidden(resource, "basewright-signer", away),
			"the operator may not ask for tokens of ServiceAccount basewright-system/basewright-signer: bind its ServiceAccount to a Role in namespace basewright-system with the verb create for serviceaccounts/token and resourceNames [basewright-signer]: "},
		"there is no such account": {apierrors.NewNotFound(resource, "basewright-signer"),
			"ServiceAccount basewright-system/basewright-signer, which signs, does not exist: create it, or correct sigstore.serviceAccount in the operator's configuration: "},
		"the apiserver is away": {away, "asking for a token of ServiceAccount basewright-system/basewright-signer: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			signer, api := newSigner(t, clock.RealClock{})
			api.give = func(_ context.Context, s *authenticationv1.TokenRequestStatus) error { return tt.err }
			token, err := signer.Token(t.Context())
			if token != "" || !pipeline.IsTransient(err) || reasonOf(err) != pipeline.ReasonIdentityUnavailable || !errors.Is(err, tt.err) || !strings.HasPrefix(err.Error(), tt.says) {
				t.Errorf("got %q, %v", token, err)
			}
			api.give = nil
			if _, err := signer.Token(t.Context()); err != nil {
				t.Errorf("once it is mended: %v", err)
			}
		})
	}
}

func TestOneAsksForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signer, api := newSigner(t, clock.RealClock{})
		api.give = func(context.Context, *authenticationv1.TokenRequestStatus) error { time.Sleep(time.Second); return nil }
		var asking sync.WaitGroup
		for range 20 {
			asking.Go(func() {
				if token, err := signer.Token(t.Context()); err != nil || token != jwt(signerClaims, 1) {
					t.Errorf("got %q, %v", token, err)
				}
			})
		}
		asking.Wait()
		if api.asked != 1 {
			t.Errorf("asked %d times", api.asked)
		}
	})
}

func TestWhoWaitsForAnApiserverThatHangsMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signer, api := newSigner(t, clock.RealClock{})
		api.give = func(ctx context.Context, _ *authenticationv1.TokenRequestStatus) error {
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		first := make(chan error)
		go func() { _, err := signer.Token(t.Context()); first <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := signer.Token(ctx); !errors.Is(err, context.DeadlineExceeded) || !pipeline.IsTransient(err) || time.Since(began) != time.Second {
			t.Errorf("who gave up: %v after %s", err, time.Since(began))
		}
		if err := <-first; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("who asked: %v after %s", err, time.Since(began))
		}
	})
}

func TestTokensAreNotPrinted(t *testing.T) {
	signer, _ := newSigner(t, clock.RealClock{})
	if _, err := signer.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	options := Options{Signing: Signing{Identity: signer}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%q", "%x"} {
		if got := fmt.Sprintf(verb, signer); got != "ServiceAccount basewright-system/basewright-signer" {
			t.Errorf("%s: %s", verb, got)
		}
		if got := fmt.Sprintf(verb, options); strings.Contains(got, "secret1") || strings.Contains(got, fmt.Sprintf("%x", "secret1")) {
			t.Errorf("%s of options: %s", verb, got)
		}
	}
}
