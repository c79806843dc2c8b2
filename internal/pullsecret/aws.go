package pullsecret

import (
	"context"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecrpublic"
	"github.com/google/go-containerregistry/pkg/authn"
)

const (
	ecrPublicHost = "public.ecr.aws"
	// ecrPublicRegion is the only one that gives tokens for ecrPublicHost.
	ecrPublicRegion = "us-east-1"
)

// ecrHost has the endpoint, with or without FIPS 140, the region, and the suffix of the part of AWS that is in China.
var ecrHost = regexp.MustCompile(`^[0-9]{12}\.dkr\.ecr(-fips)?\.([a-z]{2,4}(?:-[a-z]{1,16}){1,3}-[0-9]{1,2})\.amazonaws\.com(\.cn)?$`)

// aws uses its SDK and not the credential helper: that one writes tokens to files, and can't be cancelled.
func aws() (provider, error) {
	return provider{
		cloud: AWS, account: ecrAccount, fetch: ecrFetch,
		advice: "give the ServiceAccount of the webhook a role that may do ecr:GetAuthorizationToken (for public.ecr.aws ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken)",
	}, nil
}

// ecrAccount is the region: a token is good for all registries there.
func ecrAccount(host string) string {
	if host == ecrPublicHost {
		return host
	}
	m := ecrHost.FindStringSubmatch(host)
	if m == nil || strings.HasPrefix(m[2], "cn-") != (m[3] != "") {
		return ""
	}
	return m[2] + m[1]
}

func ecrFetch(ctx context.Context, host string) (credential, error) {
	if host == ecrPublicHost {
		return ecrPublicFetch(ctx)
	}
	m := ecrHost.FindStringSubmatch(host)
	cfg, err := awsConfig(ctx, m[2], m[1] != "")
	if err != nil {
		return credential{}, err
	}
	out, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return credential{}, err
	}
	if len(out.AuthorizationData) == 0 {
		return credential{}, errors.New("no token in the answer")
	}
	return ecrCredential(out.AuthorizationData[0].AuthorizationToken, out.AuthorizationData[0].ExpiresAt)
}

func ecrPublicFetch(ctx context.Context) (credential, error) {
	cfg, err := awsConfig(ctx, ecrPublicRegion, false)
	if err != nil {
		return credential{}, err
	}
	out, err := ecrpublic.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecrpublic.GetAuthorizationTokenInput{})
	if err != nil {
		return credential{}, err
	}
	if out.AuthorizationData == nil {
		return credential{}, errors.New("no token in the answer")
	}
	return ecrCredential(out.AuthorizationData.AuthorizationToken, out.AuthorizationData.ExpiresAt)
}

func awsConfig(ctx context.Context, region string, fips bool) (awssdk.Config, error) {
	options := []func(*config.LoadOptions) error{config.WithRegion(region), config.WithRetryMaxAttempts(2)}
	if fips {
		options = append(options, config.WithUseFIPSEndpoint(awssdk.FIPSEndpointStateEnabled))
	}
	return config.LoadDefaultConfig(ctx, options...)
}

// ecrCredential reads a token: base64 of user:password.
func ecrCredential(token *string, expires *time.Time) (credential, error) {
	raw, err := base64.StdEncoding.DecodeString(awssdk.ToString(token))
	if err != nil {
		return credential{}, errors.New("a token that is not base64")
	}
	user, password, _ := strings.Cut(string(raw), ":")
	return credential{auth: &authn.AuthConfig{Username: user, Password: password}, expires: awssdk.ToTime(expires)}, nil
}
