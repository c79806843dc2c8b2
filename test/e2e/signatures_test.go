//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/registry"
)

const (
	signerIdentity = "https://kubernetes.io/namespaces/basewright-system/serviceaccounts/basewright-signer"
	stranger       = "https://kubernetes.io/namespaces/basewright-system/serviceaccounts/somebody-else"
)

// verifier is a stock cosign with one format of signatures.
type verifier struct {
	// program is a group of the sandbox's programs.
	program string
	// tags has it look at signatures in tags. Version 2 only does so where there are no bundles.
	tags bool
}

var verifiers = map[string]verifier{
	"cosign v2, bundles": {program: "cosign"},
	"cosign v2, tags":    {program: "cosign", tags: true},
	"cosign v3, bundles": {program: "cosign3"},
	"cosign v3, tags":    {program: "cosign3", tags: true},
}

// run runs a cosign as a person does, in the sandbox's environment, which names the trust root. It returns what cosign prints.
func (v verifier) run(t *testing.T, command string, args ...string) (string, error) {
	t.Helper()
	dir, err := sandbox("path", v.program)
	if err != nil {
		t.Fatal(err)
	}
	script := `. .sandbox/env && exec "$@"`
	switch {
	case v.tags && v.program == "cosign":
		// For attestations in tags it has to have the keys apart.
		script = `. .sandbox/env && unset COSIGN_TRUSTED_ROOT && export SIGSTORE_ROOT_FILE=.sandbox/fulcio.crt SIGSTORE_REKOR_PUBLIC_KEY=.sandbox/rekor.pub SIGSTORE_CT_LOG_PUBLIC_KEY_FILE=.sandbox/ctlog.pub && exec "$@"`
	case v.tags:
		args = append([]string{"--new-bundle-format=false"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", script, "bash", filepath.Join(dir, "cosign"), command}, args...)...)
	cmd.Dir = checkout
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s %s: %w: %s", v.program, command, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}

// withoutBundles copies the manifests of an image and the tags beside them into a repository of its own, without what
// refers to them.
func withoutBundles(t *testing.T, image *v1alpha1.BaseImage) string {
	t.Helper()
	from, err := name.NewRepository(image.Spec.Output.Repository)
	if err != nil {
		t.Fatal(err)
	}
	to, err := name.NewRepository(image.Spec.Output.Repository + "-tags")
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(from.Digest(image.Status.Image.Digest), registryOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(to.Digest(image.Status.Image.Digest), index, registryOptions(t), pushCredentials(t)); err != nil {
		t.Fatalf("copying the index: %v", err)
	}
	for _, ref := range subjectsOf(image) {
		_, digest, _ := strings.Cut(ref, "@")
		for _, suffix := range []string{".sig", ".att"} {
			tag := strings.Replace(digest, ":", "-", 1) + suffix
			img, err := remote.Image(from.Tag(tag), registryOptions(t))
			if err != nil {
				t.Fatalf("reading %s: %v", tag, err)
			}
			if err := remote.Write(to.Tag(tag), img, registryOptions(t), pushCredentials(t)); err != nil {
				t.Fatalf("copying %s: %v", tag, err)
			}
		}
	}
	return to.String()
}

// pushCredentials are those of whoever may write to the sandbox's registry.
func pushCredentials(t testing.TB) remote.Option {
	t.Helper()
	config, err := os.ReadFile(filepath.Join(checkout, ".sandbox", "docker", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	keychain, err := registry.KeychainFromDockerConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return remote.WithAuthFromKeychain(keychain)
}

// sigstore changes the state of a service, until the test ends at the latest.
func sigstore(t *testing.T, service, state string) {
	t.Helper()
	if _, err := sandbox("sigstore", service, state); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := sandbox("sigstore", service, "start"); err != nil {
			t.Error(err)
		}
	})
}

// subjectsOf are the index and the platforms of an image, by digest.
func subjectsOf(image *v1alpha1.BaseImage) map[string]string {
	repository := image.Spec.Output.Repository
	all := map[string]string{"index": repository + "@" + image.Status.Image.Digest}
	for _, p := range image.Status.Image.Platforms {
		all[p.Platform] = repository + "@" + p.Digest
	}
	return all
}

// TestStockToolsVerify verifies what was published with cosign as it comes, which has never heard of this project.
func TestStockToolsVerify(t *testing.T) {
	image := inline(newNamespace(t), "signed", copyOnly)
	create(t, image)
	ready := awaitReady(t, image)
	issuer := ready.Status.Image.Signature.Issuer
	as := func(identity, issuer string) []string {
		return []string{"--certificate-identity-regexp=^" + identity + "$", "--certificate-oidc-issuer=" + issuer}
	}
	types := map[string][]string{"index": {"slsaprovenance1"}}
	for _, p := range ready.Status.Image.Platforms {
		types[p.Platform] = []string{"slsaprovenance1", "spdxjson", "cyclonedx", "vuln"}
	}
	copied := withoutBundles(t, ready)
	for how, v := range verifiers {
		for subject, ref := range subjectsOf(ready) {
			if v.tags {
				ref = strings.Replace(ref, image.Spec.Output.Repository, copied, 1)
			}
			t.Run(how+", "+strings.TrimPrefix(subject, "linux/"), func(t *testing.T) {
				t.Parallel()
				if out, err := v.run(t, "verify", append(as(signerIdentity, issuer), ref)...); err != nil || !strings.Contains(out, strings.Split(ref, "@")[1]) {
					t.Errorf("verify: %v\n%s", err, out)
				}
				for desc, wrong := range map[string][]string{"another identity": as(stranger, issuer), "another issuer": as(signerIdentity, "https://issuer.example")} {
					if out, err := v.run(t, "verify", append(wrong, ref)...); err == nil {
						t.Errorf("%s verifies:\n%s", desc, out)
					}
				}
				for _, kind := range types[subject] {
					out, err := v.run(t, "verify-attestation", append(as(signerIdentity, issuer), "--type="+kind, ref)...)
					if err != nil {
						t.Errorf("verify-attestation --type=%s: %v", kind, err)
						continue
					}
					checkStatements(t, kind, ref, out)
					if out, err := v.run(t, "verify-attestation", append(as(stranger, issuer), "--type="+kind, ref)...); err == nil {
						t.Errorf("an attestation of type %s verifies for another identity:\n%s", kind, out)
					}
				}
			})
		}
	}
}

// checkStatements looks at the statements that cosign prints, a line each: they are about the digest, and two scanners
// have reported.
func checkStatements(t *testing.T, kind, ref, out string) {
	t.Helper()
	statements := 0
	for line := range strings.Lines(out) {
		var envelope struct{ Payload []byte }
		if json.Unmarshal([]byte(line), &envelope) != nil || len(envelope.Payload) == 0 {
			continue
		}
		var s struct {
			Subject []struct{ Digest map[string]string }
		}
		if err := json.Unmarshal(envelope.Payload, &s); err != nil || len(s.Subject) != 1 || !strings.HasSuffix(ref, "@sha256:"+s.Subject[0].Digest["sha256"]) {
			t.Errorf("a statement of type %s is not about %s: %v %s", kind, ref, err, envelope.Payload)
		}
		statements++
	}
	if want := map[string]int{"vuln": 2}[kind]; statements != max(want, 1) {
		t.Errorf("%d statements of type %s about %s, want %d:\n%.2000s", statements, kind, ref, max(want, 1), out)
	}
}

// TestTheStatusSaysHowToVerify runs the commands that a person copies out of the status.
func TestTheStatusSaysHowToVerify(t *testing.T) {
	image := inline(newNamespace(t), "copied", copyOnly)
	create(t, image)
	signature := awaitReady(t, image).Status.Image.Signature
	if signature == nil || signature.Identity != signerIdentity || signature.LogIndex == nil || len(signature.Formats) != 2 || len(signature.Attestations) != 13 {
		t.Fatalf("status.image.signature = %+v", signature)
	}
	for _, command := range []string{signature.VerifyCommand, signature.AttestationCommand} {
		words := strings.Fields(command)
		if words[0] != "cosign" {
			t.Fatalf("the command is %q", command)
		}
		for _, v := range []verifier{{program: "cosign"}, {program: "cosign3"}} {
			if _, err := v.run(t, words[1], words[2:]...); err != nil {
				t.Errorf("%s: %v", command, err)
			}
		}
	}
	columns := strings.Fields(run(t, nil, kubectl, "--namespace="+image.Namespace, "get", "baseimage", image.Name))
	if !slices.Contains(columns, "SIGNED") {
		t.Errorf("kubectl get has no column SIGNED: %s", columns)
	}
}

// TestNothingIsPromotedUnsigned stops Rekor in the middle of a build. The build waits, its tags stay away, and when Rekor is
// back it is done without another Job.
func TestNothingIsPromotedUnsigned(t *testing.T) {
	image := inline(newNamespace(t), "waits", copyOnly)
	sigstore(t, "rekor", "stop")
	create(t, image)
	waiting := await(t, image, "waiting for Rekor", func(i *v1alpha1.BaseImage) bool {
		c := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Reason == "SigstoreUnavailable"
	})
	before := uids(jobsOf(t.Context(), t, image))
	t.Log(meta.FindStatusCondition(waiting.Status.Conditions, v1alpha1.ConditionReady).Message)
	if waiting.Status.Image != nil {
		t.Errorf("an image was promoted: %+v", waiting.Status.Image)
	}
	ref, err := name.NewTag(image.Spec.Output.Repository + ":latest")
	if err != nil {
		t.Fatal(err)
	}
	if d, err := remote.Head(ref, registryOptions(t)); err == nil {
		t.Errorf("the tag is %s, before anything was signed", d.Digest)
	}
	for subject, digest := range digestsOf(t, waiting) {
		for format, n := range signaturesOf(t, image, digest) {
			if n != 0 {
				t.Errorf("%s has %d signatures in the format %s, and Rekor has seen none", subject, n, format)
			}
		}
	}
	sigstore(t, "rekor", "start")
	ready := awaitReady(t, image)
	if ready.Status.LatestBuild.Attempt != 1 {
		t.Errorf("it took %d builds", ready.Status.LatestBuild.Attempt)
	}
	if after := uids(jobsOf(t.Context(), t, image)); !slices.Equal(before, after) {
		t.Errorf("Jobs = %v, before they were %v", after, before)
	}
}

// digestsOf are the manifests of the newest build of an image.
func digestsOf(t *testing.T, image *v1alpha1.BaseImage) map[string]string {
	t.Helper()
	status := buildOf(t, image).Status
	all := map[string]string{"index": status.Digest}
	for _, p := range status.Platforms {
		all[p.Platform] = p.Digest
	}
	return all
}

// signaturesOf counts the signatures of a digest, by format.
func signaturesOf(t *testing.T, image *v1alpha1.BaseImage, digest string) map[v1alpha1.SignatureFormat]int {
	t.Helper()
	repo, err := name.NewRepository(image.Spec.Output.Repository)
	if err != nil {
		t.Fatal(err)
	}
	count := map[v1alpha1.SignatureFormat]int{v1alpha1.FormatLegacy: 0, v1alpha1.FormatBundle: 0}
	if img, err := remote.Image(repo.Tag(strings.Replace(digest, ":", "-", 1)+".sig"), registryOptions(t)); err == nil {
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		count[v1alpha1.FormatLegacy] = len(layers)
	}
	count[v1alpha1.FormatBundle] = countReferrers(t, repo.Digest(digest), isSignature)
	return count
}

func countReferrers(t *testing.T, ref name.Digest, is func(v1.Descriptor) bool) int {
	t.Helper()
	referrers, err := remote.Referrers(ref, registryOptions(t))
	if err != nil {
		t.Fatalf("reading the referrers of %s: %v", ref, err)
	}
	index, err := referrers.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range index.Manifests {
		if is(d) {
			n++
		}
	}
	return n
}

const bundlePredicate = "dev.sigstore.bundle.predicateType"

func isSignature(d v1.Descriptor) bool {
	return d.Annotations[bundlePredicate] == "https://sigstore.dev/cosign/sign/v1"
}

func isAttestation(d v1.Descriptor) bool {
	return d.Annotations[bundlePredicate] != "" && !isSignature(d)
}

// checkSignedOnce fails if a digest of an image has not exactly one signature in each format.
func checkSignedOnce(t *testing.T, image *v1alpha1.BaseImage) {
	t.Helper()
	for subject, digest := range digestsOf(t, image) {
		for format, n := range signaturesOf(t, image, digest) {
			if n != 1 {
				t.Errorf("%s has %d signatures in the format %s, want 1", subject, n, format)
			}
		}
	}
}

// checkAttestedOnce fails if what is attested of a digest is not what the status says, once in each format.
func checkAttestedOnce(t *testing.T, image *v1alpha1.BaseImage) {
	t.Helper()
	want := map[string]int{}
	for _, a := range image.Status.Image.Signature.Attestations {
		want[a.Subject]++
	}
	repo, err := name.NewRepository(image.Spec.Output.Repository)
	if err != nil {
		t.Fatal(err)
	}
	for subject, digest := range digestsOf(t, image) {
		img, err := remote.Image(repo.Tag(strings.Replace(digest, ":", "-", 1)+".att"), registryOptions(t))
		if err != nil {
			t.Errorf("reading the attestations of %s: %v", subject, err)
			continue
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		if bundles := countReferrers(t, repo.Digest(digest), isAttestation); len(layers) != want[subject] || bundles != want[subject] {
			t.Errorf("%s has %d attestations in its tag and %d bundles, want %d", subject, len(layers), bundles, want[subject])
		}
	}
}

// TestADigestIsSignedOnce builds the same digest twice: it keeps its signature, and has the attestations of the newer build.
func TestADigestIsSignedOnce(t *testing.T) {
	image := inline(newNamespace(t), "once", copyOnly)
	create(t, image)
	first := awaitReady(t, image)
	checkSignedOnce(t, first)
	request(t, image, "again")
	second := awaitReady(t, image)
	checkSignedOnce(t, second)
	a, b := first.Status.Image, second.Status.Image
	if a.Digest != b.Digest || *a.Signature.LogIndex != *b.Signature.LogIndex {
		t.Errorf("%s was signed in entry %d, then %s in entry %d", a.Digest, *a.Signature.LogIndex, b.Digest, *b.Signature.LogIndex)
	}
	if slices.Equal(a.Signature.Attestations, b.Signature.Attestations) {
		t.Error("the second build has the attestations of the first")
	}
	out, err := verifiers["cosign v2, bundles"].run(t, "verify-attestation", "--type=slsaprovenance1", "--certificate-identity="+signerIdentity,
		"--certificate-oidc-issuer="+b.Signature.Issuer, b.Reference)
	if err != nil {
		t.Fatal(err)
	}
	checkStatements(t, "slsaprovenance1", b.Reference, out)
	if uid := string(buildOf(t, second).UID); !strings.Contains(decoded(out), uid) {
		t.Errorf("the provenance is not of build %s:\n%s", uid, decoded(out))
	}
}

// decoded has the payloads of envelopes, a line each.
func decoded(out string) string {
	var text strings.Builder
	for line := range strings.Lines(out) {
		var envelope struct{ Payload string }
		if json.Unmarshal([]byte(line), &envelope) == nil {
			if payload, err := base64.StdEncoding.DecodeString(envelope.Payload); err == nil {
				text.Write(payload)
			}
		}
	}
	return text.String()
}
