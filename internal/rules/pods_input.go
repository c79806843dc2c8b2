package rules

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	corev1 "k8s.io/api/core/v1"
)

// podInput makes what the rules see of a pod: only what they ask for, under the names of the API, and nothing where the pod
// says nothing. It is made as values of Rego at once, since every pod of a cluster passes here.
type podInput struct {
	PodQuestion
	minor int
	// whole: others' rules see it too.
	whole          bool
	spec, metadata *ast.Term

	contexts, images []*ast.Term
}

func (in *podInput) value() ast.Value {
	spec := in.Spec
	pod := in.pod()
	in.contexts, in.images = append(make([]*ast.Term, 0, 8), pod), nil
	for i := range spec.InitContainers {
		in.container("initContainers", i, "init", &spec.InitContainers[i])
	}
	for i := range spec.Containers {
		in.container("containers", i, "regular", &spec.Containers[i])
	}
	for i := range spec.EphemeralContainers {
		in.container("ephemeralContainers", i, "ephemeral", (*corev1.Container)(&spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	o := make(members, 0, 24)
	o.text("profile", in.Profile)
	o.set("minor", ast.IntNumberTerm(in.minor))
	o.set("windows", ast.InternedTerm(spec.OS != nil && spec.OS.Name == corev1.Windows))
	o.set("template", ast.InternedTerm(in.Kind != "Pod"))
	o.set("pod", pod)
	o.list("contexts", in.contexts)
	o.list("containers", in.contexts[1:])
	o.boolean("automount", spec.AutomountServiceAccountToken)
	o.boolean("accountAutomount", in.Automount)
	in.volumes(&o)
	o.list("images", in.images)
	o.list("sysctls", in.sysctls())
	o.list("appArmorAnnotations", in.annotations())
	o.set("parameters", in.Parameters.term())
	if in.whole {
		in.rest(&o)
	}
	return o.term().Value
}

func (in *podInput) pod() *ast.Term {
	o := make(members, 0, 12)
	o.text("field", in.Path)
	o.flag("hostNetwork", in.Spec.HostNetwork)
	o.flag("hostPID", in.Spec.HostPID)
	o.flag("hostIPC", in.Spec.HostIPC)
	o.boolean("hostUsers", in.Spec.HostUsers)
	if c := in.Spec.SecurityContext; c != nil {
		o.context(c.RunAsNonRoot, c.RunAsUser, c.SeccompProfile, c.AppArmorProfile, c.SELinuxOptions, c.WindowsOptions)
	}
	return o.term()
}

// container adds one, if it is judged.
func (in *podInput) container(list string, i int, kind string, c *corev1.Container) {
	field := in.Path + "." + list + "[" + strconv.Itoa(i) + "]"
	image := field + ".image"
	if in.Fields != nil && !in.Fields[image] {
		return
	}
	o := make(members, 0, 16)
	o.text("field", field)
	o.text("kind", kind)
	if s := c.SecurityContext; s != nil {
		o.context(s.RunAsNonRoot, s.RunAsUser, s.SeccompProfile, s.AppArmorProfile, s.SELinuxOptions, s.WindowsOptions)
		o.container(s)
	}
	o.list("hostPorts", hostPorts(field, c.Ports))
	o.list("hosts", hosts(field, c))
	if len(in.Parameters.RequiredLimits) > 0 || in.whole {
		o.set("limits", ast.SetTerm(limits(c.Resources.Limits)...))
	}
	if in.asksForImages() {
		facts := in.image(image)
		o.set("image", facts)
		in.images = append(in.images, facts)
	}
	in.contexts = append(in.contexts, o.term())
}

func (in *podInput) asksForImages() bool {
	p := in.Parameters
	return in.whole || len(p.Users) > 0 || p.NoImageShells || len(p.ImageLabels) > 0 || p.ImageMaxAge > 0
}

// context adds what containers and pods have in common.
func (o *members) context(nonRoot *bool, user *int64, seccomp *corev1.SeccompProfile, appArmor *corev1.AppArmorProfile, seLinux *corev1.SELinuxOptions, windows *corev1.WindowsSecurityContextOptions) {
	o.boolean("runAsNonRoot", nonRoot)
	if user != nil {
		o.set("runAsUser", number(*user))
	}
	if seccomp != nil {
		o.text("seccompProfile", string(seccomp.Type))
	}
	if appArmor != nil {
		o.text("appArmorProfile", string(appArmor.Type))
	}
	if seLinux != nil {
		options := make(members, 0, 3)
		options.word("type", seLinux.Type)
		options.word("user", seLinux.User)
		options.word("role", seLinux.Role)
		o.set("seLinuxOptions", options.term())
	}
	if windows != nil {
		o.boolean("hostProcess", windows.HostProcess)
	}
}

// container adds what only containers have.
func (o *members) container(s *corev1.SecurityContext) {
	o.boolean("privileged", s.Privileged)
	o.boolean("allowPrivilegeEscalation", s.AllowPrivilegeEscalation)
	o.boolean("readOnlyRootFilesystem", s.ReadOnlyRootFilesystem)
	if s.ProcMount != nil {
		o.text("procMount", string(*s.ProcMount))
	}
	if s.Capabilities != nil {
		o.list("added", texts(s.Capabilities.Add))
		o.set("dropped", ast.SetTerm(texts(s.Capabilities.Drop)...))
	}
}

func hostPorts(field string, ports []corev1.ContainerPort) (all []*ast.Term) {
	for i, p := range ports {
		if p.HostPort != 0 {
			all = append(all, entry(fmt.Sprintf("%s.ports[%d].hostPort", field, i), "port", number(int64(p.HostPort))))
		}
	}
	return all
}

// hosts are those that the kubelet is sent to by probes and handlers.
func hosts(field string, c *corev1.Container) (all []*ast.Term) {
	add := func(name string, get *corev1.HTTPGetAction, socket *corev1.TCPSocketAction) {
		if get != nil && get.Host != "" {
			all = append(all, entry(field+"."+name+".httpGet.host", "host", ast.StringTerm(get.Host)))
		}
		if socket != nil && socket.Host != "" {
			all = append(all, entry(field+"."+name+".tcpSocket.host", "host", ast.StringTerm(socket.Host)))
		}
	}
	probe := func(name string, p *corev1.Probe) {
		if p != nil {
			add(name, p.HTTPGet, p.TCPSocket)
		}
	}
	handler := func(name string, h *corev1.LifecycleHandler) {
		if h != nil {
			add(name, h.HTTPGet, h.TCPSocket)
		}
	}
	probe("livenessProbe", c.LivenessProbe)
	probe("readinessProbe", c.ReadinessProbe)
	probe("startupProbe", c.StartupProbe)
	if c.Lifecycle != nil {
		handler("lifecycle.postStart", c.Lifecycle.PostStart)
		handler("lifecycle.preStop", c.Lifecycle.PreStop)
	}
	return all
}

// limits are the names of those above 0: a limit of 0 is none.
func limits(list corev1.ResourceList) []*ast.Term {
	var all []*ast.Term
	for name, q := range list {
		if q.Sign() > 0 {
			all = append(all, word(string(name)))
		}
	}
	return all
}

func (in *podInput) sysctls() []*ast.Term {
	if in.Spec.SecurityContext == nil {
		return nil
	}
	var all []*ast.Term
	for _, s := range in.Spec.SecurityContext.Sysctls {
		all = append(all, ast.StringTerm(s.Name))
	}
	return all
}

func (in *podInput) annotations() (all []*ast.Term) {
	if in.Meta == nil {
		return nil
	}
	for name, value := range in.Meta.Annotations {
		if strings.HasPrefix(name, corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix) {
			field := strings.TrimSuffix(in.Path, "spec") + "metadata.annotations[" + name + "]"
			all = append(all, entry(field, "value", ast.StringTerm(value)))
		}
	}
	slices.SortFunc(all, ast.TermValueCompare)
	return all
}

// addedByTheCluster is what the names of volumes of tokens begin with that the cluster adds to pods.
const addedByTheCluster = "kube-api-access-"

// volumes adds the volumes, the tokens in them, and the images that they are.
func (in *podInput) volumes(o *members) {
	var volumes, tokens []*ast.Term
	for i := range in.Spec.Volumes {
		v := &in.Spec.Volumes[i]
		field := in.Path + ".volumes[" + strconv.Itoa(i) + "]"
		m := make(members, 0, 3)
		m.text("field", field)
		m.text("name", v.Name)
		m.set("types", ast.ArrayTerm(sources(&v.VolumeSource)...))
		volumes = append(volumes, m.term())
		tokens = append(tokens, tokensOf(field, v)...)
		if image := field + ".image.reference"; v.Image != nil && in.asksForImages() && (in.Fields == nil || in.Fields[image]) {
			in.images = append(in.images, in.image(image))
		}
	}
	o.list("volumes", volumes)
	o.list("tokens", tokens)
}

// sourceNames are the names of the types of volumes, by the field of the structure.
var sourceNames = func() (names []*ast.Term) {
	t := reflect.TypeFor[corev1.VolumeSource]()
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, ast.StringTerm(name))
	}
	return names
}()

// sources are the types of a volume: one, unless it is invalid, or of a type that came after us.
func sources(s *corev1.VolumeSource) (all []*ast.Term) {
	v := reflect.ValueOf(s).Elem()
	for i, name := range sourceNames {
		if !v.Field(i).IsNil() {
			all = append(all, name)
		}
	}
	return all
}

func tokensOf(field string, v *corev1.Volume) (all []*ast.Term) {
	if v.Projected == nil {
		return nil
	}
	for i, s := range v.Projected.Sources {
		if s.ServiceAccountToken != nil {
			m := make(members, 0, 3)
			m.text("field", fmt.Sprintf("%s.projected.sources[%d].serviceAccountToken", field, i))
			m.text("volume", v.Name)
			m.set("added", ast.InternedTerm(strings.HasPrefix(v.Name, addedByTheCluster)))
			all = append(all, m.term())
		}
	}
	return all
}
