package pullsecret

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/chrismellard/docker-credential-acr-env/pkg/credhelper"
	"github.com/google/go-containerregistry/pkg/authn"
)

var acrName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// acrDomains of the clouds that Azure has, by the names that AZURE_ENVIRONMENT takes. They have different operators, and
// the token of one is not shown to another.
var acrDomains = map[string]string{
	"AZUREPUBLICCLOUD":       "azurecr.io",
	"AZURECLOUD":             "azurecr.io",
	"AZURECHINACLOUD":        "azurecr.cn",
	"AZUREUSGOVERNMENT":      "azurecr.us",
	"AZUREUSGOVERNMENTCLOUD": "azurecr.us",
}

func azure() (provider, error) {
	environment := cmp.Or(os.Getenv("AZURE_ENVIRONMENT"), "AzurePublicCloud")
	domain, ok := acrDomains[strings.ToUpper(environment)]
	if !ok {
		return provider{}, fmt.Errorf("AZURE_ENVIRONMENT is %q: it may be AzurePublicCloud, AzureChinaCloud or AzureUSGovernment", environment)
	}
	return provider{
		cloud: Azure, account: func(host string) string { return acrAccount(host, domain) }, fetch: acrFetch,
		advice: "give the ServiceAccount of the webhook an identity that has the role AcrPull",
	}, nil
}

// acrAccount is the registry: each has tokens of its own.
func acrAccount(host, domain string) string {
	registry, rest, _ := strings.Cut(host, ".")
	if rest != domain || !acrName.MatchString(registry) {
		return ""
	}
	return host
}

// acrFetch can't be cancelled, but ends after half a minute by itself. The token is good for three hours.
func acrFetch(_ context.Context, host string) (credential, error) {
	_, token, err := credhelper.NewACRCredentialsHelper().Get(host)
	return credential{auth: &authn.AuthConfig{IdentityToken: token}}, err
}
