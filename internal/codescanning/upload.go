// Package codescanning uploads findings in SARIF to the code scanning of a GitHub repository
// (https://docs.github.com/en/rest/code-scanning/code-scanning#upload-an-analysis-as-sarif-data).
package codescanning

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/ibshafique/base-images/internal/netmessage"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// timeout of one upload.
	timeout = 2 * time.Minute
	// maxAnswer is what is read of an answer.
	maxAnswer  = 1 << 20
	apiVersion = "2022-11-28"
)

// Client uploads through a transport, which decides what addresses may be reached.
type Client struct {
	// Transport sends the requests. Required.
	Transport http.RoundTripper
	// Now is the clock. Required.
	Now func() time.Time
}

// Request is one upload.
type Request struct {
	// APIURL is https://api.github.com, or that of a GitHub Enterprise Server with its path.
	APIURL string
	// Repository as owner/name.
	Repository string
	// Ref that Commit belongs to: refs/heads/….
	Ref string
	// Commit that was built.
	Commit string
	// Category tells several analyses of a commit apart, for example basewright/wolfi-micro/linux-amd64.
	Category string
	// Path of the file in the repository that alerts point to, such as the Dockerfile. Empty: where Trivy says.
	Path string
	// Token that may write security events. It is in no error.
	Token string
	// SARIF as Trivy wrote it.
	SARIF []byte
}

// payload is the body of the request.
type payload struct {
	Commit string `json:"commit_sha"`
	Ref    string `json:"ref"`
	// SARIF is compressed, and in Base64.
	SARIF []byte `json:"sarif"`
}

// Upload uploads findings and returns the id by which GitHub knows the upload. The error is a Terminal that names the
// field to change, or a Transient that says when to try again.
func (c Client) Upload(ctx context.Context, r Request) (string, error) {
	endpoint, err := r.endpoint()
	if err != nil {
		return "", err
	}
	sarif, err := compressed(r)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(payload{Commit: r.Commit, Ref: r.Ref, SARIF: sarif})
	if err != nil {
		return "", fmt.Errorf("encoding the upload of SARIF: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("making the upload of SARIF: %w", err)
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("Authorization", "Bearer "+r.Token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "basewright")
	request.Header.Set("X-GitHub-Api-Version", apiVersion)
	return c.send(request, r)
}

// send follows no redirect: the token is for this host, and the body would get lost.
func (c Client) send(request *http.Request, r Request) (string, error) {
	client := http.Client{Transport: c.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		return "", notSent(request.URL.Host, err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return "", unavailable(0, "reading the answer of %s: %w", request.URL.Host, netmessage.Wrap(err))
	}
	answer := answer{Response: response, body: raw, request: r, now: c.Now()}
	return answer.read()
}

// notSent tells an address that may not be reached from one that can't be.
func notSent(host string, err error) error {
	var decision interface{ Refused() bool }
	if errors.As(err, &decision) && decision.Refused() {
		return refused("the upload to github.apiURL of the operator's configuration was not sent: %w", netmessage.Wrap(err))
	}
	return unavailable(0, "uploading SARIF to %s: %w", host, netmessage.Wrap(err))
}

var (
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+$`)
	commitForm     = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
	tokenForm      = regexp.MustCompile(`^[!-~]+$`)
)

// endpoint checks what goes into the request, and says where it is sent to.
func (r Request) endpoint() (string, error) {
	api, err := apiOf(r.APIURL)
	_, name, _ := strings.Cut(r.Repository, "/")
	switch {
	case err != nil:
		return "", err
	case !repositoryForm.MatchString(r.Repository) || name == "." || name == "..":
		return "", refused("spec.scan.github.repository is %q: write owner/name", text(r.Repository))
	case !strings.HasPrefix(r.Ref, "refs/"):
		return "", refused("spec.scan.github.ref is %q: write refs/heads/…, refs/tags/… or refs/pull/…", text(r.Ref))
	case !commitForm.MatchString(r.Commit):
		return "", refused("there is no commit to upload findings for: GitHub wants one, take spec.source.git, or leave out spec.scan.github")
	case !tokenForm.MatchString(r.Token):
		return "", pipeline.Terminalf(pipeline.ReasonGitHubTokenInvalid, "spec.scan.github.tokenSecretRef: the key token holds no token: put one there, without spaces or lines around it")
	}
	return api.String() + "/repos/" + r.Repository + "/code-scanning/sarifs", nil
}

func apiOf(address string) (*url.URL, error) {
	api, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || api.Scheme != "https" || api.Host == "" || api.User != nil || api.RawQuery != "" || api.Fragment != "" {
		return nil, refused("github.apiURL of the operator's configuration is not the address of an API: write https://api.github.com, or https://HOST/api/v3 of a GitHub Enterprise Server")
	}
	return api, nil
}

func refused(format string, args ...any) error {
	return pipeline.Terminalf(pipeline.ReasonCodeScanningRefused, format, args...)
}

func unavailable(after time.Duration, format string, args ...any) error {
	return &pipeline.Transient{Reason: pipeline.ReasonCodeScanningUnavailable, After: after, Err: fmt.Errorf(format, args...)}
}
