package pullsecret

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	googleauth "golang.org/x/oauth2/google"
)

// googleScope is what the registries of Google ask for.
const googleScope = "https://www.googleapis.com/auth/cloud-platform"

// google uses the library for tokens and not the keychain of go-containerregistry: after a first failure, that one is
// anonymous for ever, and it is tied to the context of the first request.
func google() (provider, error) {
	return provider{
		cloud: Google, account: googleAccount, fetch: googleFetch,
		advice: "give the ServiceAccount of the webhook the role roles/artifactregistry.reader, by Workload Identity",
	}, nil
}

// googleAccount is one for all: so is the token.
func googleAccount(host string) string {
	if host == "gcr.io" || strings.HasSuffix(host, ".gcr.io") || strings.HasSuffix(host, ".pkg.dev") {
		return "default"
	}
	return ""
}

func googleFetch(ctx context.Context, _ string) (credential, error) {
	source, err := googleauth.DefaultTokenSource(ctx, googleScope)
	if err != nil {
		return credential{}, err
	}
	token, err := source.Token()
	if err != nil {
		return credential{}, err
	}
	return credential{auth: &authn.AuthConfig{Username: "oauth2accesstoken", Password: token.AccessToken}, expires: token.Expiry}, nil
}
