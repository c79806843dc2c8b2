package verdict

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

const ociIndex, ociImage = `"application/vnd.oci.image.index.v1+json"`, `"application/vnd.oci.image.manifest.v1+json"`

// entry of an index: the digest is n.
func entry(n int, platform string) string {
	return fmt.Sprintf(`{"mediaType":%s,"size":7,"digest":"sha256:%064x"%s}`, ociImage, n, platform)
}

func on(os, architecture string) string {
	return fmt.Sprintf(`,"platform":{"os":%q,"architecture":%q}`, os, architecture)
}

func entries(all ...string) string {
	return `{"schemaVersion":2,"manifests":[` + strings.Join(all, ",") + `]}`
}

func parsed(raw string, mediaType types.MediaType, nodes []pipeline.Platform) (*image, error) {
	ref, err := name.NewDigest("registry.example/x@sha256:" + strings.Repeat("f", 64))
	if err != nil {
		return nil, err
	}
	return parse(ref, registry.Manifest{Descriptor: v1.Descriptor{MediaType: mediaType}, Raw: []byte(raw)}, nodes)
}

// What a node might run has to be vouched for, however the index says what it is for.
func TestWhatNodesCanRun(t *testing.T) {
	tests := map[string]struct {
		platform string
		want     string
	}{
		"of a node":                           {on("linux", "amd64"), "linux/amd64"},
		"in capitals":                         {on("Linux", "AMD64"), "linux/amd64"},
		"of a node, by another name":          {on("linux", "x86_64"), "linux/amd64"},
		"with a variant":                      {`,"platform":{"os":"linux","architecture":"amd64","variant":"v3"}`, "linux/amd64/v3"},
		"what a node runs, too":               {on("linux", "386"), "linux/386"},
		"of another architecture":             {on("linux", "s390x"), ""},
		"of another system":                   {on("windows", "amd64"), ""},
		"an attestation":                      {on("unknown", "unknown"), ""},
		"half an attestation":                 {on("linux", "unknown"), "linux/unknown"},
		"of no platform":                      {"", "an image of no platform"},
		"of a platform that is null":          {`,"platform":null`, "an image of no platform"},
		"of a platform that says nothing":     {`,"platform":{}`, "/"},
		"of an architecture nobody knows":     {on("linux", "amd65"), "linux/amd65"},
		"of a system nobody knows":            {on("linux2", "amd64"), "linux2/amd64"},
		"of a platform in other letters":      {`,"Platform":{"os":"windows","architecture":"amd64"}`, "an image of no platform"},
		"of an architecture in other letters": {`,"platform":{"os":"linux","Architecture":"s390x"}`, "linux/"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			im, err := parsed(entries(entry(1, tt.platform), entry(2, on("linux", "amd64"))), types.OCIImageIndex, []pipeline.Platform{amd64})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, c := range im.children {
				got[c.ref.DigestStr()[70:]] = c.platform
			}
			want := map[string]string{"2": "linux/amd64"}
			if tt.want != "" {
				want["1"] = tt.want
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	many := func(n int, platform string) string {
		var all []string
		for i := range n {
			all = append(all, entry(i, platform))
		}
		return entries(all...)
	}
	amd := on("linux", "amd64")
	tests := map[string]struct {
		raw  string
		want string
		says string
	}{
		"an index of nothing":             {entries(), "PlatformMissing", "linux/amd64"},
		"an index of other platforms":     {entries(entry(1, on("linux", "s390x"))), "PlatformMissing", "they are [linux/amd64]"},
		"an index in an index":            {entries(`{"mediaType":` + ociIndex + `,"size":7,"digest":"sha256:` + strings.Repeat("a", 64) + `"` + amd + `}`), "ImageInvalid", "manifests[0]: it is of type"},
		"an entry of no type":             {entries(`{"size":7,"digest":"sha256:` + strings.Repeat("a", 64) + `"` + amd + `}`), "ImageInvalid", "manifests[0]"},
		"an entry of no digest":           {entries(`{"mediaType":` + ociImage + `,"size":7` + amd + `}`), "ImageInvalid", "manifests[0]"},
		"a digest of another kind":        {entries(`{"mediaType":` + ociImage + `,"size":7,"digest":"sha512:` + strings.Repeat("a", 128) + `"` + amd + `}`), "ImageInvalid", "not of sha256"},
		"two lists":                       {`{"manifests":[` + entry(1, amd) + `],"manifests":[` + entry(2, amd) + `]}`, "ImageInvalid", `"manifests" twice`},
		"two lists in other letters":      {`{"manifests":[` + entry(1, amd) + `],"Manifests":[` + entry(2, amd) + `]}`, "ImageInvalid", `"Manifests" twice`},
		"a list in other letters":         {`{"Manifests":[` + entry(1, amd) + `]}`, "ImageInvalid", "no list"},
		"two digests":                     {entries(strings.Replace(entry(1, amd), `"size"`, `"Digest":"sha256:`+strings.Repeat("a", 64)+`","size"`, 1)), "ImageInvalid", "twice"},
		"two platforms":                   {entries(entry(1, amd+on("linux", "s390x"))), "ImageInvalid", "twice"},
		"two systems":                     {entries(entry(1, `,"platform":{"os":"windows","OS":"linux","architecture":"amd64"}`)), "ImageInvalid", "twice"},
		"a platform that is text":         {entries(entry(1, `,"platform":"linux/amd64"`)), "ImageInvalid", "its platform"},
		"a system that is a number":       {entries(entry(1, `,"platform":{"os":1,"architecture":"amd64"}`)), "ImageInvalid", "os is no text"},
		"an entry that is none":           {entries(`"sha256:…"`), "ImageInvalid", "manifests[0]"},
		"more images than are looked at":  {many(maxRunnable+1, amd), "ImageTooLarge", "more than 16"},
		"more entries than are looked at": {many(maxListed+1, on("linux", "s390x")), "ImageTooLarge", "more than 128"},
		"a million entries":               {`{"manifests":[` + strings.Repeat("{},", 1<<20) + `{}]}`, "ImageInvalid", ""},
		"fields without end":              {`{"manifests":[` + entry(1, amd) + `]` + fieldsOf(100) + `}`, "ImageInvalid", "more than 64"},
		"half of it":                      {entries(entry(1, amd))[:100], "ImageInvalid", ""},
		"a list that is none":             {`{"manifests":{}}`, "ImageInvalid", "no list"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			im, err := parsed(tt.raw, types.OCIImageIndex, []pipeline.Platform{amd64})
			f, ok := violation(err)
			if !ok || f.Reason != tt.want || !strings.Contains(f.Message, tt.says) || len(f.Message) > 1000 {
				t.Fatalf("%v: %v", im, err)
			}
		})
	}
	config := `{"mediaType":"x","size":7,"digest":"sha256:` + strings.Repeat("a", 64) + `"}`
	for desc, raw := range map[string]string{
		"no config": `{"layers":[]}`, "two configs": `{"config":` + config + `,"Config":` + config + `}`, "a config without a digest": `{"config":{"size":1}}`,
		"a config of no size": `{"config":{"mediaType":"x","digest":"sha256:` + strings.Repeat("a", 64) + `"}}`, "a config that is none": `{"config":[]}`,
	} {
		t.Run(desc, func(t *testing.T) {
			if im, err := parsed(raw, types.OCIManifestSchema1, nil); !pipeline.IsTerminal(err) {
				t.Fatal(im, err)
			}
		})
	}
}

func fieldsOf(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, `,"f%d":0`, i)
	}
	return out.String()
}

func TestEachImageOfAnIndexIsLookedAtOnce(t *testing.T) {
	im, err := parsed(entries(entry(1, on("linux", "amd64")), entry(1, on("linux", "386")), entry(1, "")), types.OCIImageIndex, nodes)
	if err != nil || len(im.children) != 1 {
		t.Fatal(im, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(entries(entry(1, on("linux", "amd64"))), true)
	f.Add(`{"config":{"mediaType":"x","size":7,"digest":"sha256:`+strings.Repeat("a", 64)+`"}}`, false)
	f.Fuzz(func(t *testing.T, raw string, index bool) {
		mediaType := types.OCIManifestSchema1
		if index {
			mediaType = types.OCIImageIndex
		}
		im, err := parsed(raw, mediaType, nodes)
		switch {
		case err != nil && !pipeline.IsTerminal(err):
			t.Fatal("no verdict:", err)
		case err == nil && im.index && (len(im.children) == 0 || len(im.children) > maxRunnable):
			t.Fatal("an index of nothing is something")
		case err == nil && !im.index && im.config.Digest == (v1.Hash{}):
			t.Fatal("an image without config")
		}
	})
}

func TestCommandsArePastedIntoShells(t *testing.T) {
	for in, want := range map[string]string{
		"--certificate-identity=https://x/y@refs/heads/main": "--certificate-identity=https://x/y@refs/heads/main",
		"":                     "''",
		"a b":                  "'a b'",
		"$(rm -rf /)":          "'$(rm -rf /)'",
		"it's":                 `'it'\''s'`,
		"^(?:a|b)$":            "'^(?:a|b)$'",
		"a\nb":                 "'a\nb'",
		"~/x":                  "'~/x'",
		"[a]*":                 "'[a]*'",
		"`id`; true & \\ \" !": "'`id`; true & \\ \" !'",
	} {
		if got := quote(in); got != want {
			t.Errorf("%q becomes %s, not %s", in, got, want)
		}
	}
}

func TestFindingsAreFewAndSorted(t *testing.T) {
	var all []Finding
	for i := range 100 {
		all = append(all, Finding{Message: fmt.Sprintf("%03d", (i*7)%50), Command: strings.Repeat("x", 5000)})
	}
	all = append(all, Finding{Message: strings.Repeat("long", 5000)})
	got := bounded(all)
	if len(got) != maxFindings || got[0].Message != "000" || got[1].Message != "001" || got[0].Command != "" {
		t.Error(len(got), got[:2])
	}
	if long := bounded(all[100:]); len(long[0].Message) > maxText+3 {
		t.Error(len(long[0].Message))
	}
}

// A manifest that takes a lot of memory is not parsed.
func TestAManifestThatIsCrowdedIsRefused(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	w.on(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, ".sig") {
			return false
		}
		rw.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		_, _ = fmt.Fprintf(rw, `{"config":{},"layers":[%s{}]}`, strings.Repeat("{},", 16<<10))
		return true
	})
	v, err := w.cache.Judge(t.Context(), w.question(t, w.pushed(t, "", nil)))
	if diff := cmp.Diff([]string{"SignatureInvalid"}, reasons(v)); diff != "" || err != nil || !strings.Contains(v.Findings[0].Message, "values") {
		t.Fatal(diff, err, v.Findings)
	}
}
