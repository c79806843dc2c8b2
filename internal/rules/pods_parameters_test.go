package rules_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/ibshafique/base-images/internal/rules"
)

// What parameters ask for is worked out here once more, in Go and from the pod itself: a rule that is undefined somewhere would
// otherwise look as if all were well.
func TestParametersHoldForPodsOfChance(t *testing.T) {
	t.Parallel()
	p := compilePods(t)
	g := generator{rand.New(rand.NewPCG(3, 4))}
	ours := []string{"user", "read-only-root-filesystem", "limits", "service-account-token", "image-shell", "image-label", "image-age"}
	seen := map[string]int{}
	for range 3000 {
		q := g.question()
		var got []string
		for _, f := range evaluate(t, p, q) {
			if slices.Contains(ours, f.Rule) {
				got = append(got, f.Rule+" "+f.Field)
				seen[f.Rule]++
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(expected(q), slices.Compact(got)); diff != "" {
			t.Fatalf("(-expected +found)\n%s%+v\n%+v", diff, q, q.Spec)
		}
	}
	for _, rule := range ours {
		if seen[rule] < 20 {
			t.Errorf("%s was found only %d times", rule, seen[rule])
		}
	}
}

func (g generator) question() rules.PodQuestion {
	pod := g.pod()
	spec := &pod.Spec
	spec.AutomountServiceAccountToken = []*bool{nil, new(true), new(false)}[g.IntN(3)]
	if g.seldom(2) {
		spec.Volumes = append(spec.Volumes, token([]string{"kube-api-access-x", "mine"}[g.IntN(2)]))
	}
	q := rules.PodQuestion{
		Spec: spec, Meta: &pod.ObjectMeta, Path: "spec", Kind: []string{"Pod", "Deployment"}[g.IntN(2)], Version: "1.37", Now: now, Images: map[string]rules.ImageFacts{},
		Profile: []string{"Restricted", "Baseline"}[g.IntN(2)], Parameters: g.parameters(), Automount: []*bool{nil, new(true), new(false)}[g.IntN(3)],
	}
	for _, c := range containersOf(spec) {
		g.dress(c.Container)
		q.Images[c.field+".image"] = g.facts()
	}
	for i := range spec.Volumes {
		q.Images[fmt.Sprintf("spec.volumes[%d].image.reference", i)] = g.facts()
	}
	if g.seldom(4) {
		maps.DeleteFunc(q.Images, func(string, rules.ImageFacts) bool { return g.seldom(2) })
	}
	if g.seldom(4) {
		q.Fields = map[string]bool{}
		for field := range q.Images {
			q.Fields[field] = g.seldom(2)
		}
	}
	return q
}

func (g generator) parameters() (p rules.PodParameters) {
	if !g.seldom(3) {
		p.Users = []rules.UserRange{{Min: 1, Max: 1}, {Min: 65532, Max: 65600}}[g.IntN(2):]
	}
	p.ReadOnlyRootFilesystem, p.NoImageShells = g.seldom(2), g.seldom(2)
	p.ServiceAccountToken = []string{"", "Forbid", "Explicit", "Allow"}[g.IntN(4)]
	p.RequiredLimits = []string{"cpu", "memory", "ephemeral-storage"}[g.IntN(4):]
	p.ImageLabels = []string{"a", "b"}[g.IntN(3):]
	p.ImageMaxAge = time.Duration(g.IntN(3)) * time.Hour
	return p
}

func (g generator) facts() rules.ImageFacts {
	f := rules.ImageFacts{
		Known: !g.seldom(6), User: []string{"", "0", "1", "1:0", "65532", "nonroot", "65540:65540", "1x"}[g.IntN(8)],
		Shells: []rules.Shells{rules.ShellsUnknown, rules.ShellsNone, rules.ShellsFound}[g.IntN(3)], Labels: map[string]string{"b": "b"},
	}
	if !g.seldom(4) {
		f.SignedAt = now.Add(-time.Duration(g.IntN(4)) * time.Hour)
	}
	if g.seldom(2) {
		f.Labels["a"] = []string{"", " ", "a"}[g.IntN(3)]
	}
	return f
}

// dress gives a container what the standards don't ask for.
func (g generator) dress(c *corev1.Container) {
	if s := c.SecurityContext; s != nil {
		s.ReadOnlyRootFilesystem = []*bool{nil, new(true), new(false)}[g.IntN(3)]
		s.RunAsUser = []*int64{nil, nil, new(int64(0)), new(int64(1)), new(int64(65532)), new(int64(65601))}[g.IntN(6)]
	}
	c.Resources.Limits = corev1.ResourceList{}
	for _, name := range []corev1.ResourceName{"cpu", "memory", "ephemeral-storage"} {
		if !g.seldom(4) {
			c.Resources.Limits[name] = resource.MustParse([]string{"0", "1", "100m"}[g.IntN(3)])
		}
	}
}

type placed struct {
	*corev1.Container
	field     string
	ephemeral bool
}

func containersOf(spec *corev1.PodSpec) (all []placed) {
	for i := range spec.InitContainers {
		all = append(all, placed{&spec.InitContainers[i], fmt.Sprintf("spec.initContainers[%d]", i), false})
	}
	for i := range spec.Containers {
		all = append(all, placed{&spec.Containers[i], fmt.Sprintf("spec.containers[%d]", i), false})
	}
	for i := range spec.EphemeralContainers {
		c := (*corev1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon)
		all = append(all, placed{c, fmt.Sprintf("spec.ephemeralContainers[%d]", i), true})
	}
	return all
}

// expected are the rules and fields of the findings that there should be.
func expected(q rules.PodQuestion) (all []string) {
	find := func(when bool, rule, field string) {
		if when {
			all = append(all, rule+" "+field)
		}
	}
	windows := q.Spec.OS != nil && q.Spec.OS.Name == "windows"
	for _, c := range containersOf(q.Spec) {
		if q.Fields != nil && !q.Fields[c.field+".image"] {
			continue
		}
		s := c.SecurityContext
		find(len(q.Parameters.Users) > 0 && !windows && !mayRun(q, c), "user", c.field+".securityContext.runAsUser")
		find(q.Parameters.ReadOnlyRootFilesystem && !windows && (s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem), "read-only-root-filesystem", c.field+".securityContext.readOnlyRootFilesystem")
		for _, name := range q.Parameters.RequiredLimits {
			limit := c.Resources.Limits[corev1.ResourceName(name)]
			find(!c.ephemeral && limit.Sign() <= 0, "limits", c.field+".resources.limits."+name)
		}
		imageFindings(q, c.field+".image", find)
	}
	for i, v := range q.Spec.Volumes {
		if field := fmt.Sprintf("spec.volumes[%d].image.reference", i); v.Image != nil && (q.Fields == nil || q.Fields[field]) {
			imageFindings(q, field, find)
		}
	}
	tokenFindings(q, find)
	slices.Sort(all)
	return slices.Compact(all)
}

func mayRun(q rules.PodQuestion, c placed) bool {
	facts := q.Images[c.field+".image"]
	text, _, _ := strings.Cut(facts.User, ":")
	user, err := strconv.ParseInt(text, 10, 64)
	known := facts.Known && err == nil
	if s := q.Spec.SecurityContext; s != nil && s.RunAsUser != nil {
		user, known = *s.RunAsUser, true
	}
	if s := c.SecurityContext; s != nil && s.RunAsUser != nil {
		user, known = *s.RunAsUser, true
	}
	return known && slices.ContainsFunc(q.Parameters.Users, func(r rules.UserRange) bool { return r.Min <= user && user <= r.Max })
}

func imageFindings(q rules.PodQuestion, field string, find func(bool, string, string)) {
	f := q.Images[field]
	find(q.Parameters.NoImageShells && (!f.Known || f.Shells != rules.ShellsNone), "image-shell", field)
	for _, label := range q.Parameters.ImageLabels {
		find(!f.Known || strings.TrimSpace(f.Labels[label]) == "", "image-label", field)
	}
	old := f.SignedAt.IsZero() || now.Sub(f.SignedAt) > q.Parameters.ImageMaxAge
	find(q.Parameters.ImageMaxAge > 0 && (!f.Known || old), "image-age", field)
}

func tokenFindings(q rules.PodQuestion, find func(bool, string, string)) {
	automount := q.Spec.AutomountServiceAccountToken
	silent, yes := automount == nil, automount != nil && *automount
	no := silent && q.Automount != nil && !*q.Automount || automount != nil && !yes
	forbid, explicit := q.Parameters.ServiceAccountToken == "Forbid", q.Parameters.ServiceAccountToken == "Explicit"
	const field = "spec.automountServiceAccountToken"
	for i, v := range q.Spec.Volumes {
		if v.Projected == nil || len(v.Projected.Sources) == 0 {
			continue
		}
		added := strings.HasPrefix(v.Name, "kube-api-access-")
		find(added && (forbid || explicit && !yes), "service-account-token", field)
		find(!added && forbid, "service-account-token", fmt.Sprintf("spec.volumes[%d].projected.sources[1].serviceAccountToken", i))
	}
	find(q.Kind != "Pod" && !no && (forbid || explicit && silent), "service-account-token", field)
}
