package imagepolicy

import (
	"context"
	"strings"

	"github.com/sigstore/policy-controller/pkg/apis/glob"
	"github.com/sigstore/policy-controller/pkg/apis/policy/v1beta1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"knative.dev/pkg/apis"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// ClusterNamespace is where policy-controller has the Secrets of its policies.
const ClusterNamespace = "cosign-system"

// ClusterInput of CompileCluster.
type ClusterInput struct {
	// Object is the policy.
	Object *v1beta1.ClusterImagePolicy
	// PublicKeys in PEM, of the Secrets that authorities name, by the name of the Secret.
	PublicKeys map[string][]byte
	// Trust is what signatures are verified with, whatever the policy says of other roots.
	Trust Trust
}

// CompileCluster makes a Policy of a ClusterImagePolicy. What it asks for and is not supported makes an error that names all of it: a
// policy that is honoured in part would let in what it is there to refuse.
func CompileCluster(in ClusterInput) (p *Policy, warnings []string, err error) {
	defer survive(&p, &err)
	c := newClusterCompiler(in)
	c.unsupported()
	c.validate()
	c.match()
	for i := range c.spec.Authorities {
		c.policy.Authorities = append(c.policy.Authorities, c.authority(i))
	}
	c.hash()
	if err := c.err(pipeline.ReasonPolicyUnsupported); err != nil {
		return nil, c.warnings.bounded(), err
	}
	if err := c.needs.check(in.Trust.Material); err != nil {
		return nil, c.warnings.bounded(), err
	}
	return c.policy, c.warnings.bounded(), nil
}

// NotReadyCluster is the Policy of a ClusterImagePolicy that can't be compiled: it refuses what the object is for.
func NotReadyCluster(o *v1beta1.ClusterImagePolicy, why error) *Policy {
	c := newClusterCompiler(ClusterInput{Object: o})
	c.match()
	c.policy.NotReady = why
	c.policy.Hash = judged{Kind: "NotReady", Authorities: string(o.UID)}.hash()
	c.policy.matcher.everything = len(c.list) > 0
	return c.policy
}

type clusterCompiler struct {
	problems
	in       ClusterInput
	spec     v1beta1.ClusterImagePolicySpec
	policy   *Policy
	needs    needs
	warnings warnings
}

func newClusterCompiler(in ClusterInput) *clusterCompiler {
	object := in.Object.DeepCopy()
	object.SetDefaults(context.Background())
	mode := v1alpha1.ModeEnforce
	if object.Spec.Mode == "warn" {
		mode = v1alpha1.ModeWarn
	}
	return &clusterCompiler{in: in, spec: object.Spec, policy: &Policy{
		Name: object.Name, Kind: KindClusterImagePolicy, Generation: object.Generation, Mode: mode, Digest: v1alpha1.DigestPin,
	}}
}

// validate asks policy-controller's own code, which does no I/O. It ends the process over the namespace of a Secret unless it is told
// its own, so that is looked at by us.
func (c *clusterCompiler) validate() {
	spec := c.spec.DeepCopy()
	for i := range spec.Authorities {
		for _, key := range keysOf(&spec.Authorities[i]) {
			if key.SecretRef != nil {
				key.SecretRef.Namespace = ""
			}
		}
	}
	found := spec.Validate(context.Background())
	if found == nil {
		return
	}
	if broken := found.Filter(apis.ErrorLevel); broken != nil {
		c.forbidden(specPath, "policy-controller would refuse it: %s", oneLine(broken.Error()))
	}
	if odd := found.Filter(apis.WarningLevel); odd != nil {
		c.warnings.add(specPath, "%s", oneLine(odd.Error()))
	}
}

func keysOf(a *v1beta1.Authority) []*v1beta1.KeyRef {
	var keys []*v1beta1.KeyRef
	if a.Key != nil {
		keys = append(keys, a.Key)
	}
	if a.Keyless != nil && a.Keyless.CACert != nil {
		keys = append(keys, a.Keyless.CACert)
	}
	return keys
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// match compiles globs as policy-controller does: they are for the whole reference.
func (c *clusterCompiler) match() {
	at := specPath.Child("images")
	if len(c.spec.Images) == 0 {
		c.required(at, "say which images the policy is for")
	}
	for i, image := range c.spec.Images {
		expression, err := glob.Compile(image.Glob)
		if err != nil || image.Glob == "" {
			c.invalid(at.Index(i).Child("glob"), truncate(image.Glob, maxShown), "it is no glob of policy-controller: use letters, digits, and - _ : / * . @")
			continue
		}
		c.policy.matcher.patterns = append(c.policy.matcher.patterns, pattern{prefix: prefixOf(image.Glob), expression: expression})
		c.lintGlob(at.Index(i).Child("glob"), image.Glob)
	}
}

// prefixOf is what all that a glob is for begins with.
func prefixOf(pattern string) string {
	// These two stand for something else.
	if pattern == "*" || pattern == "*/*" {
		return glob.ResolvedDockerhubHost
	}
	prefix, _, _ := strings.Cut(pattern, "*")
	return prefix
}

func (c *clusterCompiler) lintGlob(at *field.Path, pattern string) {
	_, last := cutLast(pattern, "/")
	name, _, tagged := strings.Cut(last, ":")
	switch {
	case tagged && !strings.Contains(name, "@") && !strings.Contains(name, "**"):
		c.warnings.add(at, "%q is for a tag alone, and not for images with a digest, as all have that were pinned: end it with %s**", pattern, strings.TrimSuffix(pattern, last)+name)
	case !strings.ContainsAny(last, "*@:"):
		c.warnings.add(at, "%q is for the reference without tag and digest alone: end it with **", pattern)
	case strings.HasPrefix(pattern, "**"):
		c.warnings.add(at, "%q is for every registry: begin it with a host", pattern)
	}
}

func cutLast(s, separator string) (before, after string) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):]
	}
	return "", s
}

func (c *clusterCompiler) hash() {
	keys := make([]string, 0, len(c.spec.Authorities))
	for _, a := range c.spec.Authorities {
		if a.Key != nil && a.Key.SecretRef != nil {
			keys = append(keys, string(c.in.PublicKeys[a.Key.SecretRef.Name]))
		}
	}
	c.policy.Hash = judged{Kind: KindClusterImagePolicy, Authorities: c.spec.Authorities, Keys: keys}.hash()
}
