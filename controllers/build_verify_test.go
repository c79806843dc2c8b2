package controllers

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	fakeregistry "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/attest"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/sign"
	"github.com/ibshafique/base-images/internal/sigstoretest"
)

// publishedBuild is a build of one platform that was attested and signed, in a registry of its own.
type publishedBuild struct {
	t    *testing.T
	run  *buildRun
	repo name.Repository
	// away makes the registry answer 503.
	away bool
}

func newPublished(t *testing.T) *publishedBuild {
	t.Helper()
	p := &publishedBuild{t: t}
	store := fakeregistry.New(fakeregistry.Logger(log.New(io.Discard, "", 0)), fakeregistry.WithReferrersSupport(true))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.away {
			http.Error(w, "{}", http.StatusServiceUnavailable)
			return
		}
		store.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	var err error
	p.repo, err = name.NewRepository(strings.TrimPrefix(server.URL, "http://")+"/base/a", name.Insecure)
	p.check(err)
	client, err := registry.New(registry.Config{UnsafeLoopback: true})
	p.check(err)
	cfg := config.Default()
	build := &v1alpha1.BaseImageBuild{}
	build.Spec.Output.Repository = p.repo.String()
	build.Status.Platforms = []v1alpha1.PlatformImage{{Platform: "linux/amd64", Digest: p.push()}}
	build.Status.Digest = p.push()
	p.run = &buildRun{BuildReconciler: &BuildReconciler{Registry: client, Config: cfg, inspecting: make(chan struct{}, 1), memory: newMemory(), Clock: clock.RealClock{},
		Signing: p.signing(sigstoretest.New(t), cfg)}, build: build}
	p.publish()
	return p
}

func (p *publishedBuild) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *publishedBuild) push() string {
	p.t.Helper()
	img, err := random.Image(64, 1)
	p.check(err)
	digest, err := img.Digest()
	p.check(err)
	p.check(remote.Write(p.repo.Digest(digest.String()), img))
	return digest.String()
}

func (p *publishedBuild) signing(sigstore *sigstoretest.Sigstore, cfg *config.Operator) Signing {
	p.t.Helper()
	identity, _ := newSigner(p.t, clock.RealClock{})
	signer, err := sign.New(sign.Options{
		FulcioURL: sigstore.Fulcio.URL, RekorURL: sigstore.Rekor.URL, HTTP: http.DefaultClient, Material: sigstore.Material, Formats: cfg.Sigstore.Formats,
		Token: func(context.Context) (string, error) {
			return sigstore.Token("https://issuer.example", "basewright-system", "basewright-signer"), nil
		},
	})
	p.check(err)
	return Signing{Signer: signer, Identity: identity, TrustRoot: sigstore.Material}
}

// publish attests and signs as the phases do.
func (p *publishedBuild) publish() {
	p.t.Helper()
	s, err := p.run.signer(p.t.Context())
	p.check(err)
	for _, subject := range p.run.subjects() {
		document, err := attest.SPDX(attest.Subject{Name: p.repo.String(), Digest: subject.digest}, []byte(`{"spdxVersion":"SPDX-2.3"}`))
		p.check(err)
		statements := []pipeline.Statement{document}
		p.check(s.session.Attest(p.t.Context(), p.run.Registry, p.repo.Digest(subject.digest), statements, nil))
		p.run.attested = append(p.run.attested, references(subject, statements)...)
	}
	_, err = p.run.sign(p.t.Context())
	p.check(err)
}

// remove takes a manifest out of the registry.
func (p *publishedBuild) remove(ref name.Reference) {
	p.t.Helper()
	p.check(remote.Delete(ref))
}

func tagOf(digest, suffix string) string { return strings.Replace(digest, ":", "-", 1) + suffix }

// removeReferrers takes those of a kind away from a manifest.
func (p *publishedBuild) removeReferrers(digest, predicateType string) {
	p.t.Helper()
	index, err := remote.Referrers(p.repo.Digest(digest))
	p.check(err)
	m, err := index.IndexManifest()
	p.check(err)
	for _, d := range m.Manifests {
		if d.Annotations["dev.sigstore.bundle.predicateType"] == predicateType {
			p.remove(p.repo.Digest(d.Digest.String()))
		}
	}
}

func TestWhatDoesNotVerifyIsNotPromoted(t *testing.T) {
	platform := func(p *publishedBuild) string { return p.run.build.Status.Platforms[0].Digest }
	index := func(p *publishedBuild) string { return p.run.build.Status.Digest }
	tests := map[string]struct {
		change func(*publishedBuild)
		reason string
		says   string
	}{
		"all is there": {change: func(*publishedBuild) {}},
		"the tag with the signature of the index is gone": {func(p *publishedBuild) { p.remove(p.repo.Tag(tagOf(index(p), ".sig"))) },
			pipeline.ReasonSignatureMissing, "Legacy"},
		"the bundle with the signature of a platform is gone": {func(p *publishedBuild) { p.removeReferrers(platform(p), pipeline.PredicateSignature) },
			pipeline.ReasonSignatureMissing, "Bundle"},
		"the tag with the attestations of a platform is gone": {func(p *publishedBuild) { p.remove(p.repo.Tag(tagOf(platform(p), ".att"))) },
			pipeline.ReasonSignatureMissing, pipeline.PredicateSPDX},
		"all attestations of the index are gone": {func(p *publishedBuild) {
			p.remove(p.repo.Tag(tagOf(index(p), ".att")))
			p.removeReferrers(index(p), pipeline.PredicateSPDX)
		}, pipeline.ReasonAttestationMissing, "index"},
		"an attestation is another one": {func(p *publishedBuild) {
			p.run.attested[0].Digest = "sha256:" + strings.Repeat("0", 64)
		}, pipeline.ReasonSignatureMissing, pipeline.PredicateSPDX},
		"the platform was never signed": {func(p *publishedBuild) {
			p.run.build.Status.Platforms[0].Digest = p.push()
		}, pipeline.ReasonSignatureMissing, "linux/amd64"},
		"the signature is that of another digest": {func(p *publishedBuild) {
			img, err := remote.Image(p.repo.Tag(tagOf(platform(p), ".sig")))
			p.check(err)
			p.check(remote.Write(p.repo.Tag(tagOf(index(p), ".sig")), img))
			p.removeReferrers(index(p), pipeline.PredicateSignature)
		}, pipeline.ReasonSignatureInvalid, "index"},
		"another Sigstore is trusted now": {func(p *publishedBuild) {
			p.run.Signing = p.signing(sigstoretest.New(p.t), p.run.Config)
			p.run.signing = nil
		}, pipeline.ReasonSignatureInvalid, "linux/amd64"},
		"the registry is away": {func(p *publishedBuild) { p.away = true }, pipeline.ReasonRegistryUnavailable, ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			p := newPublished(t)
			tt.change(p)
			_, err := p.run.verify(t.Context())
			if tt.reason == "" {
				p.checkSignature(err)
				return
			}
			if err == nil || reasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v, want %s", err, tt.reason)
			}
			if !pipeline.IsTransient(err) {
				t.Errorf("the build has failed: %v", err)
			}
			if p.run.build.Status.Signature != nil {
				t.Errorf("the status has the signature %+v", p.run.build.Status.Signature)
			}
		})
	}
}

// What is gone is signed again, as the pass after does it.
func TestWhatIsLostIsSignedAgain(t *testing.T) {
	p := newPublished(t)
	p.remove(p.repo.Tag(tagOf(p.run.build.Status.Digest, ".sig")))
	all := make([]done, len(p.run.phases())-2)
	p.run.remember(all)
	if _, err := p.run.verify(t.Context()); err == nil {
		t.Fatal("it verifies without its signature")
	}
	if got := p.run.phases()[len(p.run.recall())].condition; got != v1alpha1.ConditionAttested {
		t.Errorf("the next pass begins with %s", got)
	}
	if _, err := p.run.sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := p.run.verify(t.Context())
	p.checkSignature(err)
}

// A promotion that has waited looks once more.
func TestWhatWasVerifiedLongAgoIsVerifiedAgain(t *testing.T) {
	p := newPublished(t)
	now := clocktesting.NewFakePassiveClock(time.Now())
	p.run.Clock = now
	_, err := p.run.verify(t.Context())
	p.checkSignature(err)
	p.remove(p.repo.Tag(tagOf(p.run.build.Status.Digest, ".sig")))
	if err := p.run.verifiedLately(t.Context()); err != nil {
		t.Errorf("at once: %v", err)
	}
	now.SetTime(now.Now().Add(time.Minute))
	if err := p.run.verifiedLately(t.Context()); err == nil || reasonOf(err) != pipeline.ReasonSignatureMissing {
		t.Errorf("a minute later: %v", err)
	}
}

func (p *publishedBuild) checkSignature(err error) {
	p.t.Helper()
	p.check(err)
	s := p.run.build.Status.Signature
	reference := p.repo.String() + "@" + p.run.build.Status.Digest
	want := fmt.Sprintf("cosign verify --certificate-identity=%s --certificate-oidc-issuer=https://issuer.example %s",
		"https://kubernetes.io/namespaces/basewright-system/serviceaccounts/basewright-signer", reference)
	if s == nil || s.VerifyCommand != want || len(s.Attestations) != 2 || s.LogIndex == nil || s.SignedAt.IsZero() {
		p.t.Errorf("status.signature = %+v", s)
	}
}
