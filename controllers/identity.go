package controllers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// The ServiceAccount that signs, as it is configured by default: nobody else may ask for its tokens.
// +kubebuilder:rbac:groups="",namespace=basewright-system,resources=serviceaccounts/token,resourceNames=basewright-signer,verbs=create

const (
	// tokenLifetime is the shortest that the apiserver gives.
	tokenLifetime = 10 * time.Minute
	// tokenReserve is what must be left of a token for it to be handed out.
	tokenReserve = 2 * time.Minute
	mintTimeout  = 10 * time.Second
	// maxToken is far above what a ServiceAccount's token has.
	maxToken = 16 << 10
)

// SignerIdentity is the identity that signs: that of a ServiceAccount which no workload uses. Its tokens are minted when
// they are asked for, and stay in memory.
type SignerIdentity struct {
	client   client.SubResourceClientConstructor
	account  types.NamespacedName
	audience string
	clock    clock.PassiveClock

	// turn is held by who looks at last, and mints. Who waits for it can give up.
	turn chan struct{}
	last *mintedToken
}

type mintedToken struct {
	token   string
	issuer  string
	expires time.Time
}

// NewSignerIdentity makes the identity of a ServiceAccount, towards whom the audience names. It asks for nothing yet.
func NewSignerIdentity(c client.SubResourceClientConstructor, account types.NamespacedName, audience string, now clock.PassiveClock) *SignerIdentity {
	return &SignerIdentity{client: c, account: account, audience: audience, clock: now, turn: make(chan struct{}, 1)}
}

// Format keeps tokens out of whatever is printed, with any verb.
func (s *SignerIdentity) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "ServiceAccount %s", s.account) // The state can't refuse it.
}

// Token returns a token that is valid for two more minutes at least. An error is Transient: the cluster can be mended
// while builds wait.
func (s *SignerIdentity) Token(ctx context.Context) (string, error) {
	minted, err := s.current(ctx)
	if err != nil {
		return "", err
	}
	return minted.token, nil
}

// Identity returns the issuer of the tokens, and the subject that Fulcio writes into certificates for them.
func (s *SignerIdentity) Identity(ctx context.Context) (issuer, subject string, err error) {
	minted, err := s.current(ctx)
	if err != nil {
		return "", "", err
	}
	return minted.issuer, fmt.Sprintf("https://kubernetes.io/namespaces/%s/serviceaccounts/%s", s.account.Namespace, s.account.Name), nil
}

func (s *SignerIdentity) current(ctx context.Context) (*mintedToken, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, identityUnavailable("waiting for a token of ServiceAccount %s: %w", s.account, context.Cause(ctx))
	}
	if s.last != nil && s.clock.Now().Add(tokenReserve).Before(s.last.expires) {
		return s.last, nil
	}
	minted, err := s.mint(ctx)
	if err != nil {
		return nil, err
	}
	s.last = minted
	return minted, nil
}

func (s *SignerIdentity) mint(ctx context.Context) (*mintedToken, error) {
	ctx, cancel := context.WithTimeout(ctx, mintTimeout)
	defer cancel()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.account.Namespace, Name: s.account.Name}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences: []string{s.audience}, ExpirationSeconds: new(int64(tokenLifetime.Seconds())),
	}}
	if err := s.client.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, s.refused(err)
	}
	issuer, err := s.issuerOf(request.Status.Token)
	if err != nil {
		return nil, err
	}
	return &mintedToken{token: request.Status.Token, issuer: issuer, expires: request.Status.ExpirationTimestamp.Time}, nil
}

// refused says what to do.
func (s *SignerIdentity) refused(err error) error {
	switch {
	case apierrors.IsForbidden(err):
		return identityUnavailable("the operator may not ask for tokens of ServiceAccount %s: bind its ServiceAccount to a Role in namespace %s with the verb create for serviceaccounts/token and resourceNames [%s]: %w",
			s.account, s.account.Namespace, s.account.Name, err)
	case apierrors.IsNotFound(err):
		return identityUnavailable("ServiceAccount %s, which signs, does not exist: create it, or correct sigstore.serviceAccount in the operator's configuration: %w", s.account, err)
	}
	return identityUnavailable("asking for a token of ServiceAccount %s: %w", s.account, err)
}

// issuerOf reads what a token says of itself. Its signature is not looked at: it comes from our own apiserver. Errors have
// nothing of it.
func (s *SignerIdentity) issuerOf(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 {
		return "", identityUnavailable("the token of ServiceAccount %s that the apiserver gave is not a JWT of at most %d bytes", s.account, maxToken)
	}
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return "", identityUnavailable("the token of ServiceAccount %s that the apiserver gave has claims that can't be read", s.account)
	}
	if want := fmt.Sprintf("system:serviceaccount:%s:%s", s.account.Namespace, s.account.Name); claims.Subject != want || claims.Issuer == "" {
		return "", identityUnavailable("the token of ServiceAccount %s that the apiserver gave names the subject %.200q and the issuer %.200q: it has to be %q, and some issuer",
			s.account, claims.Subject, claims.Issuer, want)
	}
	return claims.Issuer, nil
}

func identityUnavailable(format string, args ...any) error {
	return pipeline.Transientf(pipeline.ReasonIdentityUnavailable, format, args...)
}
