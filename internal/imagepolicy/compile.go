package imagepolicy

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imageglob"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verify"
)

// Kinds of objects that policies come from.
const (
	KindImageAdmissionPolicy = "ImageAdmissionPolicy"
	KindClusterImagePolicy   = "ClusterImagePolicy"
)

const (
	// MaxBytes of a policy and of what it refers to, in JSON: its last good version is kept as one object.
	MaxBytes = 1 << 20
	// maxWarnings that are given.
	maxWarnings = 32
)

var (
	specPath  = field.NewPath("spec")
	extraPath = specPath.Child("runtime", "extraRules")
)

// Input of Compile.
type Input struct {
	// Object is the policy.
	Object *v1alpha1.ImageAdmissionPolicy
	// Rules are the modules of the ConfigMap that spec.runtime.extraRules names.
	Rules []rules.Module
	// PublicKey in PEM, from the Secret that spec.key.secretRef names.
	PublicKey []byte
	// Trust is what signatures are verified with.
	Trust Trust
	// Now is what exceptions expire by.
	Now time.Time
}

// Trust is what signatures are verified with.
type Trust struct {
	// Material is the trust root.
	Material func() (root.TrustedMaterial, error)
	// Limits of what is read of signatures.
	Limits limits.Signatures
}

// Compile makes a Policy. The warnings are about what is good and looks unintended, also if there is an error, which is Terminal, its
// cause an *InvalidError with every problem.
func Compile(in Input) (*Policy, []string, error) {
	c := newCompiler(in)
	c.compile()
	warnings := c.lint()
	if err := c.err(pipeline.ReasonPolicyInvalid); err != nil {
		return nil, warnings, err
	}
	if err := c.needs.check(in.Trust.Material); err != nil {
		return nil, warnings, err
	}
	return c.policy, warnings, nil
}

// Validate is Compile for an object that is about to be written. What it refers to may not be there yet: without a PublicKey that is
// not looked at, and without Rules those are not.
func Validate(in Input) ([]string, field.ErrorList) {
	c := newCompiler(in)
	c.lenient = true
	c.compile()
	warnings := c.lint()
	return warnings, c.list
}

type compiler struct {
	problems
	in     Input
	spec   v1alpha1.ImageAdmissionPolicySpec
	policy *Policy
	needs  needs
	// verifiers of signatures, and of attestations that do not name others.
	verifier *verify.Verifier
	flags    []string
	// undated: nobody says when a signature was made.
	undated bool
	// lenient: what the policy refers to may be missing.
	lenient bool
}

func newCompiler(in Input) *compiler {
	c := &compiler{in: in, spec: *in.Object.Spec.DeepCopy()}
	c.defaults()
	c.policy = &Policy{
		Name: in.Object.Name, Kind: KindImageAdmissionPolicy, Generation: in.Object.Generation,
		Mode: c.spec.Mode, Digest: c.spec.Digest, Exceptions: c.spec.Exceptions,
	}
	return c
}

// defaults are those of the API, for objects that no apiserver has seen.
func (c *compiler) defaults() {
	set(&c.spec.Mode, v1alpha1.ModeEnforce)
	set(&c.spec.Authority, v1alpha1.AuthorityKeyless)
	set(&c.spec.Digest, v1alpha1.DigestPin)
	set(&c.spec.Runtime.Profile, v1alpha1.ProfileRestricted)
	if c.spec.Key != nil {
		set(&c.spec.Key.TransparencyLog, v1alpha1.LogRequired)
	}
}

func set[T ~string](value *T, otherwise T) {
	if *value == "" {
		*value = otherwise
	}
}

func (c *compiler) compile() {
	c.size()
	c.match()
	c.choices()
	c.exceptions()
	name := "identities"
	if c.spec.Authority == v1alpha1.AuthorityKey {
		name = c.key()
	} else {
		c.keyless()
	}
	authority := Authority{Name: name, Verifier: c.verifier, Flags: c.flags}
	for i := range c.spec.Attestations {
		authority.Attestations = append(authority.Attestations, c.attestation(i))
	}
	c.policy.Authorities = []Authority{authority}
	c.runtime()
	c.policy.Hash = c.hash()
}

// size keeps what is compiled, and what is kept of it, within bounds.
func (c *compiler) size() {
	raw, err := json.Marshal(c.in.Object.Spec)
	size := len(raw) + len(c.in.PublicKey)
	for _, m := range c.in.Rules {
		size += len(m.Name) + len(m.Source)
	}
	if err != nil || size > MaxBytes {
		c.forbidden(specPath, "it has %d bytes with the rules and the key that it refers to, at most %d are allowed: make several policies of it", size, MaxBytes)
	}
}

func (c *compiler) match() {
	at := specPath.Child("images")
	if len(c.spec.Images) == 0 {
		c.required(at, "say which images the policy is for")
	}
	for i, glob := range c.spec.Images {
		compiled, err := imageglob.Compile(glob)
		if err != nil {
			c.invalid(at.Index(i), glob, "%v", err)
			continue
		}
		c.policy.matcher.globs = append(c.policy.matcher.globs, compiled)
	}
	if c.spec.NamespaceSelector == nil {
		return
	}
	selector, err := metav1.LabelSelectorAsSelector(c.spec.NamespaceSelector)
	if err != nil {
		c.invalid(specPath.Child("namespaceSelector"), metav1.FormatLabelSelector(c.spec.NamespaceSelector), "%v", err)
		return
	}
	c.policy.matcher.namespaces = selector
}

// choices are refused by the apiserver too. A policy of another origin must not be taken for something else.
func (c *compiler) choices() {
	oneOf(c, "mode", c.spec.Mode, v1alpha1.ModeEnforce, v1alpha1.ModeWarn, v1alpha1.ModeAudit)
	oneOf(c, "authority", c.spec.Authority, v1alpha1.AuthorityKeyless, v1alpha1.AuthorityKey)
	oneOf(c, "digest", c.spec.Digest, v1alpha1.DigestPin, v1alpha1.DigestRequire)
	oneOf(c, "runtime.profile", c.spec.Runtime.Profile, v1alpha1.ProfileRestricted, v1alpha1.ProfileBaseline, v1alpha1.ProfileOff)
}

func oneOf[T ~string](c *compiler, name string, value T, allowed ...T) {
	if !slices.Contains(allowed, value) {
		c.list = append(c.list, field.NotSupported(specPath.Child(name), value, allowed))
	}
}

// An exception whose end nobody knows would count for ever.
func (c *compiler) exceptions() {
	for i, e := range c.spec.Exceptions {
		at := specPath.Child("exceptions").Index(i)
		if e.Expires.IsZero() {
			c.required(at.Child("expires"), "say when the exception stops counting, for example 2027-01-31T00:00:00Z")
		}
		if len(e.Namespaces) == 0 {
			c.required(at.Child("namespaces"), "say where the image may run")
		}
	}
}

// NotReady is the Policy of an object that can't be compiled: in its mode, it refuses what the object is for, or everything if not even
// that is known.
func NotReady(o *v1alpha1.ImageAdmissionPolicy, why error) *Policy {
	c := newCompiler(Input{Object: o})
	c.match()
	p := c.policy
	p.NotReady, p.Exceptions, p.Hash = why, nil, unreadyHash(o)
	p.matcher.everything = len(c.list) > 0
	if p.Mode != v1alpha1.ModeWarn && p.Mode != v1alpha1.ModeAudit {
		p.Mode = v1alpha1.ModeEnforce
	}
	return p
}
