package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// members of an object that is being made.
type members [][2]*ast.Term

// words are names and values that pods have all the time.
var words = func() map[string]*ast.Term {
	all := map[string]*ast.Term{}
	for w := range strings.FieldsSeq(`
		profile minor windows template pod contexts containers automount accountAutomount volumes tokens images sysctls
		appArmorAnnotations parameters field kind name types volume added hostNetwork hostPID hostIPC hostUsers runAsNonRoot
		runAsUser seccompProfile appArmorProfile seLinuxOptions type user role hostProcess privileged allowPrivilegeEscalation
		readOnlyRootFilesystem procMount dropped hostPorts port hosts host value limits image known uid labels age shells
		users min max serviceAccountToken requiredLimits noImageShells imageLabels imageMaxAge metadata spec path namespace version
		Restricted Baseline RuntimeDefault Localhost ALL NET_BIND_SERVICE init regular ephemeral cpu memory None Found
		Forbid Explicit Allow Default 65532
	`) {
		all[w] = ast.StringTerm(w)
	}
	return all
}()

func word(s string) *ast.Term {
	if t, ok := words[s]; ok {
		return t
	}
	return ast.StringTerm(s)
}

func (o *members) set(name string, value *ast.Term) { *o = append(*o, [2]*ast.Term{word(name), value}) }

func (o *members) text(name, value string) { o.set(name, word(value)) }

// word is a text that is left out if it is empty.
func (o *members) word(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

// flag is left out if it is false.
func (o *members) flag(name string, value bool) {
	if value {
		o.set(name, ast.InternedTerm(true))
	}
}

func (o *members) boolean(name string, value *bool) {
	if value != nil {
		o.set(name, ast.InternedTerm(*value))
	}
}

// list is left out if it is empty.
func (o *members) list(name string, value []*ast.Term) {
	if len(value) > 0 {
		o.set(name, ast.ArrayTerm(value...))
	}
}

func (o members) term() *ast.Term { return ast.ObjectTerm(o...) }

// entry is something with the field that it stands in.
func entry(field, name string, value *ast.Term) *ast.Term {
	o := make(members, 0, 2)
	o.text("field", field)
	o.set(name, value)
	return o.term()
}

func number(n int64) *ast.Term { return ast.NumberTerm(json.Number(strconv.FormatInt(n, 10))) }

func texts[T ~string](list []T) (all []*ast.Term) {
	for _, s := range list {
		all = append(all, word(string(s)))
	}
	return all
}

func seconds(d time.Duration) *ast.Term { return number(int64(d / time.Second)) }

// term has the parameters that ask for something.
func (p *PodParameters) term() *ast.Term {
	o := make(members, 0, 8)
	var users []*ast.Term
	for _, r := range p.Users {
		m := make(members, 0, 2)
		m.set("min", number(r.Min))
		m.set("max", number(r.Max))
		users = append(users, m.term())
	}
	o.list("users", users)
	o.flag("readOnlyRootFilesystem", p.ReadOnlyRootFilesystem)
	o.word("serviceAccountToken", p.ServiceAccountToken)
	o.list("requiredLimits", texts(p.RequiredLimits))
	o.flag("noImageShells", p.NoImageShells)
	o.list("imageLabels", texts(p.ImageLabels))
	if p.ImageMaxAge > 0 {
		o.set("imageMaxAge", seconds(p.ImageMaxAge))
	}
	return o.term()
}

// image has what is known of the image of a field.
func (in *podInput) image(field string) *ast.Term {
	facts := in.Images[field]
	o := make(members, 0, 8)
	o.text("field", field)
	o.set("known", ast.InternedTerm(facts.Known))
	if !facts.Known {
		return o.term()
	}
	o.text("user", facts.User)
	if uid, ok := uid(facts.User); ok {
		o.set("uid", number(uid))
	}
	o.word("shells", string(facts.Shells))
	if !facts.SignedAt.IsZero() {
		o.set("age", seconds(in.Now.Sub(facts.SignedAt)))
	}
	var labels members
	for name, value := range facts.Labels {
		labels.text(name, value)
	}
	o.set("labels", labels.term())
	return o.term()
}

var digitsOnly = regexp.MustCompile(`^[0-9]{1,18}$`)

// uid is the number of a user of an image: nobody is root, and of a name nobody knows the number.
func uid(user string) (int64, bool) {
	name, _, _ := strings.Cut(user, ":")
	if user == "" {
		return 0, true
	}
	if !digitsOnly.MatchString(name) {
		return 0, false
	}
	n, err := strconv.ParseInt(name, 10, 64)
	return n, err == nil
}

// versions are those of Kubernetes, with whatever distributions add.
var versions = regexp.MustCompile(`^v?1\.([0-9]{1,4})(?:[^0-9].*)?$`)

// input checks the question: what nobody can answer must not look as if all were well.
func (q *PodQuestion) input() (*podInput, error) {
	match := versions.FindStringSubmatch(q.Version)
	if match == nil {
		return nil, fmt.Errorf("the version of the cluster is %.40q, expected one like 1.37", q.Version)
	}
	minor, err := strconv.Atoi(match[1])
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the version of the cluster: %w", err)
	case minor < oldestMinor:
		return nil, fmt.Errorf("the version of the cluster is %.40q, the oldest that is supported is 1.%d", q.Version, oldestMinor)
	case q.Spec == nil:
		return nil, errors.New("there is no spec")
	case q.Profile != profileRestricted && q.Profile != profileBaseline:
		return nil, fmt.Errorf("there is no profile %.40q: use %s or %s", q.Profile, profileRestricted, profileBaseline)
	case !slices.Contains([]string{"", "Allow", "Explicit", "Forbid"}, q.Parameters.ServiceAccountToken):
		return nil, fmt.Errorf("serviceAccountToken is %.40q: use Allow, Explicit or Forbid", q.Parameters.ServiceAccountToken)
	}
	in := &podInput{PodQuestion: *q, minor: minor}
	if in.Path == "" {
		in.Path = "spec"
	}
	return in, nil
}

const (
	profileRestricted = "Restricted"
	profileBaseline   = "Baseline"
)

// ruleSize is the one rule that is not in Rego, since Rego would have to read all of it.
const ruleSize = "size"

func (in *podInput) tooLarge() (PodFinding, bool) {
	spec := in.Spec
	f := PodFinding{Rule: ruleSize, Field: in.Path, Fix: "make several pods of it"}
	containers := len(spec.InitContainers) + len(spec.Containers) + len(spec.EphemeralContainers)
	switch {
	case containers > maxContainers:
		f.Message = fmt.Sprintf("there are %d containers, at most %d are judged", containers, maxContainers)
	case len(spec.Volumes) > maxVolumes:
		f.Message = fmt.Sprintf("there are %d volumes, at most %d are judged", len(spec.Volumes), maxVolumes)
	}
	return f, f.Message != ""
}

// all has the whole pod, for the rules of others.
func (in *podInput) all() (err error) {
	in.whole = true
	if in.spec, err = value(in.Spec); err != nil {
		return err
	}
	meta := in.Meta
	if meta == nil {
		meta = &metav1.ObjectMeta{}
	}
	in.metadata, err = value(map[string]any{"name": meta.Name, "generateName": meta.GenerateName, "labels": meta.Labels, "annotations": meta.Annotations})
	return err
}

func value(v any) (*ast.Term, error) {
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a pod for rules: %w", err)
	}
	decoded, err := ast.ValueFromReader(bytes.NewReader(encoded))
	if err != nil {
		return nil, fmt.Errorf("reading a pod for rules: %w", err)
	}
	return ast.NewTerm(decoded), nil
}

// rest adds what only others' rules ask for.
func (in *podInput) rest(o *members) {
	o.text("path", in.Path)
	o.text("kind", in.Kind)
	o.text("namespace", in.Namespace)
	o.text("version", fmt.Sprintf("1.%d", in.minor))
	o.set("spec", in.spec)
	o.set("metadata", in.metadata)
}
