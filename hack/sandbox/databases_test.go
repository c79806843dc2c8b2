//go:build linux

package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestAdvisoriesGiveEveryKindOfFinding(t *testing.T) {
	kinds := map[string]int{}
	for _, a := range advisories {
		at := slices.IndexFunc(debianPackages, func(p debianPackage) bool { return p.source == a.Package })
		if at < 0 {
			t.Errorf("no record is of %s, which %s is about", a.Package, a.ID)
			continue
		}
		if a.Fixed == "" {
			kinds["unfixed "+a.Severity+" of "+a.only]++
			continue
		}
		kinds["fixed "+a.Severity+" of "+a.only]++
		if debianPackages[at].released == debianPackages[at].updated {
			t.Errorf("%s is fixed in %s, and both images have the same %s", a.ID, a.Fixed, a.Package)
		}
	}
	for _, want := range []string{"fixed CRITICAL of ", "fixed HIGH of ", "fixed MEDIUM of ", "unfixed CRITICAL of ", "fixed HIGH of grype", "unfixed CRITICAL of trivy"} {
		if kinds[want] == 0 {
			t.Errorf("there is none that is %q, only %v", want, kinds)
		}
	}
}

func TestAScannersDatabaseLacksWhatIsTheOthersAlone(t *testing.T) {
	for scanner, other := range map[string]string{"grype": "trivy", "trivy": "grype"} {
		got := advisoriesOf(scanner)
		if len(got) == 0 || len(got) == len(advisories) || slices.ContainsFunc(got, func(a advisory) bool { return a.only == other }) {
			t.Errorf("%s has %v", scanner, got)
		}
	}
}

// fakeDatabases are programs that write when they were told to say they were built, and what they were told to know.
func fakeDatabases(t *testing.T) builds {
	t.Helper()
	b := builds{"trivydb": t.TempDir(), "grypedb": t.TempDir()}
	const arguments = "#!/bin/sh\nbuilt=${1#--built=} out=${2#--out=}\n"
	for program, script := range map[string]string{
		b.bin("trivydb", "trivydb"): arguments + "{ echo $built; cat; } >$out\n",
		b.bin("grypedb", "grypedb"): arguments + "mkdir -p $out && { echo $built; cat; } >$out/db-1.tar.zst && echo db-1 >$out/latest.json\n",
	} {
		if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// fakeRegistry is one in this process, under the name of the sandbox's.
func fakeRegistry(t *testing.T) registryClient {
	t.Helper()
	server := httptest.NewTLSServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	transport, ok := server.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("the server's client has a transport of its own")
	}
	transport.TLSClientConfig.ServerName = "example.com" // whom the certificate is for
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, server.Listener.Addr().String())
	}
	return registryClient{options: []remote.Option{remote.WithContext(t.Context()), remote.WithTransport(transport)}}
}

// artifactOf returns the only layer's content and title.
func artifactOf(t *testing.T, c registryClient, reference string) (content, title string, found bool) {
	t.Helper()
	tag, err := name.NewTag(registryHost + "/" + reference)
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Get(tag, c.options...)
	if err != nil {
		return "", "", false
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(got.Manifest, &manifest); err != nil || len(manifest.Layers) != 1 {
		t.Fatalf("%s: %v: %s", reference, err, got.Manifest)
	}
	layer, err := remote.Layer(tag.Context().Digest(manifest.Layers[0].Digest.String()), c.options...)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	raw, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw), manifest.Layers[0].Annotations["org.opencontainers.image.title"], true
}

func TestDatabasesAreTheSameAtBothAddresses(t *testing.T) {
	s, b, client := site{state: t.TempDir()}, fakeDatabases(t), fakeRegistry(t)
	// One after the other, as tests switch them: nothing of a state may outlive it.
	for _, test := range []struct {
		state string
		age   time.Duration
		there bool
		whole bool
	}{
		{missing, 0, false, false}, {fresh, 0, true, true}, {stale, 30 * 24 * time.Hour, true, true},
		{corrupt, 0, true, false}, {missing, 0, false, false}, {fresh, 0, true, true},
	} {
		if err := serveDatabases(t.Context(), s, b, client, test.state); err != nil {
			t.Fatal(err)
		}
		if got := readServed(s).State; got != test.state {
			t.Errorf("%s is called %s", test.state, got)
		}
		for reference, file := range map[string]string{"databases/trivy-db:2": trivyArchive, "databases/grype-db:6": grypeDirectory + "/db-1.tar.zst"} {
			onDisk, err := os.ReadFile(s.in("databases", file))
			content, title, found := artifactOf(t, client, reference)
			if found != test.there || (err == nil) != test.there || content != string(onDisk) {
				t.Errorf("%s: %s is there: %t, %q; and the file, %v, %q", test.state, reference, found, content, err, onDisk)
			}
			if test.there && title != filepath.Base(file) {
				t.Errorf("%s: %s is called %q", test.state, reference, title)
			}
			if strings.HasSuffix(content, "]") != test.whole {
				t.Errorf("%s: %s is whole: %t", test.state, reference, !test.whole)
			}
			if test.whole {
				line, _, _ := strings.Cut(content, "\n")
				built, err := time.Parse(time.RFC3339, line)
				if err != nil || !built.Equal(readServed(s).Built) {
					t.Errorf("%s: %s was built %q, %v, and %s is said", test.state, reference, line, err, readServed(s).Built)
				}
			}
		}
		if exists(s.in("databases", grypeDirectory, "latest.json")) != test.there {
			t.Errorf("%s: latest.json is there: %t", test.state, !test.there)
		}
	}
}

func TestOldDatabasesAreOlderThanAnyoneAccepts(t *testing.T) {
	s, b := site{state: t.TempDir()}, fakeDatabases(t)
	if err := serveDatabases(t.Context(), s, b, fakeRegistry(t), stale); err != nil {
		t.Fatal(err)
	}
	if age := time.Since(readServed(s).Built); age < 29*24*time.Hour {
		t.Errorf("they are %s old", age)
	}
}

func TestUpKeepsOnlyFreshDatabases(t *testing.T) {
	b := fakeDatabases(t)
	built := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		is   served
		now  time.Time
		want bool
	}{
		"made an hour ago":           {served{fresh, built, databasesKey(b)}, built.Add(time.Hour), true},
		"made two days ago":          {served{fresh, built, databasesKey(b)}, built.Add(48 * time.Hour), false},
		"switched to missing":        {served{missing, built, databasesKey(b)}, built.Add(time.Hour), false},
		"switched to corrupt":        {served{corrupt, built, databasesKey(b)}, built.Add(time.Hour), false},
		"made by an earlier program": {served{fresh, built, "other"}, built.Add(time.Hour), false},
		"never made":                 {served{}, built, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := site{state: t.TempDir()}
			content, err := json.Marshal(test.is)
			if err != nil {
				t.Fatal(err)
			}
			if err := writeFile(s.in(servedFile), content, 0o644); err != nil {
				t.Fatal(err)
			}
			if got := isRecent(s, b, test.now); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
	if isRecent(site{state: t.TempDir()}, b, built) {
		t.Error("without any claim, they are taken for recent")
	}
}

func TestAFailureLeavesNoClaimAboutWhatIsServed(t *testing.T) {
	s, b, client := site{state: t.TempDir()}, fakeDatabases(t), fakeRegistry(t)
	if err := serveDatabases(t.Context(), s, b, client, fresh); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.bin("grypedb", "grypedb"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := serveDatabases(t.Context(), s, b, client, stale); err == nil {
		t.Error("a program failed, and nothing is said")
	}
	if isRecent(s, b, time.Now()) {
		t.Error("up would not try again")
	}
}
