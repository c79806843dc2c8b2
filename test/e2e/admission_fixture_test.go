//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

const (
	// team may sign in these tests, beside the operator; outsider may not.
	team     = "team"
	outsider = "outsider"
	// reviewType and approvalType are predicate types that only these tests have.
	reviewType   = "https://basewright.dev/test/review"
	approvalType = "https://basewright.dev/test/approval"
)

// admission has an image that the operator has built and signed, and variants of it that others have signed, or nobody.
type admission struct {
	// namespace of the BaseImage and of those who sign, and of the repositories in the registry.
	namespace string
	built     *v1alpha1.BaseImage
	issuer    string
}

// published is an image of two platforms in the registry.
type published struct {
	repository, digest string
	children           []string
}

func (p published) tag() string      { return p.repository + ":v1" }
func (p published) byDigest() string { return p.repository + "@" + p.digest }
func (p published) pinned() string   { return p.tag() + "@" + p.digest }

// newAdmission builds the image in a namespace in which admission is enforced: the pods of a build are not in its way.
func newAdmission(t testing.TB) *admission {
	t.Helper()
	a := &admission{namespace: newNamespace(t)}
	enforce(t, a.namespace)
	for _, account := range []string{team, outsider} {
		create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: account}})
	}
	image := inline(a.namespace, "built", "FROM "+alpine+"\n")
	image.Spec.Output.Tags = []v1alpha1.Tag{"v1"}
	create(t, image)
	a.built = awaitReady(t, image)
	a.issuer = a.built.Status.Image.Signature.Issuer
	return a
}

// enforce has the pods of a namespace admitted by policies alone.
func enforce(t testing.TB, namespace string) {
	t.Helper()
	run(t, nil, kubectl, "label", "namespace", namespace, v1alpha1.AdmissionLabel+"="+v1alpha1.AdmissionEnforced)
}

func (a *admission) signed() published {
	p := published{repository: a.built.Spec.Output.Repository, digest: a.built.Status.Image.Digest}
	for _, platform := range a.built.Status.Image.Platforms {
		p.children = append(p.children, platform.Digest)
	}
	return p
}

// variant pushes an image with the same files and a digest of its own, which nobody has signed.
func (a *admission) variant(t testing.TB, called string) published {
	t.Helper()
	return a.push(t, called, called)
}

// push makes a variant and lets the tag v1 of a repository point to it.
func (a *admission) push(t testing.TB, repository, variant string) published {
	t.Helper()
	from, err := name.NewDigest(a.built.Status.Image.Reference)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(from, registryOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	made := relabelled(t, index, variant)
	p := published{repository: registryHost + "/" + a.namespace + "/" + repository}
	ref, err := name.NewTag(p.tag())
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, made, registryOptions(t), pushCredentials(t)); err != nil {
		t.Fatalf("pushing %s: %v", ref, err)
	}
	manifest, err := made.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range manifest.Manifests {
		p.children = append(p.children, child.Digest.String())
	}
	digest, err := made.Digest()
	if err != nil {
		t.Fatal(err)
	}
	p.digest = digest.String()
	return p
}

// relabelled is an index whose images have one label more.
func relabelled(t testing.TB, from v1.ImageIndex, variant string) v1.ImageIndex {
	t.Helper()
	manifest, err := from.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	to := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, child := range manifest.Manifests {
		image, err := from.Image(child.Digest)
		if err != nil {
			t.Fatal(err)
		}
		file, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		file = file.DeepCopy()
		file.Config.Labels["basewright.dev/test"] = variant
		if image, err = mutate.ConfigFile(image, file); err != nil {
			t.Fatal(err)
		}
		to = mutate.AppendManifests(to, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: child.Platform}})
	}
	return to
}

// subject is the identity in certificates of a ServiceAccount.
func (a *admission) subject(account string) string {
	return "https://kubernetes.io/namespaces/" + a.namespace + "/serviceaccounts/" + account
}

// sign signs an image with a stock cosign, as a ServiceAccount: in a bundle with version 3, in tags with version 2.
func (a *admission) sign(t testing.TB, account, program string, image published, more ...string) published {
	t.Helper()
	a.cosign(t, account, program, append([]string{"sign", "--yes"}, more...), image.byDigest())
	return image
}

// attest says something about an image, of its index alone.
func (a *admission) attest(t testing.TB, account, program string, image published, predicateType string, predicate any) {
	t.Helper()
	raw, err := json.Marshal(predicate)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "predicate.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	a.cosign(t, account, program, []string{"attest", "--yes", "--type", predicateType, "--predicate", file}, image.byDigest())
}

// cosign runs a stock cosign as it is, with a token of a ServiceAccount.
func (a *admission) cosign(t testing.TB, account, program string, args []string, ref string) {
	t.Helper()
	token, err := clientset.CoreV1().ServiceAccounts(a.namespace).CreateToken(t.Context(), account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"sigstore"}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("asking for a token of %s: %v", account, err)
	}
	dir, err := sandbox("path", program)
	if err != nil {
		t.Fatal(err)
	}
	services := `--fulcio-url="$BASEWRIGHT_FULCIO" --rekor-url="$BASEWRIGHT_REKOR"`
	if program == "cosign3" {
		services = `--signing-config="$BASEWRIGHT_SIGNING_CONFIG"`
	}
	script := `. .sandbox/env && SSL_CERT_FILE="$BASEWRIGHT_CA" exec "$@" ` + services + ` --identity-token="$TOKEN"`
	cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", script, "bash", filepath.Join(dir, "cosign")}, append(args, ref)...)...)
	cmd.Dir, cmd.Env = checkout, append(os.Environ(), "TOKEN="+token.Status.Token)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s %s: %v\n%s", program, args[0], ref, err, stderr.String())
	}
}

// tenant makes a namespace in which admission is enforced, with a policy of its own for the images of these tests. What the
// operator or the team has signed runs there, as restricted pods.
func (a *admission) tenant(t testing.TB, changes ...func(*v1alpha1.ImageAdmissionPolicySpec)) string {
	t.Helper()
	ns := newNamespace(t)
	a.policy(t, ns, changes...)
	enforce(t, ns)
	return ns
}

// policy makes one that has the name of the only namespace that it is for, and waits until it is in force.
func (a *admission) policy(t testing.TB, ns string, changes ...func(*v1alpha1.ImageAdmissionPolicySpec)) *v1alpha1.ImageAdmissionPolicy {
	t.Helper()
	p := &v1alpha1.ImageAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: ns}, Spec: v1alpha1.ImageAdmissionPolicySpec{
		Images:            []string{registryHost + "/" + a.namespace + "/**"},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: ns}},
		Identities: []v1alpha1.SigningIdentity{
			{Issuer: a.issuer, Subject: signerIdentity},
			{Issuer: a.issuer, Subject: a.subject(team)},
		},
	}}
	for _, change := range changes {
		change(&p.Spec)
	}
	create(t, p)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := exec.Command(kubectl, "get", "imageadmissionpolicies", ns, "-o", "yaml").CombinedOutput()
			t.Logf("policy %s:\n%s", ns, out)
		}
		if err := k8s.Delete(context.Background(), p); err != nil {
			t.Errorf("deleting policy %s: %v", ns, err)
		}
	})
	awaitPolicy(t, p)
	return p
}

// awaitPolicy waits until a policy is in force as it is now.
func awaitPolicy(t testing.TB, p *v1alpha1.ImageAdmissionPolicy) {
	t.Helper()
	eventually(t, time.Minute, "policy "+p.Name+" to be in force", func(ctx context.Context) (bool, string) {
		if err := k8s.Get(ctx, keyOf(p), p); err != nil {
			return false, err.Error()
		}
		return p.Status.InForceGeneration == p.Generation && isTrue(p.Status.Conditions, "Ready"), fmt.Sprintf("%+v", p.Status)
	})
}
