package codescanning

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	token  = "ghp_secret-0123456789"
	commit = "0123456789012345678901234567890123456789"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// github is the code scanning of one repository, as its documentation describes it.
type github struct {
	t *testing.T
	// answer replaces that of GitHub, unless it is nil.
	answer http.HandlerFunc
	// uploads are the SARIF files that were accepted.
	uploads []sarif
	// requests that came.
	requests int
}

// sarif is what GitHub wants of a file.
type sarif struct {
	Schema  string `json:"$schema"`
	Version string `json:"version"`
	Runs    []struct {
		Automation struct {
			ID string `json:"id"`
		} `json:"automationDetails"`
		Tool struct {
			Driver struct {
				Name  string            `json:"name"`
				Rules []json.RawMessage `json:"rules"`
			} `json:"driver"`
		} `json:"tool"`
		Results []struct {
			RuleID       string            `json:"ruleId"`
			Fingerprints map[string]string `json:"partialFingerprints"`
			Message      struct {
				Text string `json:"text"`
			} `json:"message"`
			Locations []location `json:"locations"`
		} `json:"results"`
	} `json:"runs"`
}

func (g *github) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.requests++
	if g.answer != nil {
		g.answer(w, r)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/api/v3/repos/octo/base-images/code-scanning/sarifs" || r.Header.Get("Authorization") != "Bearer "+token {
		says(w, http.StatusNotFound, "Not Found")
		return
	}
	if r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("X-GitHub-Api-Version") != "2022-11-28" || r.Header.Get("User-Agent") == "" || r.Header.Get("Content-Type") != "application/json" {
		g.t.Errorf("headers %v", r.Header)
	}
	file, err := g.read(r.Body)
	if err != nil {
		says(w, http.StatusBadRequest, err.Error())
		return
	}
	g.uploads = append(g.uploads, file)
	w.WriteHeader(http.StatusAccepted)
	_, _ = fmt.Fprintf(w, `{"id":"47177e22-5596-11eb-80a1-c1e54ef945c%d","url":"https://api.github.com/x"}`, len(g.uploads))
}

func (g *github) read(body io.Reader) (sarif, error) {
	var in struct {
		Commit string `json:"commit_sha"`
		Ref    string `json:"ref"`
		SARIF  string `json:"sarif"`
	}
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return sarif{}, err
	}
	if in.Commit != commit || in.Ref != "refs/heads/main" {
		return sarif{}, fmt.Errorf("commit %s, ref %s", in.Commit, in.Ref)
	}
	zipped, err := base64.StdEncoding.DecodeString(in.SARIF)
	if err != nil {
		return sarif{}, err
	}
	unzip, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return sarif{}, err
	}
	var file sarif
	if err := json.NewDecoder(unzip).Decode(&file); err != nil {
		return sarif{}, err
	}
	if file.Version != "2.1.0" || file.Schema == "" || len(file.Runs) == 0 {
		return sarif{}, errors.New("no SARIF 2.1.0")
	}
	return file, nil
}

func says(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message, "documentation_url": "https://docs.github.com/rest"})
}

func start(t *testing.T, answer http.HandlerFunc) (*github, Client, Request) {
	t.Helper()
	g := &github{t: t, answer: answer}
	server := httptest.NewTLSServer(g)
	t.Cleanup(server.Close)
	raw, err := os.ReadFile("testdata/trivy.sarif")
	if err != nil {
		t.Fatal(err)
	}
	return g, Client{Transport: server.Client().Transport, Now: func() time.Time { return now }},
		Request{APIURL: server.URL + "/api/v3", Repository: "octo/base-images", Ref: "refs/heads/main", Commit: commit, Category: "basewright/wolfi/linux-amd64", Token: token, SARIF: raw}
}

func TestUpload(t *testing.T) {
	g, c, r := start(t, nil)
	r.Path = "images/wolfi/Dockerfile"
	id, err := c.Upload(t.Context(), r)
	if err != nil || id != "47177e22-5596-11eb-80a1-c1e54ef945c1" {
		t.Fatalf("got %q, %v", id, err)
	}
	run := g.uploads[0].Runs[0]
	if run.Automation.ID != "basewright/wolfi/linux-amd64/" || run.Tool.Driver.Name != "Trivy" || len(run.Tool.Driver.Rules) != 5 || len(run.Results) != 5 {
		t.Errorf("got %+v", run)
	}
	seen := map[string]bool{}
	for _, result := range run.Results {
		mark := result.Fingerprints["primaryLocationLineHash"]
		if mark == "" || seen[mark] {
			t.Errorf("%s has the fingerprint %q", result.RuleID, mark)
		}
		seen[mark] = true
		at := result.Locations[0].Physical
		if at.Artifact != (artifact{URI: "images/wolfi/Dockerfile"}) || !strings.Contains(string(at.Region), "startLine") || result.Message.Text == "" || !strings.Contains(string(result.Locations[0].Message), "@") {
			t.Errorf("got %+v", result)
		}
	}
}

// As the pattern of spec.scan.github.repository has it.
func TestOwnersMayHaveUnderscores(t *testing.T) {
	_, _, r := start(t, nil)
	r.Repository = "octo_corp/base_images"
	if endpoint, err := r.endpoint(); err != nil || !strings.HasSuffix(endpoint, "/repos/octo_corp/base_images/code-scanning/sarifs") {
		t.Errorf("got %s, %v", endpoint, err)
	}
}

func TestAlertsPointWhereTrivySaysUnlessThereIsAPath(t *testing.T) {
	g, c, r := start(t, nil)
	if _, err := c.Upload(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if at := g.uploads[0].Runs[0].Results[0].Locations[0].Physical.Artifact; at != (artifact{URI: "/images/amd64", BaseID: "ROOTPATH"}) {
		t.Errorf("got %+v", at)
	}
}

// An alert that was dismissed stays so when the package gets a newer version that is still vulnerable.
func TestFingerprintsStayTheSameForAnotherVersion(t *testing.T) {
	g, c, r := start(t, nil)
	if _, err := c.Upload(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.SARIF = bytes.ReplaceAll(r.SARIF, []byte("1:1.35.0-4+b3"), []byte("1:1.35.0-5"))
	if _, err := c.Upload(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	r.SARIF = bytes.ReplaceAll(r.SARIF, []byte("Package: busybox-static"), []byte("Package: busybox"))
	if _, err := c.Upload(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	of := func(i int) string {
		return g.uploads[i].Runs[0].Results[0].Fingerprints["primaryLocationLineHash"]
	}
	if of(0) != of(1) || of(1) == of(2) {
		t.Errorf("got %s, %s, %s", of(0), of(1), of(2))
	}
}

func TestFingerprintsOfTheScannerAreKept(t *testing.T) {
	g, c, r := start(t, nil)
	r.SARIF = []byte(`{"$schema":"x","version":"2.1.0","runs":[{"results":[{"ruleId":"a","partialFingerprints":{"primaryLocationLineHash":"own"}}],"automationDetails":{"id":"theirs"}},{"results":[]}]}`)
	if _, err := c.Upload(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if runs := g.uploads[0].Runs; runs[0].Results[0].Fingerprints["primaryLocationLineHash"] != "own" || runs[0].Automation.ID != r.Category+"/" || runs[1].Automation.ID != r.Category+"/" || runs[1].Results == nil {
		t.Errorf("got %+v", runs)
	}
}

func TestWhatGitHubWouldNotTakeIsNotSent(t *testing.T) {
	results := func(n int) []byte {
		one := `{"ruleId":"CVE-1","message":{"text":"x"}}`
		return []byte(`{"$schema":"x","version":"2.1.0","runs":[{"results":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}]}`)
	}
	noise := func(n int) []byte {
		random := make([]byte, n)
		r := rand.NewChaCha8([32]byte{})
		_, _ = r.Read(random)
		return []byte(`{"$schema":"` + base64.StdEncoding.EncodeToString(random) + `","version":"2.1.0","runs":[{"results":[]}]}`)
	}
	tests := map[string]struct {
		change func(*Request)
		reason string
	}{
		"an address that is none":        {func(r *Request) { r.APIURL = "github" }, pipeline.ReasonCodeScanningRefused},
		"an address without TLS":         {func(r *Request) { r.APIURL = strings.Replace(r.APIURL, "https", "http", 1) }, pipeline.ReasonCodeScanningRefused},
		"an address with a password":     {func(r *Request) { r.APIURL = strings.Replace(r.APIURL, "https://", "https://a:b@", 1) }, pipeline.ReasonCodeScanningRefused},
		"a repository that is a path":    {func(r *Request) { r.Repository = "octo/.." }, pipeline.ReasonCodeScanningRefused},
		"a repository with a slash":      {func(r *Request) { r.Repository = "octo/a/b" }, pipeline.ReasonCodeScanningRefused},
		"a repository with a query":      {func(r *Request) { r.Repository = "octo/a?b" }, pipeline.ReasonCodeScanningRefused},
		"a branch that is not a ref":     {func(r *Request) { r.Ref = "main" }, pipeline.ReasonCodeScanningRefused},
		"no commit":                      {func(r *Request) { r.Commit = "sha256:" + commit }, pipeline.ReasonCodeScanningRefused},
		"no token":                       {func(r *Request) { r.Token = "" }, pipeline.ReasonGitHubTokenInvalid},
		"a token with a line":            {func(r *Request) { r.Token += "\n" }, pipeline.ReasonGitHubTokenInvalid},
		"a token that is not text":       {func(r *Request) { r.Token = "a\x00b" }, pipeline.ReasonGitHubTokenInvalid},
		"no SARIF":                       {func(r *Request) { r.SARIF = nil }, pipeline.ReasonReportInvalid},
		"null":                           {func(r *Request) { r.SARIF = []byte("null") }, pipeline.ReasonReportInvalid},
		"a half of it":                   {func(r *Request) { r.SARIF = r.SARIF[:len(r.SARIF)/2] }, pipeline.ReasonReportInvalid},
		"another version of SARIF":       {func(r *Request) { r.SARIF = bytes.Replace(r.SARIF, []byte("2.1.0"), []byte("2.0.0"), 1) }, pipeline.ReasonReportInvalid},
		"SARIF without runs":             {func(r *Request) { r.SARIF = []byte(`{"version":"2.1.0","runs":[]}`) }, pipeline.ReasonReportInvalid},
		"SARIF without results":          {func(r *Request) { r.SARIF = []byte(`{"version":"2.1.0","runs":[{}]}`) }, pipeline.ReasonReportInvalid},
		"SARIF with a run that is null":  {func(r *Request) { r.SARIF = []byte(`{"version":"2.1.0","runs":[null]}`) }, pipeline.ReasonReportInvalid},
		"SARIF with a null result":       {func(r *Request) { r.SARIF = []byte(`{"version":"2.1.0","runs":[{"results":[null]}]}`) }, pipeline.ReasonReportInvalid},
		"SARIF with a location of words": {func(r *Request) { r.SARIF = []byte(`{"version":"2.1.0","runs":[{"results":[{"locations":"here"}]}]}`) }, pipeline.ReasonReportInvalid},
		"more runs than GitHub takes":    {func(r *Request) { r.SARIF = []byte(`{"version":"2.1.0","runs":[` + strings.Repeat("{},", 20) + `{}]}`) }, pipeline.ReasonReportInvalid},
		"more results than GitHub takes": {func(r *Request) { r.SARIF = results(maxResults + 1) }, pipeline.ReasonCodeScanningRefused},
		"more bytes than are looked at":  {func(r *Request) { r.SARIF = append(r.SARIF, bytes.Repeat([]byte(" "), 32<<20)...) }, pipeline.ReasonCodeScanningRefused},
		"an owner that begins with a _":  {func(r *Request) { r.Repository = "_octo/a" }, pipeline.ReasonCodeScanningRefused},
		"more bytes than GitHub takes":   {func(r *Request) { r.SARIF = noise(maxCompressed + 1000) }, pipeline.ReasonCodeScanningRefused},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			g, c, r := start(t, nil)
			tt.change(&r)
			_, err := c.Upload(t.Context(), r)
			wantTerminal(t, err, tt.reason)
			if g.requests > 0 || strings.Contains(err.Error(), "\n") || r.Token != "" && strings.Contains(err.Error(), strings.TrimSpace(r.Token)) {
				t.Errorf("%d requests, %q", g.requests, err)
			}
		})
	}
	g, c, r := start(t, nil)
	r.SARIF = results(maxResults)
	if _, err := c.Upload(t.Context(), r); err != nil || len(g.uploads) != 1 {
		t.Errorf("as many results as GitHub takes: %v", err)
	}
}

func TestAnswersThatEndIt(t *testing.T) {
	tests := map[string]struct {
		status  int
		message string
		headers map[string]string
		reason  string
		says    string
	}{
		"bad SARIF":       {400, "Invalid SARIF", nil, pipeline.ReasonCodeScanningRefused, "GitHub does not take the findings for commit " + commit + " of octo/base-images (400: Invalid SARIF): check spec.scan.github"},
		"a bad token":     {401, "Bad credentials", nil, pipeline.ReasonGitHubTokenInvalid, "GitHub does not know the token of spec.scan.github.tokenSecretRef (401: Bad credentials): put a valid one into its key token"},
		"no permission":   {403, "Resource not accessible by personal access token", nil, pipeline.ReasonCodeScanningRefused, "GitHub does not let the token of spec.scan.github.tokenSecretRef write security events of octo/base-images (403: Resource not accessible by personal access token): give it that permission (security_events), and enable code scanning for the repository"},
		"requests left":   {403, "Advanced Security must be enabled", map[string]string{"X-RateLimit-Remaining": "17"}, pipeline.ReasonCodeScanningRefused, "GitHub does not let the token of spec.scan.github.tokenSecretRef write security events of octo/base-images (403: Advanced Security must be enabled): give it that permission (security_events), and enable code scanning for the repository"},
		"no repository":   {404, "Not Found", nil, pipeline.ReasonCodeScanningRefused, "GitHub does not find repository octo/base-images, commit " + commit + " or refs/heads/main (404: Not Found): check spec.scan.github.repository and ref, and that the token may see the repository"},
		"too large":       {413, "Payload Too Large", nil, pipeline.ReasonCodeScanningRefused, "Trivy's findings are too large for GitHub (413: Payload Too Large): update the packages that have the most, or leave out spec.scan.github"},
		"invalid":         {422, "ref is invalid", nil, pipeline.ReasonCodeScanningRefused, "GitHub does not take the findings for commit " + commit + " of octo/base-images (422: ref is invalid): check spec.scan.github"},
		"an evil message": {422, token + "\n\x1b[31m\u202e" + strings.Repeat("x", 1000), nil, pipeline.ReasonCodeScanningRefused, "GitHub does not take the findings for commit " + commit + " of octo/base-images (422: … [31m" + strings.Repeat("x", maxText-len("… [31m…")) + "…): check spec.scan.github"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			g, c, r := start(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range tt.headers {
					w.Header().Set(name, value)
				}
				says(w, tt.status, tt.message)
			})
			_, err := c.Upload(t.Context(), r)
			wantTerminal(t, err, tt.reason)
			if err.Error() != tt.says || g.requests != 1 {
				t.Errorf("%d requests, got %q", g.requests, err)
			}
		})
	}
}

func TestAnswersThatAskToComeLater(t *testing.T) {
	reset := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	tests := map[string]struct {
		status  int
		body    string
		headers map[string]string
		after   time.Duration
	}{
		"unavailable":                             {503, `{"code":"503","message":"x"}`, nil, 0},
		"unavailable for a time":                  {503, "", map[string]string{"Retry-After": "120"}, 2 * time.Minute},
		"a defect":                                {500, "<html>", nil, 0},
		"a request that took too long":            {408, "", nil, 0},
		"an answer of another kind":               {200, "{}", nil, 0},
		"an id that is none":                      {202, `{"id":"a b"}`, nil, 0},
		"no id":                                   {202, "{}", nil, 0},
		"no JSON":                                 {202, "ok", nil, 0},
		"too many requests":                       {429, "", nil, time.Minute},
		"too many requests, come in 90 s":         {429, "", map[string]string{"Retry-After": "90"}, 90 * time.Second},
		"forbidden, come in 90 s":                 {403, "", map[string]string{"Retry-After": "90"}, 90 * time.Second},
		"no requests left":                        {403, "", map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset(20 * time.Minute)}, 20 * time.Minute},
		"no requests left until a moment ago":     {429, "", map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset(-time.Hour)}, time.Minute},
		"no requests left until far away":         {403, "", map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset(1000 * time.Hour)}, time.Hour},
		"no requests left, it doesn't say when":   {403, "", map[string]string{"X-RateLimit-Remaining": "0"}, time.Minute},
		"no requests left until a time of no use": {403, "", map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, time.Minute},
		"the secondary limit, in words alone":     {403, `{"message":"You have exceeded a secondary rate limit."}`, nil, time.Minute},
		"a pause of years":                        {429, "", map[string]string{"Retry-After": "99999999"}, time.Hour},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			g, c, r := start(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range tt.headers {
					w.Header().Set(name, value)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			id, err := c.Upload(t.Context(), r)
			later, ok := errors.AsType[*pipeline.Transient](err)
			if !ok || later.Reason != pipeline.ReasonCodeScanningUnavailable || later.After != tt.after || id != "" || g.requests != 1 {
				t.Errorf("got %q, %v (%+v), %d requests", id, err, later, g.requests)
			}
		})
	}
}

func TestTheTokenGoesToNoOtherHost(t *testing.T) {
	thief := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s came with %v", r.Method, r.Header) }))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		_, c, r := start(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", thief.URL)
			w.WriteHeader(status)
		})
		_, err := c.Upload(t.Context(), r)
		wantTerminal(t, err, pipeline.ReasonCodeScanningRefused)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	_, c, r := start(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, strings.Repeat(" ", maxAnswer)+`{"id":"1"}`)
	})
	if id, err := c.Upload(t.Context(), r); !pipeline.IsTransient(err) {
		t.Errorf("got %q, %v", id, err)
	}
}

type refusing struct{}

func (refusing) Error() string { return "10.0.0.1 is private" }
func (refusing) Refused() bool { return true }

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func TestWhatIsNotSent(t *testing.T) {
	_, c, r := start(t, nil)
	c.Transport = transport(func(*http.Request) (*http.Response, error) { return nil, refusing{} })
	_, err := c.Upload(t.Context(), r)
	wantTerminal(t, err, pipeline.ReasonCodeScanningRefused)
	c.Transport = transport(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	if _, err := c.Upload(t.Context(), r); !pipeline.IsTransient(err) {
		t.Errorf("got %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, c, r = start(t, nil)
	if _, err := c.Upload(cancelled, r); !pipeline.IsTransient(err) || strings.Contains(err.Error(), token) {
		t.Errorf("got %v", err)
	}
}

func wantTerminal(t *testing.T, err error, reason string) {
	t.Helper()
	if terminal, ok := errors.AsType[*pipeline.Terminal](err); !ok || terminal.Reason != reason || terminal.Retryable {
		t.Fatalf("got %v, want a Terminal with reason %s", err, reason)
	}
}
