package vulndb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/stall/stalltest"
)

const (
	unavailable = "Retryable VulnerabilityDatabaseUnavailable"
	invalid     = "Retryable VulnerabilityDatabaseInvalid"
	later       = "Transient VulnerabilityDatabaseUnavailable"
)

var built = time.Date(2026, 11, 23, 6, 7, 8, 123456789, time.UTC)

// tree are the files below a directory with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir+"/")] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTrivyIsLaidOut(t *testing.T) {
	good := trivyArchive(t)
	dotted := gzipped(t, archive(t, entry{name: "./metadata.json", content: metadata}, entry{name: "README", content: "x"}, entry{name: "./trivy.db", content: bolt}))
	for desc, location := range map[string]string{
		"from a registry":               serveArtifact(t, trivyLayer, good),
		"from an HTTPS server":          "http://" + serve(t, files{"/db.tar.gz": good}) + "/db.tar.gz",
		"with other names and files":    "http://" + serve(t, files{"/db.tar.gz": dotted}) + "/db.tar.gz",
		"compressed with something new": "http://" + serve(t, files{"/db": zstandard(t, archive(t, entry{name: "trivy.db", content: bolt}, entry{name: "metadata.json", content: metadata}))}) + "/db",
	} {
		t.Run(desc, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "trivy", "db")
			for range 2 { // Again, as after a failure.
				got, err := fetcher(t, limits.Limits{}).Trivy(t.Context(), location, dir)
				if err != nil || !got.Equal(built) {
					t.Fatalf("got %s, %v", got, err)
				}
				if diff := cmp.Diff(map[string]string{"trivy/db/trivy.db": bolt, "trivy/db/metadata.json": metadata}, tree(t, root)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestWhatIsNoTrivyDatabase(t *testing.T) {
	db, meta := entry{name: "trivy.db", content: bolt}, entry{name: "metadata.json", content: metadata}
	good := trivyArchive(t)
	many := []entry{db, meta}
	for i := range maxEntries {
		many = append(many, entry{name: fmt.Sprint(i)})
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-6] ^= 1 // in the checksum at the end
	tests := map[string]struct {
		archive []byte
		limits  limits.Limits
		says    string
	}{
		"nothing":                  {nil, limits.Limits{}, "has no trivy.db"},
		"a page for people":        {[]byte("<html>" + strings.Repeat("not found ", 100)), limits.Limits{}, "can't be read"},
		"half an archive":          {good[:len(good)/2], limits.Limits{}, "can't be read"},
		"an archive without end":   {good[:len(good)-8], limits.Limits{}, "can't be read"},
		"a checksum that is wrong": {flipped, limits.Limits{}, "can't be read"},
		"no database":              {gzipped(t, archive(t, meta)), limits.Limits{}, "has no trivy.db"},
		"no metadata":              {gzipped(t, archive(t, db)), limits.Limits{}, "has no metadata.json"},
		"a database that is none":  {gzipped(t, archive(t, entry{name: "trivy.db", content: strings.Repeat("x", 100)}, meta)), limits.Limits{}, "no database of bbolt"},
		"an empty database":        {gzipped(t, archive(t, entry{name: "trivy.db"}, meta)), limits.Limits{}, "no database of bbolt"},
		"metadata that are none":   {gzipped(t, archive(t, db, entry{name: "metadata.json", content: "{"})), limits.Limits{}, "metadata.json can't be read"},
		"metadata without a time":  {gzipped(t, archive(t, db, entry{name: "metadata.json", content: "{}"})), limits.Limits{}, "has no UpdatedAt"},
		"a database twice":         {gzipped(t, archive(t, db, meta, db)), limits.Limits{}, "trivy.db twice"},
		"a database that is a link": {gzipped(t, archive(t, entry{name: "trivy.db", content: "/etc/passwd", kind: '2'}, meta)), limits.Limits{},
			"has no trivy.db"},
		"a way out":            {gzipped(t, archive(t, entry{name: "../trivy.db", content: bolt}, entry{name: "/metadata.json", content: metadata})), limits.Limits{}, "has no trivy.db"},
		"too many entries":     {gzipped(t, archive(t, many...)), limits.Limits{}, "more than 100 entries"},
		"too large":            {good, limits.Limits{Scan: limits.Scan{DatabaseBytes: limits.Bytes(len(good) - 1)}}, "limits.scan.databaseBytes"},
		"too large in the end": {good, limits.Limits{Scan: limits.Scan{ExpandedBytes: 1000}}, "limits.scan.expandedBytes"},
		"a bomb": {gzipped(t, archive(t, entry{name: "trivy.db", content: strings.Repeat("\x00", ratioFrom+1<<20)})), limits.Limits{},
			"limits.registry.ratio"},
		"compressed with xz": {[]byte("\xfd7zXZ\x00"), limits.Limits{}, "gzip or zstd"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			root := t.TempDir()
			location := "http://" + serve(t, files{"/db.tar.gz": tt.archive}) + "/db.tar.gz"
			_, err := fetcher(t, tt.limits).Trivy(t.Context(), location, filepath.Join(root, "db"))
			assertFault(t, err, invalid, tt.says, location, "databases.trivy.location")
			if left := tree(t, root); len(left) > 0 {
				t.Errorf("it leaves %v", left)
			}
		})
	}
}

func assertFault(t *testing.T, err error, want string, says ...string) {
	t.Helper()
	if fault(err) != want {
		t.Errorf("got %q (%v), want %q", fault(err), err, want)
	}
	for _, part := range says {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

func TestArtifactsThatHoldNoDatabase(t *testing.T) {
	good := trivyArchive(t)
	here := serveArtifact(t, trivyLayer, good)
	tests := map[string]struct {
		location string
		limits   limits.Limits
		want     string
		says     string
	}{
		"no such tag":           {strings.TrimSuffix(here, ":2") + ":3", limits.Limits{}, unavailable, "404"},
		"no reference at all":   {"oci://A/B", limits.Limits{}, unavailable, "not an image reference"},
		"a layer of other type": {serveArtifact(t, "application/vnd.oci.image.layer.v1.tar+gzip", good), limits.Limits{}, invalid, "instead of " + trivyLayer},
		"two layers":            {serveArtifact(t, trivyLayer, good, good), limits.Limits{}, invalid, "2 layers"},
		"no layer":              {serveArtifact(t, trivyLayer), limits.Limits{}, invalid, "0 layers"},
		"a layer too large":     {here, limits.Limits{Scan: limits.Scan{DatabaseBytes: 10}}, invalid, "limits.scan.databaseBytes"},
		"a manifest too large":  {here, limits.Limits{Registry: limits.Registry{ManifestBytes: 10}}, invalid, "larger than 10"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, err := fetcher(t, tt.limits).Trivy(t.Context(), tt.location, filepath.Join(t.TempDir(), "db"))
			assertFault(t, err, tt.want, tt.says, tt.location, "databases.trivy.location")
		})
	}
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		_, _ = io.WriteString(w, index)
	}))
	_, err := fetcher(t, limits.Limits{}).Trivy(t.Context(), "oci://"+host+"/x:2", filepath.Join(t.TempDir(), "db"))
	assertFault(t, err, invalid, "it is an index")
}

func TestServersThatDoNotHaveIt(t *testing.T) {
	status := func(code int, retryAfter string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", retryAfter)
			w.WriteHeader(code)
		})
	}
	tests := map[string]struct {
		handler http.Handler
		want    string
		after   time.Duration
		says    string
	}{
		"404":                   {status(404, ""), unavailable, 0, "the server answers 404"},
		"403":                   {status(403, ""), unavailable, 0, "the server answers 403"},
		"no content":            {status(204, ""), unavailable, 0, "the server answers 204"},
		"429":                   {status(429, "7"), later, 7 * time.Second, "the server answers 429"},
		"503 for long":          {status(503, "7200"), later, time.Hour, "the server answers 503"},
		"500":                   {status(500, ""), later, 0, "the server answers 500"},
		"a broken connection":   {http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), later, 0, "closed in the middle"},
		"an end in the middle":  {http.HandlerFunc(ended), later, 0, "closed in the middle"},
		"a way to another host": {http.RedirectHandler("https://169.254.169.254/latest", http.StatusFound), unavailable, 0, "169.254.169.254"},
		"a way to plain HTTP":   {http.RedirectHandler("http://database.example/db", http.StatusFound), unavailable, 0, "HTTPS"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			location := "http://" + serve(t, tt.handler) + "/db.tar.gz"
			_, err := fetcher(t, limits.Limits{}).Trivy(t.Context(), location, filepath.Join(t.TempDir(), "db"))
			assertFault(t, err, tt.want, tt.says, location, "Trivy's")
			if f, ok := errors.AsType[*pipeline.Transient](err); ok && f.After != tt.after {
				t.Errorf("it is tried again after %s, want %s", f.After, tt.after)
			}
		})
	}
	_, err := fetcher(t, limits.Limits{}).Grype(t.Context(), "https://10.0.0.1/db.tar.zst", filepath.Join(t.TempDir(), "db"))
	assertFault(t, err, unavailable, "registries.privateHosts", "databases.grype.location")
}

// ended promises more than it sends.
func ended(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, "half")
	panic(http.ErrAbortHandler)
}

// hanging sends a little and then nothing.
func hanging(began chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "{")
		_ = http.NewResponseController(w).Flush()
		began <- struct{}{}
		<-r.Context().Done()
	})
}

func TestADripIsGivenUp(t *testing.T) {
	began, failed, clock := make(chan struct{}, 1), make(chan error, 1), stalltest.NewTime()
	f := fetcher(t, limits.Limits{})
	f.clock = clock.Clock()
	location, dir := "http://"+serve(t, hanging(began))+"/db.tar.gz", t.TempDir()
	go func() {
		_, err := f.Trivy(t.Context(), location, filepath.Join(dir, "db"))
		failed <- err
	}()
	<-began
	for {
		clock.Pass(time.Minute)
		select {
		case err := <-failed:
			assertFault(t, err, later, "less than 256Ki in 1m", "limits.registry.stallBytes")
			return
		case <-time.After(time.Millisecond): // until the read has begun
		}
	}
}

func TestADownloadHasItsTime(t *testing.T) {
	began := make(chan struct{}, 1)
	bounds := limits.Limits{Scan: limits.Scan{DownloadTimeout: limits.Duration(50 * time.Millisecond)}}
	location := "http://" + serve(t, hanging(began)) + "/db.tar.gz"
	_, err := fetcher(t, bounds).Trivy(t.Context(), location, filepath.Join(t.TempDir(), "db"))
	assertFault(t, err, later, "limits.scan.downloadTimeout")
}

func TestACancelledDownloadIsNoFault(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := fetcher(t, limits.Limits{}).Trivy(ctx, "https://database.example/db.tar.gz", filepath.Join(t.TempDir(), "db"))
	if fault(err) != "plain" || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestADiskThatFailsIsNoFault(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	host := serve(t, files{"/db": trivyArchive(t)})
	if _, err := fetcher(t, limits.Limits{}).Trivy(t.Context(), "http://"+host+"/db", filepath.Join(file, "db")); fault(err) != "plain" {
		t.Errorf("got %v", err)
	}
}

func listing(archivePath string, archive []byte) []byte {
	return fmt.Appendf(nil, `{"status":"active","schemaVersion":"v6.1.3","built":"2026-11-23T06:07:08.123456789Z","path":%q,"checksum":"sha256:%x"}`,
		archivePath, sha256.Sum256(archive))
}

func TestGrypeIsKeptAsItIs(t *testing.T) {
	zst := grypeArchive(t)
	gz := gzipped(t, archive(t, entry{name: "vulnerability.db", content: sqlite}))
	plain := archive(t, entry{name: "./6/vulnerability.db", content: sqlite})
	xz := []byte("\xfd7zXZ\x00whatever")
	const archiveName = "vulnerability-db_v6.1.3_2026-11-23T06:07:08Z_1763877600.tar.zst"
	host := serve(t, files{
		"/v6/latest.json": listing(archiveName, zst), "/v6/" + archiveName: zst,
		"/below/latest.json": listing("a/b.tar.gz", gz), "/below/a/b.tar.gz": gz,
		"/db.tar.gz": gz, "/db.tar": plain, "/db.tar.xz": xz,
	})
	tests := map[string]struct {
		location string
		want     []byte
		built    time.Time
	}{
		"by a listing":                     {"http://" + host + "/v6/latest.json", zst, built},
		"by a listing, from a directory":   {"http://" + host + "/below/latest.json", gz, built},
		"from a registry":                  {serveArtifact(t, "application/vnd.example.tar+zstd", zst), zst, time.Time{}},
		"compressed with gzip":             {"http://" + host + "/db.tar.gz", gz, time.Time{}},
		"not compressed":                   {"http://" + host + "/db.tar", plain, time.Time{}},
		"compressed with xz: not our task": {"http://" + host + "/db.tar.xz", xz, time.Time{}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			root := t.TempDir()
			got, err := fetcher(t, limits.Limits{}).Grype(t.Context(), tt.location, filepath.Join(root, "new", "grype.archive"))
			if err != nil || !got.Equal(tt.built) {
				t.Errorf("got %s, %v", got, err)
			}
			if diff := cmp.Diff(map[string]string{"new/grype.archive": string(tt.want)}, tree(t, root)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsNoGrypeDatabase(t *testing.T) {
	zst := grypeArchive(t)
	changed := func(from, to string) []byte { return []byte(strings.Replace(string(listing("db", zst)), from, to, 1)) }
	tests := map[string]struct {
		path    string
		listing []byte
		archive []byte
		limits  limits.Limits
		want    string
		says    string
	}{
		"no listing":                        {path: "/v6/other.json", want: unavailable, says: "the listing of Grype's"},
		"a listing that is none":            {listing: []byte("<html>"), want: invalid, says: "can't be read"},
		"a listing that is too large":       {listing: bytes.Repeat([]byte(" "), maxListing+1), want: invalid, says: "more than 1048576 bytes"},
		"an empty listing":                  {listing: []byte("{}"), want: invalid, says: "is not one beside it"},
		"an archive that is not there":      {listing: changed(`"db"`, `"gone"`), want: unavailable, says: "/v6/gone"},
		"an archive elsewhere":              {listing: changed(`"db"`, `"https://evil.example/db"`), want: invalid, says: "is not one beside it"},
		"an archive above":                  {listing: changed(`"db"`, `"../db"`), want: invalid, says: "is not one beside it"},
		"an archive at the root":            {listing: changed(`"db"`, `"/db"`), want: invalid, says: "is not one beside it"},
		"no checksum":                       {listing: changed("checksum", "chucksum"), want: invalid, says: "checksum"},
		"a checksum of another kind":        {listing: changed("sha256:", "xxh64:"), want: invalid, says: "checksum"},
		"no time":                           {listing: changed("built", "build"), want: invalid, says: "when the database was built"},
		"another archive than announced":    {archive: gzipped(t, nil), want: invalid, says: "its checksum is sha256:"},
		"half an archive":                   {listing: listing("db", zst[:len(zst)-9]), archive: zst[:len(zst)-9], want: invalid, says: "can't be read"},
		"an archive without the database":   {listing: listing("db", gzipped(t, archive(t))), archive: gzipped(t, archive(t)), want: invalid, says: "has no vulnerability.db"},
		"an archive that is too large":      {limits: limits.Limits{Scan: limits.Scan{DatabaseBytes: 5}}, want: invalid, says: "limits.scan.databaseBytes"},
		"an archive that becomes too large": {limits: limits.Limits{Scan: limits.Scan{ExpandedBytes: 5}}, want: invalid, says: "limits.scan.expandedBytes"},
	}
	other := gzipped(t, archive(t, entry{name: "vulnerability.db", content: "SQLite format 2\x00"}))
	tests["a database of another kind"] = struct {
		path    string
		listing []byte
		archive []byte
		limits  limits.Limits
		want    string
		says    string
	}{listing: listing("db", other), archive: other, want: invalid, says: "no database of SQLite"}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			served := files{"/v6/latest.json": listing("db", zst), "/v6/db": zst}
			if tt.listing != nil {
				served["/v6/latest.json"] = tt.listing
			}
			if tt.archive != nil {
				served["/v6/db"] = tt.archive
			}
			path := "/v6/latest.json"
			if tt.path != "" {
				path = tt.path
			}
			_, err := fetcher(t, tt.limits).Grype(t.Context(), "http://"+serve(t, served)+path, filepath.Join(t.TempDir(), "grype.archive"))
			assertFault(t, err, tt.want, tt.says, "databases.grype.location")
		})
	}
}

// What a registry sends must have the digest that its manifest says.
func TestALayerWithOtherBytes(t *testing.T) {
	here := serveArtifact(t, trivyLayer, trivyArchive(t))
	store := "http://" + strings.Split(strings.TrimPrefix(here, "oci://"), "/")[0]
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(store + r.URL.Path)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer func() { _ = resp.Body.Close() }()
		content, _ := io.ReadAll(resp.Body)
		if strings.Contains(r.URL.Path, "/blobs/") {
			content[len(content)-1] ^= 1
		}
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		_, _ = w.Write(content)
	}))
	_, err := fetcher(t, limits.Limits{}).Trivy(t.Context(), "oci://"+host+"/databases/db:2", filepath.Join(t.TempDir(), "db"))
	assertFault(t, err, later, "Trivy's")
}
