package worker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// site has images, and beside them vulnerability databases.
type site struct {
	registry, server string
	// images by platform, as the operator has them.
	images map[string]string
	// authorized are paths of requests to the server and the registry of databases that came with credentials.
	authorized []string
}

func targz(t *testing.T, contents map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for name, content := range contents {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var (
	bolt     = string(binary.LittleEndian.AppendUint32(make([]byte, 16), 0xED0CDAED))
	metadata = `{"Version":2,"UpdatedAt":"2026-11-23T06:00:00.5Z"}`
)

const sqlite = "SQLite format 3\x00"

// newSite wants a user and a password of the registry.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{images: map[string]string{}}
	s.registry = serveRegistry(t, password)
	repo := repository(t, s.registry)
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		img := dockerImage(t, 2)
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(repo.Digest(digest.String()), img, remote.WithTransport(loggedIn{})); err != nil {
			t.Fatal(err)
		}
		s.images[platform] = digest.String()
	}
	trivy, grype := targz(t, map[string]string{"trivy.db": bolt, "metadata.json": metadata}), targz(t, map[string]string{"vulnerability.db": sqlite})
	s.server = strings.TrimPrefix(serveFiles(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			s.authorized = append(s.authorized, r.URL.Path)
		}
		switch r.URL.Path {
		case "/trivy.tar.gz":
			_, _ = w.Write(trivy)
		case "/grype.tar.gz":
			_, _ = w.Write(grype)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}), "http://")
	return s
}

func serveFiles(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

const userPassword = "user:secret"

// password lets nobody in without it.
func password(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(userPassword)) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loggedIn has the password.
type loggedIn struct{}

func (loggedIn) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth("user", "secret")
	return http.DefaultTransport.RoundTrip(r)
}

func (s *site) dockerConfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	// The server of the databases must not see what is kept for it, either.
	writeFile(t, path, fmt.Sprintf(`{"auths":{%q:{"username":"user","password":"secret"},%q:{"username":"user","password":"secret"}}}`, s.registry, s.server))
	return path
}

func (s *site) input() pipeline.WorkerInput {
	return pipeline.WorkerInput{Repository: s.registry + "/base/x", Scan: &pipeline.ScanInput{
		Images: s.images, TrivyDatabase: "http://" + s.server + "/trivy.tar.gz", GrypeDatabase: "http://" + s.server + "/grype.tar.gz",
	}}
}

func (s *site) prepareOptions(t *testing.T, in pipeline.WorkerInput) PrepareOptions {
	t.Helper()
	input, root := mountInput(t, in, nil), t.TempDir()
	return PrepareOptions{
		Input: input, InputDigest: digestOf(t, input), Images: filepath.Join(root, "images"), Databases: filepath.Join(root, "databases"),
		Reports: filepath.Join(root, "reports"), DockerConfig: s.dockerConfig(t), loopback: true, retrier: impatient,
	}
}

func TestPrepare(t *testing.T) {
	s := newSite(t)
	o := s.prepareOptions(t, s.input())
	for range 2 { // It may be repeated.
		if err := Prepare(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for platform, digest := range s.images {
		arch := strings.TrimPrefix(platform, "linux/")
		index, err := layout.ImageIndexFromPath(filepath.Join(o.Images, arch))
		if err != nil {
			t.Fatal(err)
		}
		m, err := index.IndexManifest()
		if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Digest.String() != digest {
			t.Errorf("the layout for %s has %+v (%v), want %s alone", arch, m, err, digest)
		}
		if entries, err := os.ReadDir(filepath.Join(o.Reports, arch)); err != nil || len(entries) > 0 {
			t.Errorf("the directory for reports of %s: %v, %v", arch, entries, err)
		}
	}
	for name, want := range map[string]string{
		"trivy/db/trivy.db": bolt, "trivy/db/metadata.json": metadata, "built.json": `{"trivy":"2026-11-23T06:00:00.5Z"}`,
	} {
		if got, err := os.ReadFile(filepath.Join(o.Databases, name)); string(got) != want {
			t.Errorf("%s is %q (%v)", name, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(o.Databases, "grype.archive")); err != nil {
		t.Error(err)
	}
	if len(s.authorized) > 0 {
		t.Errorf("credentials were sent for %v", s.authorized)
	}
}

func TestPrepareFaults(t *testing.T) {
	s := newSite(t)
	tests := map[string]struct {
		change func(*pipeline.WorkerInput)
		adjust func(*PrepareOptions)
		want   string
		says   string
	}{
		"another input":        {nil, func(o *PrepareOptions) { o.InputDigest = "sha256:x" }, "Terminal InputChanged", "somebody has changed"},
		"the input of a build": {func(in *pipeline.WorkerInput) { in.Scan = nil }, nil, "plain", "names no images"},
		"no images":            {func(in *pipeline.WorkerInput) { in.Scan.Images = nil }, nil, "plain", "names no images"},
		"another platform": {func(in *pipeline.WorkerInput) {
			in.Scan.Images = map[string]string{"linux/../x": s.images["linux/amd64"]}
		}, nil,
			"Terminal UnknownPlatform", "is not supported"},
		"no digest": {func(in *pipeline.WorkerInput) { in.Scan.Images = map[string]string{"linux/amd64": "latest"} }, nil, "plain", "linux/amd64"},
		"an image that is gone": {func(in *pipeline.WorkerInput) {
			in.Scan.Images = map[string]string{"linux/amd64": "sha256:" + strings.Repeat("a", 64)}
		}, nil, "Terminal ImageNotFound", "404"},
		"no credentials": {nil, func(o *PrepareOptions) { o.DockerConfig = "" }, "Terminal RegistryUnauthorized", "401"},
		"no database for Trivy": {func(in *pipeline.WorkerInput) { in.Scan.TrivyDatabase += ".gone" }, nil,
			"Terminal VulnerabilityDatabaseUnavailable", "databases.trivy.location"},
		"no database for Grype": {func(in *pipeline.WorkerInput) { in.Scan.GrypeDatabase += ".gone" }, nil,
			"Terminal VulnerabilityDatabaseUnavailable", "databases.grype.location"},
		"a database that is none": {func(in *pipeline.WorkerInput) { in.Scan.GrypeDatabase = in.Scan.TrivyDatabase }, nil,
			"Terminal VulnerabilityDatabaseInvalid", "vulnerability.db"},
		"a database behind a password": {func(in *pipeline.WorkerInput) { in.Scan.TrivyDatabase = "oci://" + s.registry + "/trivy-db:2" }, nil,
			"Terminal VulnerabilityDatabaseUnavailable", "401"},
		"a limit": {func(in *pipeline.WorkerInput) { in.Limits.Scan.DatabaseBytes = 10 }, nil, "Terminal VulnerabilityDatabaseInvalid", "limits.scan.databaseBytes"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			in := s.input()
			if tt.change != nil {
				tt.change(&in)
			}
			o := s.prepareOptions(t, in)
			if tt.adjust != nil {
				tt.adjust(&o)
			}
			err := Prepare(t.Context(), o)
			if fault(err) != tt.want || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("got %q (%v), want %q and %q", fault(err), err, tt.want, tt.says)
			}
			if database := strings.Contains(tt.want, "Database"); database != pipeline.IsRetryable(err) {
				t.Errorf("another attempt may succeed: %t", !database)
			}
			if _, err := os.Stat(filepath.Join(o.Databases, builtFile)); err == nil {
				t.Error("the time of the databases was noted")
			}
		})
	}
}

func TestPrepareTriesAgain(t *testing.T) {
	s := newSite(t)
	down := true
	in := s.input()
	database := in.Scan.TrivyDatabase
	in.Scan.TrivyDatabase = serveFiles(t, func(w http.ResponseWriter, r *http.Request) {
		if down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		http.Redirect(w, r, database, http.StatusFound)
	}) + "/db"
	o := s.prepareOptions(t, in)
	var r recorder
	o.retrier = r.retrier()
	wait := o.retrier.wait
	o.retrier.wait = func(ctx context.Context, d time.Duration) error {
		down = false
		return wait(ctx, d)
	}
	if err := Prepare(t.Context(), o); err != nil || len(r.pauses) != 1 {
		t.Errorf("got %v after %v", err, r.pauses)
	}
}

// reports are what scanners leave, as far as it is looked at.
func reports() map[string]string {
	return map[string]string{
		"spdx.json":      `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","packages":[{"name":"a"}]}`,
		"cyclonedx.json": `{"$schema":"x","bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[{"type":"library"}]}`,
		"grype.json":     `{"matches":[],"descriptor":{"name":"grype","version":"0.110.0","db":{"status":{"built":"2026-11-22T01:02:03Z","valid":true}}}}`,
		"trivy.json":     `{"SchemaVersion":2,"ArtifactName":"/images/amd64","ArtifactType":"container_image","Results":[{"Vulnerabilities":[]}]}`,
		"trivy.sarif":    `{"version":"2.1.0","runs":[{"results":[]}]}` + "\n",
	}
}

func (s *site) reportOptions(t *testing.T, in pipeline.WorkerInput) ScanReportOptions {
	t.Helper()
	input, root := mountInput(t, in, nil), t.TempDir()
	o := ScanReportOptions{
		Input: input, InputDigest: digestOf(t, input), Reports: filepath.Join(root, "reports"), Databases: filepath.Join(root, "databases"),
		DockerConfig: s.dockerConfig(t), loopback: true, retrier: impatient,
	}
	for _, arch := range []string{"amd64", "arm64"} {
		for name, content := range reports() {
			writeFile(t, filepath.Join(o.Reports, arch, name), content)
		}
	}
	writeFile(t, filepath.Join(o.Databases, "built.json"), `{"trivy":"2026-11-23T06:00:00.5+01:00","grype":"2026-11-21T00:00:00Z"}`)
	return o
}

func TestScanReport(t *testing.T) {
	s := newSite(t)
	o := s.reportOptions(t, s.input())
	got, err := ScanReport(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Report(&out, pipeline.WorkerReport{Scan: got}, nil); err != nil {
		t.Fatal(err)
	}
	parsed, err := pipeline.ParseReport(out.String())
	if err != nil || len(parsed.Scan) != 2 {
		t.Fatalf("the operator reads %+v, %v", parsed, err)
	}
	for platform, digest := range s.images {
		r, want := parsed.Scan[platform], reports()
		trivy, grype := map[string]string{pipeline.AnnotationDatabaseBuilt: "2026-11-23T05:00:00Z"}, map[string]string{pipeline.AnnotationDatabaseBuilt: "2026-11-22T01:02:03Z"}
		s.assertArtifact(t, digest, r.SPDX, pipeline.ArtifactSPDX, "spdx.json", want["spdx.json"], nil)
		s.assertArtifact(t, digest, r.CycloneDX, pipeline.ArtifactCycloneDX, "cyclonedx.json", want["cyclonedx.json"], nil)
		s.assertArtifact(t, digest, r.Grype, pipeline.ArtifactGrype, "grype.json", want["grype.json"], grype)
		s.assertArtifact(t, digest, r.Trivy, pipeline.ArtifactTrivy, "trivy.json", want["trivy.json"], trivy)
		s.assertArtifact(t, digest, r.SARIF, pipeline.ArtifactSARIF, "trivy.sarif", want["trivy.sarif"], nil)
	}
	again, err := ScanReport(t.Context(), o)
	if diff := cmp.Diff(got, again); diff != "" || err != nil {
		t.Errorf("the second time: %v %s", err, diff)
	}
}

func (s *site) assertArtifact(t *testing.T, subject, digest, artifact, title, content string, annotations map[string]string) {
	t.Helper()
	img, err := remote.Image(repository(t, s.registry).Digest(digest), remote.WithTransport(loggedIn{}))
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil || m.Subject == nil || len(m.Layers) != 1 {
		t.Fatalf("%s has the manifest %+v (%v)", title, m, err)
	}
	if m.ArtifactType != artifact || m.Subject.Digest.String() != subject || m.Layers[0].Annotations["org.opencontainers.image.title"] != title {
		t.Errorf("%s is %+v", title, m)
	}
	if diff := cmp.Diff(annotations, m.Annotations); diff != "" {
		t.Errorf("%s: %s", title, diff)
	}
	if got := readLayer(t, img); got != content {
		t.Errorf("%s has %q", title, got)
	}
}

func readLayer(t *testing.T, img v1.Image) string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	body, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	content, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestGrypeGoesByTheListingIfItsReportDoesNotSay(t *testing.T) {
	s := newSite(t)
	o := s.reportOptions(t, s.input())
	for _, arch := range []string{"amd64", "arm64"} {
		writeFile(t, filepath.Join(o.Reports, arch, "grype.json"), `{"matches":[],"descriptor":{"name":"grype"}}`)
	}
	got, err := ScanReport(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.assertArtifact(t, s.images["linux/amd64"], got["linux/amd64"].Grype, pipeline.ArtifactGrype, "grype.json", `{"matches":[],"descriptor":{"name":"grype"}}`,
		map[string]string{pipeline.AnnotationDatabaseBuilt: "2026-11-21T00:00:00Z"})
}

func TestReportsThatAreRefused(t *testing.T) {
	s := newSite(t)
	const invalid, large = "Terminal ReportInvalid", "Terminal ReportTooLarge"
	content := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { writeFile(t, filepath.Join(dir, name), text) }
	}
	instead := func(name string, put func(path string) error) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := put(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := map[string]struct {
		change func(t *testing.T, dir string)
		want   string
		says   string
	}{
		"none":           {instead("trivy.json", func(string) error { return nil }), invalid, "reading trivy.json of linux/arm64: the scanner has left none"},
		"a link":         {instead("spdx.json", func(p string) error { return os.Symlink("cyclonedx.json", p) }), invalid, "neither a regular file nor a directory"},
		"a pipe":         {instead("grype.json", func(p string) error { return syscall.Mkfifo(p, 0o600) }), invalid, "neither a regular file nor a directory"},
		"a directory":    {instead("trivy.sarif", func(p string) error { return os.Mkdir(p, 0o700) }), invalid, "neither a regular file nor a directory"},
		"nothing":        {content("trivy.json", ""), invalid, "no JSON as scanners write it"},
		"half a report":  {content("grype.json", reports()["grype.json"][:50]), invalid, "no JSON"},
		"two reports":    {content("trivy.json", reports()["trivy.json"]+"{}"), invalid, "something follows its end"},
		"a list":         {content("trivy.json", "[]"), invalid, "it is not an object"},
		"text":           {content("spdx.json", "SPDXVersion: SPDX-2.3"), invalid, "it is not an object"},
		"too deep":       {content("trivy.json", `{"a":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+"}"), invalid, "128 levels deep"},
		"a field twice":  {content("trivy.sarif", `{"version":"2.1.0","runs":[],"version":"2.1.0"}`), invalid, `"version" twice`},
		"too many":       {content("trivy.sarif", manyFields()), invalid, "more than 1000"},
		"a byte too big": {content("trivy.json", strings.Repeat(" ", 501)), large, "trivy.json of linux/arm64: it has 501 bytes, more than the 500 of limits.scan.reportBytes"},
		"another SPDX":   {content("spdx.json", `{"spdxVersion":"SPDX-3.0","SPDXID":"SPDXRef-DOCUMENT"}`), invalid, `its spdxVersion is "SPDX-3.0"`},
		"another SBOM":   {content("cyclonedx.json", reports()["spdx.json"]), invalid, "its bomFormat"},
		"another Trivy":  {content("trivy.json", `{"SchemaVersion":3,"ArtifactType":"container_image"}`), invalid, `its SchemaVersion is "3"`},
		"Trivy of files": {content("trivy.json", `{"SchemaVersion":2,"ArtifactType":"filesystem"}`), invalid, `its ArtifactType is "filesystem"`},
		"another SARIF":  {content("trivy.sarif", `{"version":"2.0.0","runs":[]}`), invalid, `its version is "2.0.0"`},
		"SARIF by half":  {content("trivy.sarif", `{"version":"2.1.0","runs":{}}`), invalid, `its runs is "{"`},
		"another Grype":  {content("grype.json", `{"matches":null,"descriptor":{"name":"grype"}}`), invalid, `its matches is "<nil>"`},
		"Grype by syft":  {content("grype.json", `{"matches":[],"descriptor":{"name":"syft"}}`), invalid, `"syft" instead of grype`},
		"Grype by none":  {content("grype.json", `{"matches":[],"descriptor":7}`), invalid, "its descriptor can't be read"},
		"no directory": {func(t *testing.T, dir string) {
			if err := os.Rename(dir, dir+".moved"); err != nil {
				t.Fatal(err)
			}
			link(t, dir+".moved", dir)
		}, invalid, "their directory is neither"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			in := s.input()
			in.Limits.Scan.ReportBytes = limits.Bytes(500)
			if desc == "too many" {
				in.Limits.Scan.ReportBytes = 0
			}
			o := s.reportOptions(t, in)
			tt.change(t, filepath.Join(o.Reports, "arm64"))
			got, err := ScanReport(t.Context(), o)
			if fault(err) != tt.want || !strings.Contains(fmt.Sprint(err), tt.says) || got != nil {
				t.Errorf("got %v, %q (%v), want %q and %q", got, fault(err), err, tt.want, tt.says)
			}
		})
	}
}

func manyFields() string {
	var b strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&b, `,"f%d":0`, i)
	}
	return "{" + b.String()[1:] + "}"
}

func TestScanReportFaults(t *testing.T) {
	s := newSite(t)
	tests := map[string]struct {
		change func(*pipeline.WorkerInput)
		adjust func(*ScanReportOptions)
		want   string
		says   string
	}{
		"another input":         {nil, func(o *ScanReportOptions) { o.InputDigest = "" }, "Terminal InputChanged", "somebody has changed"},
		"the input of a build":  {func(in *pipeline.WorkerInput) { in.Scan = nil }, nil, "plain", "names no images"},
		"no time of databases":  {nil, func(o *ScanReportOptions) { o.Databases = o.Reports }, "plain", "built.json"},
		"no time of Trivy's":    {nil, func(o *ScanReportOptions) { writeFile(t, filepath.Join(o.Databases, "built.json"), "{}") }, "plain", "Trivy's database"},
		"no credentials":        {nil, func(o *ScanReportOptions) { o.DockerConfig = "" }, "Terminal RegistryUnauthorized", "401"},
		"an image that is gone": {func(in *pipeline.WorkerInput) { in.Repository += "y" }, nil, "Terminal ImageNotFound", "404"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			in := s.input()
			if tt.change != nil {
				tt.change(&in)
			}
			o := s.reportOptions(t, in)
			if tt.adjust != nil {
				tt.adjust(&o)
			}
			got, err := ScanReport(t.Context(), o)
			if fault(err) != tt.want || !strings.Contains(fmt.Sprint(err), tt.says) || got != nil {
				t.Errorf("got %v, %q (%v), want %q and %q", got, fault(err), err, tt.want, tt.says)
			}
		})
	}
}

func TestScanReportTriesAgain(t *testing.T) {
	s := newSite(t)
	down := 0
	front := serveRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && down == 0 {
				w.Header().Set("Retry-After", "60")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			req := r.Clone(r.Context())
			req.URL.Scheme, req.URL.Host, req.RequestURI, req.Host = "http", s.registry, "", s.registry
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			defer func() { _ = resp.Body.Close() }()
			maps.Copy(w.Header(), resp.Header)
			w.WriteHeader(resp.StatusCode)
			_, _ = io.Copy(w, resp.Body)
		})
	})
	in := s.input()
	in.Repository = front + "/base/x"
	s.registry, front = front, s.registry
	o := s.reportOptions(t, in)
	s.registry = front
	var r recorder
	o.retrier = r.retrier()
	wait := o.retrier.wait
	o.retrier.wait = func(ctx context.Context, d time.Duration) error {
		down++
		return wait(ctx, d)
	}
	got, err := ScanReport(t.Context(), o)
	if diff := cmp.Diff([]time.Duration{time.Minute}, r.pauses); err != nil || len(got) != 2 || diff != "" {
		t.Errorf("got %v, %v %s", got, err, diff)
	}
}
