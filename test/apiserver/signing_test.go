//go:build apiserver

package apiserver

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/sigstoretest"
)

// builtOnce takes the first build of an image to where it is to be attested.
func (o *operator) builtOnce(image *v1alpha1.BaseImage) v1alpha1.BaseImageBuild {
	o.t.Helper()
	build := o.awaitBuildOf(image)
	for _, job := range o.awaitJobs(build.Name) {
		o.succeed(job)
	}
	return build
}

// Each way in which a service of Sigstore can fail keeps the image from being promoted, and from being called signed. Once
// the service works, the same build is done, with the Jobs that it had.
func TestNothingIsPromotedUnsigned(t *testing.T) {
	tests := map[string]struct {
		fail   func(*sigstoretest.Sigstore, sigstoretest.Fault)
		fault  sigstoretest.Fault
		reason string
		says   string
	}{
		"Fulcio is down":                    {failFulcio, sigstoretest.Down, pipeline.ReasonSigstoreUnavailable, "Fulcio"},
		"Fulcio never answers":              {failFulcio, sigstoretest.Slow, pipeline.ReasonSigstoreUnavailable, "Fulcio"},
		"Fulcio answers nonsense":           {failFulcio, sigstoretest.Babbles, pipeline.ReasonSigstoreAnswerInvalid, "Fulcio"},
		"Fulcio does not know the issuer":   {failFulcio, sigstoretest.Refuses, pipeline.ReasonSigstoreRefused, "Fulcio"},
		"the CT log did not take it":        {failFulcio, sigstoretest.WithoutSCT, pipeline.ReasonSigstoreAnswerInvalid, "Fulcio"},
		"Fulcio is another authority":       {failFulcio, sigstoretest.OtherAuthority, pipeline.ReasonSigstoreAnswerInvalid, "Fulcio"},
		"Fulcio certifies somebody else":    {failFulcio, sigstoretest.OtherIdentity, pipeline.ReasonSigstoreAnswerInvalid, ""},
		"Rekor is down":                     {failRekor, sigstoretest.Down, pipeline.ReasonSigstoreUnavailable, "Rekor"},
		"Rekor answers nonsense":            {failRekor, sigstoretest.Babbles, pipeline.ReasonSigstoreAnswerInvalid, "Rekor"},
		"Rekor answers with another entry":  {failRekor, sigstoretest.OtherEntry, pipeline.ReasonSigstoreAnswerInvalid, "Rekor"},
		"Rekor's entry is of another log":   {failRekor, sigstoretest.OtherLog, pipeline.ReasonSigstoreAnswerInvalid, "Rekor"},
		"Rekor's proof is of another entry": {failRekor, sigstoretest.WrongProof, pipeline.ReasonSigstoreAnswerInvalid, "Rekor"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			o := newOperator(t, func(o *operator) {
				o.config.Limits.Signatures.RequestTimeout = limits.Duration(time.Second)
			})
			tt.fail(o.sigstore, tt.fault)
			image := o.image("waits")
			build := o.builtOnce(image)
			o.awaitCondition(image, "Ready", metav1.ConditionFalse, tt.reason)
			if c := meta.FindStatusCondition(image.Status.Conditions, "Ready"); !strings.Contains(c.Message, tt.says) {
				t.Errorf("the message does not name the service: %s", c.Message)
			}
			o.checkNothingSigned(image, build)
			jobs := len(o.jobs())
			tt.fail(o.sigstore, sigstoretest.Works)
			o.stop()
			o.start() // It would wait for minutes.
			o.awaitCondition(image, "Ready", metav1.ConditionTrue, v1alpha1.ReasonPromoted)
			if got := len(o.builds()); got != 1 || len(o.jobs()) != jobs {
				t.Errorf("%d builds and %d Jobs, want 1 and %d", got, len(o.jobs()), jobs)
			}
			o.checkSigned(image)
		})
	}
}

func failFulcio(s *sigstoretest.Sigstore, f sigstoretest.Fault) { s.Fulcio.Fail(f) }
func failRekor(s *sigstoretest.Sigstore, f sigstoretest.Fault)  { s.Rekor.Fail(f) }

// checkNothingSigned looks at status and registry of a build that waits to be attested.
func (o *operator) checkNothingSigned(image *v1alpha1.BaseImage, build v1alpha1.BaseImageBuild) {
	o.t.Helper()
	o.check(k8s.Get(o.t.Context(), client.ObjectKeyFromObject(&build), &build), "reading the build")
	for _, kind := range []string{"Attested", "Signed", "Verified", "Promoted"} {
		if meta.IsStatusConditionTrue(build.Status.Conditions, kind) {
			o.t.Errorf("the build is %s", kind)
		}
	}
	if build.Status.Signature != nil || image.Status.Image != nil {
		o.t.Errorf("the build has the signature %+v, the image %+v", build.Status.Signature, image.Status.Image)
	}
	o.checkNoTag(image)
	for _, suffix := range []string{".sig", ".att"} {
		ref, err := name.NewTag(image.Spec.Output.Repository+":"+strings.Replace(build.Status.Digest, ":", "-", 1)+suffix, name.Insecure)
		o.check(err, "naming a tag")
		if _, err := remote.Head(ref); err == nil {
			o.t.Errorf("%s is there", ref)
		}
	}
}

// checkSigned looks at what the status says of a signature.
func (o *operator) checkSigned(image *v1alpha1.BaseImage) {
	o.t.Helper()
	s := image.Status.Image.Signature
	want := sigstoretest.Identity(o.namespace, signerAccount)
	if s == nil || s.Identity != want || s.Issuer == "" || s.LogIndex == nil || len(s.Formats) != 2 || !strings.HasSuffix(s.VerifyCommand, image.Status.Image.Reference) {
		o.t.Errorf("signature = %+v, want one of %s", s, want)
		return
	}
	// Without nodes no tests ran: provenance of the index, and for each platform provenance, two SBOMs and two scans.
	if len(s.Attestations) != 11 {
		o.t.Errorf("%d attestations, want 11: %+v", len(s.Attestations), s.Attestations)
	}
}

// A rebuild that gives the same digest is not signed again, while its attestations are its own.
func TestADigestIsSignedOnce(t *testing.T) {
	o := newOperator(t)
	image := o.promoted("once")
	first := image.Status.Image.DeepCopy()
	entries := o.sigstore.Rekor.Entries()
	edit(o, image, "requesting a build", func(i *v1alpha1.BaseImage) {
		i.Annotations = map[string]string{v1alpha1.BuildRequestedAtAnnotation: "again"}
	})
	for _, job := range o.awaitJobs(o.awaitAttempt(image, 2).Name) {
		o.succeed(job)
	}
	o.await("the second image", func() (bool, string) {
		o.check(k8s.Get(t.Context(), client.ObjectKeyFromObject(image), image), "reading the image")
		return image.Status.Image.Build != first.Build, image.Status.Image.Build
	})
	second := image.Status.Image
	if first.Digest != second.Digest || *first.Signature.LogIndex != *second.Signature.LogIndex {
		t.Errorf("%s is in entry %d, and %s in entry %d", first.Digest, *first.Signature.LogIndex, second.Digest, *second.Signature.LogIndex)
	}
	// Three provenances and two reports of scans for each of two platforms name the build. SBOMs do not.
	if got := o.sigstore.Rekor.Entries() - entries; got != 7 {
		t.Errorf("the second build made %d entries in the log, want 7", got)
	}
}

// No token of the signer reaches an object.
func TestTokensOfTheSignerAreNowhere(t *testing.T) {
	o := newOperator(t)
	o.sigstore.Fulcio.FailTimes(sigstoretest.Refuses, 1) // It repeats what it was sent.
	image := o.image("secret")
	build := o.builtOnce(image)
	o.awaitCondition(image, "Ready", metav1.ConditionFalse, pipeline.ReasonSigstoreRefused)
	o.check(k8s.Get(t.Context(), client.ObjectKeyFromObject(&build), &build), "reading the build")
	for _, object := range []any{image, build, o.jobs()} {
		raw, err := json.Marshal(object)
		o.check(err, "encoding an object")
		if strings.Contains(string(raw), "eyJ") {
			t.Errorf("there is a token in %s", raw)
		}
	}
}
