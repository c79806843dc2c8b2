package webhook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imageglob"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verdict"
	"github.com/ibshafique/base-images/internal/workload"
)

// candidate is an image of the object, in one or several places.
type candidate struct {
	reference string
	places    []place
	// fresh: one of the places did not have it before.
	fresh    bool
	ref      name.Reference
	policies []*imagepolicy.Policy

	// What comes of looking at it.
	digest   name.Digest
	resolved bool
	// pinned: a policy holds for the digest, and asks that it be written behind the tag.
	pinned   bool
	facts    map[*imagepolicy.Policy]rules.ImageFacts
	findings []finding
	// lacksFacts: something keeps us from looking at the image, for a policy. Another may know of it.
	lacksFacts map[*imagepolicy.Policy]bool
}

// place has an image. It is fresh if the object as it was did not have it there.
type place struct {
	workload.Image
	fresh bool
}

// isAsked reports whether policies are asked about the image.
func (c *candidate) isAsked() bool { return c.fresh && len(c.policies) > 0 }

// field is where people look for what is wrong with the image: where it is new, if it is.
func (c *candidate) field() string {
	for _, p := range c.places {
		if p.fresh {
			return p.Field
		}
	}
	return c.places[0].Field
}

// violation is a finding about c that is in the mode of policy.
func (c *candidate) violation(policy *imagepolicy.Policy, reason, message, fix string) {
	c.findings = append(c.findings, finding{reason: reason, field: c.field(), image: c.reference, message: message, fix: fix}.of(policy))
}

func (c *candidate) outage(policy *imagepolicy.Policy, err error) {
	f := outage(c.field(), err).of(policy)
	f.image = c.reference
	c.findings = append(c.findings, f)
}

// images looks at every image, several at a time.
func (rv *reviewing) images(ctx context.Context) {
	rv.candidates = rv.collect()
	if len(rv.candidates) > maxImages {
		rv.findings = append(rv.findings, finding{mode: v1alpha1.ModeEnforce, reason: pipeline.ReasonTooManyImages, field: rv.object.Path,
			message: fmt.Sprintf("it has %d different images, at most %d are looked at", len(rv.candidates), maxImages), fix: "split it"})
		rv.candidates = nil
		return
	}
	for _, c := range rv.candidates {
		rv.match(c)
	}
	if slices.ContainsFunc(rv.candidates, (*candidate).isAsked) {
		if err := rv.login(ctx); err != nil {
			rv.loggedOut(err)
		} else {
			rv.examineAll(ctx)
		}
	}
	// What was found before stays, whatever has failed since.
	for _, c := range rv.candidates {
		rv.findings = append(rv.findings, c.findings...)
	}
}

func (rv *reviewing) examineAll(ctx context.Context) {
	var all sync.WaitGroup
	for _, c := range rv.candidates {
		if c.isAsked() {
			all.Go(func() { rv.examine(ctx, c) })
		}
	}
	all.Wait()
}

// collect finds the distinct references.
func (rv *reviewing) collect() []*candidate {
	added := map[string]bool{}
	for _, i := range rv.object.Added(rv.old) {
		added[i.Field] = true
	}
	var out []*candidate
	byReference := map[string]*candidate{}
	for _, i := range rv.object.Images() {
		c := byReference[i.Reference]
		if c == nil {
			c = &candidate{reference: i.Reference, facts: map[*imagepolicy.Policy]rules.ImageFacts{}, lacksFacts: map[*imagepolicy.Policy]bool{}}
			byReference[i.Reference] = c
			out = append(out, c)
		}
		p := place{Image: i, fresh: added[i.Field]}
		c.places, c.fresh = append(c.places, p), c.fresh || p.fresh
	}
	return out
}

// match finds the policies for c. One that can't be matched is refused: nobody knows which policies are for it.
func (rv *reviewing) match(c *candidate) {
	ref, n, err := rv.read(c.reference)
	if err != nil {
		c.findings = append(c.findings, finding{mode: v1alpha1.ModeEnforce, reason: pipeline.ReasonImageInvalid, field: c.field(), image: c.reference,
			message: fmt.Sprintf("%q is not an image reference", clip(c.reference)), fix: "write it as registry.example/team/app:tag, or with a digest"})
		return
	}
	c.ref = ref
	if c.policies, err = rv.set.For(n, ref.Name(), rv.namespace, rv.labels); err != nil {
		c.findings = append(c.findings, outage(c.field(), fmt.Errorf("looking for the policies of %s: %w", clip(c.reference), err)))
		return
	}
	if len(c.policies) == 0 && c.fresh && !rv.AllowUnmatched {
		c.findings = append(c.findings, finding{mode: rv.unmatched(), reason: pipeline.ReasonNoPolicy, field: c.field(), image: c.reference,
			message: unmatchedBy(rv.set.Elsewhere(n)),
			fix:     fmt.Sprintf("use an image that a policy is for, or ask the platform team for a policy whose spec.images has %s", strings.Replace(ref.Context().Name(), "index.docker.io/", "docker.io/", 1))})
	}
}

func unmatchedBy(elsewhere []string) string {
	const none = "no ImageAdmissionPolicy is for this image in this namespace"
	if len(elsewhere) == 0 {
		return none
	}
	return none + "; of other namespaces, by their labels: " + strings.Join(elsewhere[:min(len(elsewhere), 5)], ", ")
}

// read is what a node would pull, and the one spelling of its repository.
func (rv *reviewing) read(reference string) (name.Reference, imageglob.Name, error) {
	ref, err := rv.References.Parse(reference)
	if err != nil {
		return nil, imageglob.Name{}, err
	}
	if ref == nil {
		return nil, imageglob.Name{}, errors.New("there is no reference")
	}
	canonical, err := registry.CanonicalRepository(ref.Context().Name())
	if err != nil {
		return nil, imageglob.Name{}, err
	}
	n, err := imageglob.NameOf(canonical)
	return ref, n, err
}

func (rv *reviewing) unmatched() v1alpha1.PolicyMode {
	if rv.Unmatched == "" {
		return v1alpha1.ModeEnforce
	}
	return rv.Unmatched
}

// login asks for the credentials of the object, once.
func (rv *reviewing) login(ctx context.Context) (err error) {
	if rv.access.Client != nil {
		return nil
	}
	if rv.access, err = rv.Cluster.Access(ctx, rv.namespace, rv.object.Spec); err != nil {
		return fmt.Errorf("looking for the pull secrets: %w", err)
	}
	rv.access.Tenant = rv.namespace
	return nil
}

// loggedOut is about credentials that can't be read: nothing that a policy asks for is known.
func (rv *reviewing) loggedOut(err error) {
	f := outage(rv.object.Path+".imagePullSecrets", err)
	if pipeline.IsTerminal(err) {
		f.unknown, f.fix = false, "mend the Secret that it names"
	}
	for _, p := range rv.policies() {
		rv.findings = append(rv.findings, f.of(p))
	}
}

// examine asks all policies about one image.
func (rv *reviewing) examine(ctx context.Context, c *candidate) {
	defer func() {
		if p := recover(); p != nil {
			c.findings = append(c.findings, outage(c.field(), fmt.Errorf("looking at %s: the webhook has a defect: %v", clip(c.reference), p)))
		}
	}()
	if err := rv.resolve(ctx, c); err != nil {
		rv.unresolved(c, err)
		return
	}
	answers := make([]answer, len(c.policies))
	var all sync.WaitGroup
	for i, p := range c.policies {
		all.Go(func() { answers[i] = rv.ask(ctx, c, p) })
	}
	all.Wait()
	for i, p := range c.policies {
		rv.note(c, p, answers[i])
	}
}

// resolve finds the digest. The one that is verified is the one that is pinned.
func (rv *reviewing) resolve(ctx context.Context, c *candidate) (err error) {
	switch ref := c.ref.(type) {
	case name.Digest:
		c.digest = ref
	case name.Tag:
		if c.digest, err = rv.Judge.Resolve(ctx, rv.access, ref); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%T is not a reference", ref)
	}
	c.resolved = true
	return nil
}

// unresolved is about a tag that has no digest: it does not exist, it may not be read, or its registry is away.
func (rv *reviewing) unresolved(c *candidate, err error) {
	err = fmt.Errorf("looking for the digest of %s: %w", clip(c.reference), err)
	for _, p := range c.policies {
		if pipeline.IsTerminal(err) {
			c.violation(p, pipeline.ReasonOf(err), err.Error(), "check the name, the tag and the imagePullSecrets")
		} else {
			c.outage(p, err)
		}
	}
}

// answer of a policy about an image.
type answer struct {
	verdict  verdict.Verdict
	facts    rules.ImageFacts
	excepted bool
	err      error
}

func (rv *reviewing) ask(ctx context.Context, c *candidate, p *imagepolicy.Policy) (a answer) {
	defer func() {
		if v := recover(); v != nil {
			a = answer{err: fmt.Errorf("asking policy %s: the webhook has a defect: %v", p.Name, v)}
		}
	}()
	if p.NotReady != nil {
		return answer{err: notReady(p)}
	}
	q := rv.ofPolicy(c, p)
	if rv.excepted(c, p) {
		a.excepted = true
		if p.Runtime != nil {
			a.facts, a.err = rv.Judge.Facts(ctx, q)
		}
		return a
	}
	a.verdict, a.err = rv.Judge.Judge(ctx, q)
	a.facts = a.verdict.Facts
	return a
}

func (rv *reviewing) ofPolicy(c *candidate, p *imagepolicy.Policy) verdict.Question {
	return verdict.Question{Image: c.digest, Policy: p, Access: rv.access, Platforms: rv.Cluster.Platforms()}
}

// excepted reports whether an exception lets this digest pass in this namespace, today.
func (rv *reviewing) excepted(c *candidate, p *imagepolicy.Policy) bool {
	e := rv.exception(c, p)
	return e != nil && rv.Clock.Now().Before(e.Expires.Time)
}

// exception for this digest in this namespace, expired or not.
func (rv *reviewing) exception(c *candidate, p *imagepolicy.Policy) *v1alpha1.ImageException {
	for i, e := range p.Exceptions {
		if e.Digest == c.digest.DigestStr() && slices.Contains(e.Namespaces, rv.namespace) {
			return &p.Exceptions[i]
		}
	}
	return nil
}

// note takes an answer to heart. Only a verdict that holds, or an exception, leaves no finding.
func (rv *reviewing) note(c *candidate, p *imagepolicy.Policy, a answer) {
	switch {
	case a.err != nil && pipeline.IsTerminal(a.err) && p.NotReady == nil:
		c.violation(p, pipeline.ReasonOf(a.err), a.err.Error(), "")
	case a.err != nil:
		c.outage(p, a.err)
		if p.NotReady != nil {
			c.findings[len(c.findings)-1].fix = "the platform team has to mend the policy"
		}
	case a.excepted, a.verdict.Holds():
		c.pinned = c.pinned || p.Digest == v1alpha1.DigestPin
		c.facts[p] = a.facts
		rv.byTag(c, p)
	default:
		c.facts[p] = a.facts
		rv.refuse(c, p, a.verdict.Findings)
	}
}

// byTag is about an image that is good, and might be another one when it is pulled.
func (rv *reviewing) byTag(c *candidate, p *imagepolicy.Policy) {
	_, tagged := c.ref.(name.Tag)
	pinned := fmt.Sprintf("write %s", pin(c.reference, c.digest))
	switch {
	case !tagged:
	case p.Digest == v1alpha1.DigestRequire:
		c.violation(p, pipeline.ReasonTagRefused, "it is given by tag, and the policy asks for a digest", pinned)
	case rv.object.IsPod && !rv.imagesOnly:
		c.violation(p, pipeline.ReasonTagRefused, "it is given by tag, which may move before it is pulled, and the mutating webhook has not pinned it", pinned)
	}
}

func (rv *reviewing) refuse(c *candidate, p *imagepolicy.Policy, found []verdict.Finding) {
	if len(found) == 0 {
		// Nothing speaks against it, and nothing for it.
		c.violation(p, pipeline.ReasonSignatureMissing, "nothing vouches for it", "sign it as the policy asks")
	}
	for _, f := range found {
		if e := rv.exception(c, p); e != nil {
			f.Message += fmt.Sprintf("; the policy's exception for it has expired at %s", e.Expires.UTC().Format(time.RFC3339))
		}
		c.findings = append(c.findings, finding{reason: f.Reason, field: c.field(), image: c.reference, message: c.without(f.Message), fix: f.Fix, command: f.Command}.of(p))
	}
}

// without is message without what stands beside it: which image it is about, and that its signatures were verified.
func (c *candidate) without(message string) string {
	message = strings.ReplaceAll(message, " of "+registry.Name(c.digest)+":", ":")
	return strings.ReplaceAll(message, "verifying the signatures: ", "")
}

// pin is reference with digest, the tag kept for people.
func pin(reference string, digest name.Digest) string {
	before, _, _ := strings.Cut(reference, "@")
	return before + "@" + digest.DigestStr()
}
