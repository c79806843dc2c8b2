package pullsecret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/oauth2"
)

func TestOnlyHostsOfACloudAreAskedAbout(t *testing.T) {
	asked := func(names ...Cloud) func(host string) string {
		c := must(newClouds(names))
		return func(host string) string {
			repo := must(name.NewRepository(host + "/org/x"))
			if auth, ok := must(c.Resolve(repo)).(*cloudAuth); ok {
				return auth.key
			}
			return ""
		}
	}
	all, none := asked(Clouds()...), asked()
	for host, want := range map[string]string{
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com":          "AWS eu-west-1",
		"210987654321.dkr.ecr.eu-west-1.amazonaws.com":          "AWS eu-west-1",
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com": "AWS us-gov-west-1-fips",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":      "AWS cn-north-1",
		"public.ecr.aws":        "AWS public.ecr.aws",
		"team.azurecr.io":       "Azure team.azurecr.io",
		"gcr.io":                "Google default",
		"eu.gcr.io":             "Google default",
		"europe-docker.pkg.dev": "Google default",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example": "",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com.cn":           "",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com":             "",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443":         "",
		"123456789012xdkr.ecr.eu-west-1.amazonaws.com":              "",
		"1.dkr.ecr.eu-west-1.amazonaws.com":                         "",
		"x.123456789012.dkr.ecr.eu-west-1.amazonaws.com":            "",
		"123456789012.dkr.ecr.evil.example.amazonaws.com":           "",
		"ecr.public.ecr.aws":                                        "",
		"team.azurecr.cn":                                           "",
		"team.azurecr.us":                                           "",
		"azurecr.io":                                                "",
		"a.b.azurecr.io":                                            "",
		"team.azurecr.io.evil.example":                              "",
		"evilazurecr.io":                                            "",
		"team.azurecr.io:8443":                                      "",
		"evilgcr.io":                                                "",
		"gcr.io.evil.example":                                       "",
		"gcr.io:8443":                                               "",
		"evilpkg.dev":                                               "",
		"ghcr.io":                                                   "",
		"index.docker.io":                                           "",
		"localhost:5000":                                            "",
		"localhost":                                                 "",
		"10.0.0.1":                                                  "",
	} {
		t.Run(host, func(t *testing.T) {
			if got := all(host); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := none(host); got != "" {
				t.Errorf("no cloud is configured, and %q is asked", got)
			}
		})
	}
}

func TestAzureShowsATokenToItsOwnCloudOnly(t *testing.T) {
	for environment, want := range map[string]string{"AzureChinaCloud": "azurecr.cn", "AzureUSGovernment": "azurecr.us", "AzurePublicCloud": "azurecr.io", "": "azurecr.io"} {
		t.Run(environment, func(t *testing.T) {
			t.Setenv("AZURE_ENVIRONMENT", environment)
			p := must(azure())
			for _, domain := range []string{"azurecr.io", "azurecr.cn", "azurecr.us"} {
				if got := p.account("team." + domain); (got != "") != (domain == want) {
					t.Errorf("%s is asked about: %q", domain, got)
				}
			}
		})
	}
	t.Setenv("AZURE_ENVIRONMENT", "AzureMoonCloud")
	if _, err := newClouds([]Cloud{Azure}); err == nil || !strings.Contains(err.Error(), "AzureMoonCloud") {
		t.Errorf("got %v", err)
	}
}

// fake is a keychain with one cloud, for example.com.
func fake(fetch func(ctx context.Context, host string) (credential, error)) *clouds {
	return &clouds{now: time.Now, known: must(lru.New[string, outcome](cloudCredentials)), providers: []provider{{
		cloud: "Fake", advice: "ask for one", fetch: fetch,
		account: func(host string) string { return strings.TrimSuffix(host, ".example.com") },
	}}}
}

func password(t *testing.T, k authn.Keychain, host string) (string, error) {
	t.Helper()
	auth, err := authn.Authorization(t.Context(), must(k.Resolve(must(name.NewRepository(host+"/org/x")))))
	if err != nil {
		return "", err
	}
	return auth.Password, nil
}

func TestHowLongACredentialOfACloudIsUsed(t *testing.T) {
	for desc, tt := range map[string]struct {
		good   time.Duration
		err    error
		stays  time.Duration
		passes time.Duration
	}{
		"one without an end":              {stays: cloudTTL - 1, passes: cloudTTL},
		"one that is good for longer":     {good: 12 * time.Hour, stays: cloudTTL - 1, passes: cloudTTL},
		"one that ends before":            {good: time.Minute, stays: 30*time.Second - 1, passes: 30 * time.Second},
		"a failure is remembered shortly": {err: errors.New("down"), stays: cloudPause - 1, passes: cloudPause},
	} {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fetched := 0
				c := fake(func(context.Context, string) (credential, error) {
					fetched++
					got := credential{auth: &authn.AuthConfig{Username: "u", Password: fmt.Sprint(fetched)}}
					if tt.good != 0 {
						got.expires = time.Now().Add(tt.good)
					}
					return got, tt.err
				})
				start := time.Now()
				for _, step := range []struct {
					at   time.Duration
					want int
				}{{0, 1}, {tt.stays, 1}, {tt.passes, 2}} {
					c.now = func() time.Time { return start.Add(step.at) }
					got, err := password(t, c, "a.example.com")
					if fetched != step.want || (err != nil) != (tt.err != nil) || err == nil && got != fmt.Sprint(step.want) {
						t.Errorf("after %v: %d fetched, got %q, %v", step.at, fetched, got, err)
					}
				}
			})
		})
	}
}

func TestOneRequestForAllWhoNeedACredential(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetched atomic.Int32
		goOn := make(chan struct{})
		c := fake(func(_ context.Context, host string) (credential, error) {
			fetched.Add(1)
			<-goOn
			return credential{auth: &authn.AuthConfig{Username: "u", Password: host}}, nil
		})
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				host := fmt.Sprintf("%d.example.com", i%2)
				if got, err := password(t, c, host); got != host {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
		synctest.Wait()
		close(goOn)
		all.Wait()
		if fetched.Load() != 2 {
			t.Errorf("%d requests for two accounts", fetched.Load())
		}
	})
}

type coded struct{ code string }

func (c coded) Error() string     { return "hunter2" }
func (c coded) ErrorCode() string { return c.code }

type answered struct{ status int }

func (a answered) Error() string            { return "hunter2" }
func (a answered) Response() *http.Response { return &http.Response{StatusCode: a.status} }

func TestAFailureNamesTheCloudAndNoToken(t *testing.T) {
	never := make(chan struct{})
	for desc, tt := range map[string]struct {
		fetch func(context.Context) (credential, error)
		says  string
	}{
		"an error of which nothing is known": {func(context.Context) (credential, error) {
			return credential{}, errors.New("unreadable answer: hunter2")
		}, "no identity there"},
		"an error with a code": {func(context.Context) (credential, error) {
			return credential{}, fmt.Errorf("hunter2: %w", coded{"AccessDeniedException"})
		}, "it says AccessDeniedException"},
		"an error with a code that is none": {func(context.Context) (credential, error) { return credential{}, coded{"hunter2 is the token"} }, "no identity there"},
		"an error with a status":            {func(context.Context) (credential, error) { return credential{}, answered{403} }, "status 403"},
		"an error of OAuth": {func(context.Context) (credential, error) {
			return credential{}, &oauth2.RetrieveError{Response: &http.Response{StatusCode: 400}, Body: []byte("hunter2"), ErrorCode: "invalid_grant", ErrorDescription: "hunter2"}
		}, "it says invalid_grant"},
		"no error and no credential": {func(context.Context) (credential, error) { return credential{}, nil }, "no identity there"},
		"an empty password": {func(context.Context) (credential, error) {
			return credential{auth: &authn.AuthConfig{Username: "hunter2"}}, nil
		}, "no identity there"},
		"a panic":               {func(context.Context) (credential, error) { panic("hunter2") }, "no identity there"},
		"no answer":             {func(ctx context.Context) (credential, error) { <-ctx.Done(); return credential{}, ctx.Err() }, "not answered in time"},
		"no answer, and no end": {func(context.Context) (credential, error) { <-never; return credential{}, nil }, "not answered in time"},
	} {
		t.Run(desc, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				never = make(chan struct{})
				defer synctest.Wait()
				defer close(never)
				_, err := password(t, fake(func(ctx context.Context, _ string) (credential, error) { return tt.fetch(ctx) }), "a.example.com")
				if fault(err) != "Transient CloudCredentialsUnavailable" || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "Fake gives the webhook no credentials for a.example.com") {
					t.Errorf("got %v", err)
				}
				for ; err != nil; err = errors.Unwrap(err) {
					if strings.Contains(err.Error(), "hunter2") {
						t.Errorf("tells %v", err)
					}
				}
			})
		})
	}
}

func TestWhoeverIsCancelledSaysNothingOfTheCloud(t *testing.T) {
	c := fake(func(ctx context.Context, _ string) (credential, error) { <-ctx.Done(); return credential{}, ctx.Err() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := authn.Authorization(ctx, must(c.Resolve(must(name.NewRepository("a.example.com/x")))))
	if fault(err) != context.Canceled.Error() {
		t.Errorf("got %v", err)
	}
}

func TestAPodsOwnSecretComesBeforeTheCloud(t *testing.T) {
	s := newStore(t, Options{})
	s.cloud = fake(func(context.Context, string) (credential, error) {
		return credential{auth: &authn.AuthConfig{Username: "cloud", Password: "p"}}, nil
	})
	k := chain(s, func(context.Context, Secret) ([]byte, error) { return dockerConfig("a.example.com", "pod"), nil }, secret("a", "1"))
	for host, want := range map[string]string{"a.example.com": "pod", "b.example.com": "cloud"} {
		if got := user(k.ResolveContext(t.Context(), must(name.NewRepository(host+"/x")))); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

// standIn is a service of a cloud. The environment of the test has nothing else of any cloud.
func standIn(t *testing.T, answer http.HandlerFunc) (url string) {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	home := t.TempDir()
	for key, value := range map[string]string{
		"HOME": home, "AWS_CONFIG_FILE": filepath.Join(home, "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(home, "none"),
		"GOOGLE_APPLICATION_CREDENTIALS": "", "CLOUDSDK_CONFIG": home, "HTTP_PROXY": "", "HTTPS_PROXY": "",
	} {
		t.Setenv(key, value)
	}
	return srv.URL
}

func TestAWS(t *testing.T) {
	token := base64.StdEncoding.EncodeToString([]byte("AWS:hunter2"))
	for desc, tt := range map[string]struct {
		host   string
		status int
		answer string
		want   string
	}{
		"a private registry": {host: "123456789012.dkr.ecr.eu-west-1.amazonaws.com", status: 200,
			answer: `{"authorizationData":[{"authorizationToken":"` + token + `","expiresAt":4102444800,"proxyEndpoint":"https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"}]}`, want: "AWS hunter2"},
		"the public registry": {host: ecrPublicHost, status: 200,
			answer: `{"authorizationData":{"authorizationToken":"` + token + `","expiresAt":4102444800}}`, want: "AWS hunter2"},
		"no right to it":          {host: ecrPublicHost, status: 400, answer: `{"__type":"AccessDeniedException","message":"hunter2"}`, want: "Transient CloudCredentialsUnavailable it says AccessDeniedException"},
		"an answer without token": {host: "123456789012.dkr.ecr.eu-west-1.amazonaws.com", status: 200, answer: `{"authorizationData":[]}`, want: "Transient CloudCredentialsUnavailable no identity"},
		"a token that is none":    {host: ecrPublicHost, status: 200, answer: `{"authorizationData":{"authorizationToken":"hunter2!"}}`, want: "Transient CloudCredentialsUnavailable no identity"},
		"an answer that is none":  {host: ecrPublicHost, status: 200, answer: `hunter2`, want: "Transient CloudCredentialsUnavailable "},
	} {
		t.Run(desc, func(t *testing.T) {
			var asked []string
			url := standIn(t, func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("X-Amz-Target")+" "+r.Header.Get("Authorization"))
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			})
			t.Setenv("AWS_ENDPOINT_URL", url)
			t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
			region := "eu-west-1"
			if tt.host == ecrPublicHost {
				region = ecrPublicRegion
			}
			checkCredential(t, must(newClouds([]Cloud{AWS})), tt.host, tt.want)
			if len(asked) == 0 || !strings.Contains(asked[0], "GetAuthorizationToken") || !strings.Contains(asked[0], "/"+region+"/ecr") {
				t.Errorf("was asked %q", asked)
			}
		})
	}
}

func TestGoogle(t *testing.T) {
	for desc, tt := range map[string]struct {
		status int
		answer string
		want   string
	}{
		"the identity of the pod": {status: 200, answer: `{"access_token":"hunter2","expires_in":3600,"token_type":"Bearer"}`, want: "oauth2accesstoken hunter2"},
		"no identity":             {status: 404, answer: `hunter2`, want: "Transient CloudCredentialsUnavailable no identity"},
		"a token that is none":    {status: 200, answer: `{"access_token":"","hunter2":1}`, want: "Transient CloudCredentialsUnavailable no identity"},
	} {
		t.Run(desc, func(t *testing.T) {
			url := standIn(t, func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.URL.Path, "/computeMetadata/v1/instance/service-accounts/default/token") || r.Header.Get("Metadata-Flavor") != "Google" {
					http.NotFound(w, r)
					return
				}
				w.Header().Set("Metadata-Flavor", "Google")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			})
			t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(url, "http://"))
			checkCredential(t, must(newClouds([]Cloud{Google})), "europe-docker.pkg.dev", tt.want)
		})
	}
}

// TestAzureWithoutAnIdentity ends at the first request: the exchange of the token itself is with the registry, at a host
// that no setting changes.
func TestAzureWithoutAnIdentity(t *testing.T) {
	standIn(t, http.NotFound)
	t.Setenv("AZURE_FEDERATED_TOKEN", "hunter2")
	t.Setenv("AZURE_CLIENT_ID", "")
	t.Setenv("AZURE_TENANT_ID", "\x7f")
	checkCredential(t, must(newClouds([]Cloud{Azure})), "team.azurecr.io", "Transient CloudCredentialsUnavailable no identity")
}

func checkCredential(t *testing.T, k authn.Keychain, host, want string) {
	t.Helper()
	auth, err := authn.Authorization(t.Context(), must(k.Resolve(must(name.NewRepository(host+"/org/x")))))
	if err == nil {
		if got := auth.Username + " " + auth.Password; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		return
	}
	reason, says, _ := strings.Cut(strings.TrimPrefix(want, "Transient "), " ")
	if fault(err) != "Transient "+reason || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want %s", err, want)
	}
}
