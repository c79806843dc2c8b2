package imagepolicy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/ibshafique/base-images/internal/imageglob"
)

// matcher says what a policy is for. The zero value is for nothing.
type matcher struct {
	// everything is for policies of which not even that is known.
	everything bool
	// globs of an ImageAdmissionPolicy.
	globs []imageglob.Glob
	// patterns of a ClusterImagePolicy.
	patterns []pattern
	// namespaces by their labels; nil for all.
	namespaces labels.Selector
}

// pattern is a glob of a ClusterImagePolicy: it is for the whole reference, with tag or digest.
type pattern struct {
	// prefix that all it is for begins with. Most policies are told apart by it.
	prefix     string
	expression *regexp.Regexp
}

func (p pattern) match(s string) bool {
	return strings.HasPrefix(s, p.prefix) && p.expression.MatchString(s)
}

// Set is all policies of a cluster at one time. It does not change.
type Set struct{ policies []*Policy }

// NewSet makes a Set of policies. It keeps none that is nil.
func NewSet(policies []*Policy) *Set {
	s := &Set{policies: make([]*Policy, 0, len(policies))}
	for _, p := range policies {
		if p != nil {
			s.policies = append(s.policies, p)
		}
	}
	slices.SortFunc(s.policies, func(a, b *Policy) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(b.Kind, a.Kind))
	})
	return s
}

// All returns every policy, sorted by name.
func (s *Set) All() []*Policy { return slices.Clone(s.policies) }

// For returns the policies that are for an image in a namespace with these labels, sorted by name: all of them must hold. reference
// is the image as the pod gives it, which the globs of ClusterImagePolicies see. After an error nobody knows which there are.
func (s *Set) For(n imageglob.Name, reference, namespace string, namespaceLabels map[string]string) ([]*Policy, error) {
	if n.Host == "" || n.Path == "" {
		return nil, fmt.Errorf("finding the policies for image %.200q: it has no canonical name", reference)
	}
	if namespace == "" {
		return nil, fmt.Errorf("finding the policies for image %.200q: nobody says in which namespace", reference)
	}
	var found []*Policy
	var names []string
	for _, p := range s.policies {
		if len(p.matcher.patterns) > 0 && names == nil {
			var err error
			if names, err = spellings(n, reference); err != nil {
				return nil, err
			}
		}
		if p.matcher.match(n, names, namespaceLabels) {
			found = append(found, p)
		}
	}
	return found, nil
}

// Elsewhere names policies that are for the image in other namespaces: most people who miss one have missed its labels.
func (s *Set) Elsewhere(n imageglob.Name) []string {
	var found []string
	for _, p := range s.policies {
		if p.matcher.namespaces != nil && p.matcher.matchImage(n, nil) {
			found = append(found, p.Name)
		}
	}
	return found
}

// match looks at labels last: most policies are told apart by the image, in less time.
func (m *matcher) match(n imageglob.Name, names []string, namespaceLabels map[string]string) bool {
	return m.matchImage(n, names) && (m.namespaces == nil || m.namespaces.Matches(labels.Set(namespaceLabels)))
}

func (m *matcher) matchImage(n imageglob.Name, names []string) bool {
	for i := range m.globs {
		if m.globs[i].Match(n) {
			return true
		}
	}
	for _, p := range m.patterns {
		if slices.ContainsFunc(names, p.match) {
			return true
		}
	}
	return m.everything
}

// spellings are what policy-controller matches globs against, which is the reference as go-containerregistry completes it and as it
// stands there, and the canonical one: who writes a host in other letters does not get around a policy.
func spellings(n imageglob.Name, reference string) ([]string, error) {
	ref, err := name.ParseReference(reference, name.WeakValidation)
	if err != nil {
		return nil, fmt.Errorf("finding the policies for image %.200q: it is no reference of an image: %w", reference, err)
	}
	separator := ":"
	if _, ok := ref.(name.Digest); ok {
		separator = "@"
	}
	all := []string{ref.Name()}
	for _, other := range []string{reference, n.Host + "/" + n.Path + separator + ref.Identifier()} {
		if !slices.Contains(all, other) {
			all = append(all, other)
		}
	}
	return all, nil
}
