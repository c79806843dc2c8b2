package sign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
)

func TestARegistryThatDeletesNothing(t *testing.T) {
	for _, status := range []int{400, 401, 403, 404, 405, 500} {
		for registry, api := range apis {
			t.Run(fmt.Sprint(status, " ", registry), func(t *testing.T) {
				b := newBench(t, api)
				var kept []error
				b.options.Kept = func(_ context.Context, artifact name.Digest, err error) { kept = append(kept, err) }
				b.on(refusing(http.MethodDelete, "/manifests/", status))
				if err := b.attest(t, b.session(t), someType, "1", "2", "3"); err != nil {
					t.Fatal(err)
				}
				if err := b.replace(t, b.session(t), someType, []string{"1", "2", "3"}, "4"); err != nil {
					t.Fatal(err)
				}
				told, deletes := 1, 1
				if status == 404 {
					told, deletes = 0, 3
				}
				if n := b.count(http.MethodDelete, "/manifests/"); len(kept) != told || n != deletes {
					t.Errorf("%d deletes, told of %v", n, kept)
				}
				if got := b.attested(t, someType); !slices.Equal(got[v1alpha1.FormatLegacy], []string{"4"}) || !slices.Contains(got[v1alpha1.FormatBundle], "4") {
					t.Errorf("got %v", got)
				}
			})
		}
	}
}

// What is superseded goes when the new is there.
func TestSupersededBundlesGoLast(t *testing.T) {
	b := newBench(t, true)
	if err := b.attest(t, b.session(t), someType, "1"); err != nil {
		t.Fatal(err)
	}
	b.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete {
			b.on(nil)
			if diff := cmp.Diff(map[v1alpha1.SignatureFormat][]string{v1alpha1.FormatLegacy: {"2"}, v1alpha1.FormatBundle: {"1", "2"}}, sorted(b.attested(t, someType))); diff != "" {
				t.Error(diff)
			}
		}
		return false
	})
	if err := b.replace(t, b.session(t), someType, []string{"1"}, "2"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(both("2"), b.attested(t, someType)); diff != "" {
		t.Error(diff)
	}
}

// A process may end between the new and the removal of the old.
func TestWhatWasLeftOverIsRemoved(t *testing.T) {
	b := newBench(t, true)
	if err := b.attest(t, b.session(t), someType, "1"); err != nil {
		t.Fatal(err)
	}
	b.on(refusing(http.MethodDelete, "/manifests/", 500))
	if err := b.replace(t, b.session(t), someType, []string{"1"}, "2"); err != nil {
		t.Fatal(err)
	}
	b.on(nil)
	entries := b.sigstore.Rekor.Entries()
	if err := b.replace(t, b.session(t), someType, []string{"1"}, "2"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(both("2"), b.attested(t, someType)); diff != "" {
		t.Error(diff)
	}
	if b.sigstore.Rekor.Entries() != entries {
		t.Error("something was signed again")
	}
}

// hanging is a bench with something to delete, whose registry does not answer then.
func hanging(t *testing.T) (*bench, *Session) {
	t.Helper()
	b := newBench(t, true)
	b.client = clientOf(t, limits.Registry{Tries: 1, RequestTimeout: limits.Duration(time.Hour)})
	if err := b.attest(t, b.session(t), someType, "1"); err != nil {
		t.Fatal(err)
	}
	b.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete {
			<-r.Context().Done()
		}
		return r.Method == http.MethodDelete
	})
	return b, b.session(t)
}

func TestARegistryThatHangsWhenItDeletes(t *testing.T) {
	b, s := hanging(t)
	told := 0
	s.signer.options.Kept = func(context.Context, name.Digest, error) { told++ }
	s.signer.removal = 50 * time.Millisecond
	if err := b.replace(t, s, someType, []string{"1"}, "2"); err != nil || told != 1 {
		t.Errorf("told %d times, %v", told, err)
	}
}

func TestACallerThatGoesAwayWhileSomethingIsDeleted(t *testing.T) {
	b, s := hanging(t)
	s.signer.options.Kept = func(_ context.Context, _ name.Digest, err error) { t.Errorf("told of %v", err) }
	ctx, cancel := context.WithCancel(t.Context())
	hang := b.answer
	b.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete {
			cancel()
		}
		return hang(w, r)
	})
	err := s.Attest(ctx, b.client, b.ref, []pipeline.Statement{statement(b.ref, someType, "2")}, []string{statement(b.ref, someType, "1").Digest()})
	if !errors.Is(err, context.Canceled) || pipeline.IsTransient(err) {
		t.Errorf("got %v", err)
	}
}

// bundles are manifests that refer to the image.
func (b *bench) bundles(t testing.TB) map[string]v1.Manifest {
	t.Helper()
	listed, _, err := b.client.Referrers(t.Context(), b.ref, 100)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]v1.Manifest{}
	for _, d := range listed {
		raw, err := b.client.Manifest(t.Context(), b.ref.Context().Digest(d.Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		var m v1.Manifest
		if err := json.Unmarshal(raw.Raw, &m); err != nil {
			t.Fatal(err)
		}
		out[d.Digest.String()] = m
	}
	return out
}

// twin writes m, changed, with a digest that is lower than that of the only bundle.
func (b *bench) twin(t testing.TB, change func(*v1.Manifest)) (ours, copied string) {
	t.Helper()
	for digest, m := range b.bundles(t) {
		ours = digest
		m.Annotations, m.Layers = maps.Clone(m.Annotations), slices.Clone(m.Layers)
		for at := time.Unix(0, 0).UTC(); ; at = at.Add(time.Second) {
			m.Annotations[createdAnnotation] = at.Format(time.RFC3339)
			change(&m)
			raw, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			made, err := registry.NewManifest(raw, types.OCIManifestSchema1)
			if err != nil {
				t.Fatal(err)
			}
			if copied = made.Digest.String(); copied >= ours {
				continue
			}
			if err := b.client.PutManifest(t.Context(), b.ref.Context().Digest(copied), made); err != nil {
				t.Fatal(err)
			}
			return ours, copied
		}
	}
	t.Fatal("there is no bundle")
	return "", ""
}

// Whoever may push can copy a bundle of ours so that only some verifiers find it.
func TestCopiesDoNotTakeThePlaceOfBundles(t *testing.T) {
	tests := map[string]func(*v1.Manifest){
		"as ours":                    func(*v1.Manifest) {},
		"of another artifact type":   func(m *v1.Manifest) { m.ArtifactType = "application/vnd.dev.sigstore.bundle.zzz" },
		"with another layer":         func(m *v1.Manifest) { m.Layers[0].MediaType = "application/octet-stream" },
		"without its content":        func(m *v1.Manifest) { delete(m.Annotations, contentAnnotation) },
		"without its predicate type": func(m *v1.Manifest) { delete(m.Annotations, predicateAnnotation) },
		"with more annotations":      func(m *v1.Manifest) { m.Annotations["x"] = "y" },
	}
	for desc, change := range tests {
		t.Run(desc, func(t *testing.T) {
			b := newBench(t, true)
			if err := b.attest(t, b.session(t), someType, "1"); err != nil {
				t.Fatal(err)
			}
			ours, copied := b.twin(t, change)
			if got := b.attested(t, someType)[v1alpha1.FormatBundle]; len(got) != 1 {
				t.Fatalf("got %v: the same bundle counts more than once", got)
			}
			if err := b.attest(t, b.session(t), someType, "1"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{copied, ours}, slices.Sorted(maps.Keys(b.bundles(t)))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A copy that refers to something else is gone once the registry lists referrers by itself.
func TestOursReferToTheImage(t *testing.T) {
	b := newBench(t, true)
	if err := b.attest(t, b.session(t), someType, "1"); err != nil {
		t.Fatal(err)
	}
	for _, m := range b.bundles(t) {
		for want, subject := range map[bool]*v1.Descriptor{true: m.Subject, false: nil} {
			m.Subject = subject
			raw, err := json.Marshal(m)
			if err != nil || isOurs(raw, b.ref, someType) != want || isOurs(raw, b.push(t), someType) {
				t.Errorf("%s: want %v, %v", raw, want, err)
			}
		}
	}
}
