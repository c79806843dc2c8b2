package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiversion "k8s.io/apimachinery/pkg/version"
	discoveryfake "k8s.io/client-go/discovery/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/pullsecret"
	"github.com/ibshafique/base-images/internal/registry"
)

func podWith(account string, secrets ...string) *corev1.PodSpec {
	spec := &corev1.PodSpec{ServiceAccountName: account}
	for _, s := range secrets {
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	return spec
}

func isOutage(err error) bool {
	f, ok := errors.AsType[*pipeline.Transient](err)
	return ok && f.Reason == pipeline.ReasonClusterUnavailable
}

func TestWhatTheWatchesKnowIsAskedOfNobody(t *testing.T) {
	c, a := started(t, small())
	for range 3 {
		labels, err := c.Namespace(t.Context(), "team")
		if diff := cmp.Diff(map[string]string{"env": "prod"}, labels); diff != "" || err != nil {
			t.Error(diff, err)
		}
		for desc, spec := range map[string]*corev1.PodSpec{
			"a pod's secrets":      podWith("x", "regcred", "old"),
			"those of its account": podWith(""),
			"an account without":   podWith("bare"),
		} {
			if _, err := c.Access(t.Context(), "team", spec); err != nil {
				t.Errorf("%s: %v", desc, err)
			}
		}
		if got := fmt.Sprintf("%v %s %v", c.Platforms(), c.Version(), c.Check(nil)); got != "[linux/amd64 linux/arm64] 1.37 <nil>" {
			t.Errorf("got %s", got)
		}
	}
	if got := a.asked(); got != nil {
		t.Errorf("the apiserver was asked %q", got)
	}
}

func TestWhoseCredentialsAPodHas(t *testing.T) {
	c, _ := started(t, small())
	scope := func(spec *corev1.PodSpec) string {
		t.Helper()
		access, err := c.Access(t.Context(), "team", spec)
		if err != nil || access.Client == nil {
			t.Fatal(access, err)
		}
		return access.Scope
	}
	for desc, tt := range map[string]struct {
		one, two *corev1.PodSpec
		same     bool
	}{
		"a secret, whether the pod or its account names it": {podWith("x", "regcred"), podWith("default"), true},
		"the account that a pod has if it names none":       {podWith(""), podWith("default"), true},
		"the pod's secrets replace those of its account":    {podWith("default", "other"), podWith("default"), false},
		"an account without secrets has none":               {podWith("bare"), podWith("default"), false},
		"an account that there is not has none":             {podWith("bare"), podWith("nobody"), true},
		"a secret that there is not is passed over":         {podWith("x", "regcred", "nothing"), podWith("x", "regcred"), true},
		"a secret without a name is passed over":            {podWith("x", "", "regcred"), podWith("x", "regcred"), true},
		"the secrets of both types count":                   {podWith("x", "old"), podWith("bare"), false},
		"the order of secrets counts":                       {podWith("x", "old", "regcred"), podWith("x", "regcred", "old"), false},
	} {
		t.Run(desc, func(t *testing.T) {
			if one, two := scope(tt.one), scope(tt.two); (one == two) != tt.same {
				t.Errorf("scopes %q and %q", one, two)
			}
		})
	}
	if got := scope(podWith("bare")); got != "" {
		t.Errorf("the scope of no credentials is %q", got)
	}
}

func TestASecretIsReadWhenItIsNeededAndOnce(t *testing.T) {
	c, a := started(t, small())
	for path, s := range map[string]pullsecret.Secret{
		"/api/v1/namespaces/team/secrets/regcred": must(c.secret(t.Context(), "team", "regcred")),
		"/api/v1/namespaces/team/secrets/old":     must(c.secret(t.Context(), "team", "old")),
	} {
		content, err := c.load(t.Context(), s)
		if _, malformed := registry.ParsePullSecret(s.Type, content); err != nil || malformed != nil {
			t.Error(err, malformed)
		}
		if got := a.asked(); !slices.Equal(got, []string{path}) {
			t.Errorf("asked %q", got)
		}
	}
	// Of what a client asks there is only this: nothing of the pod's namespace is opened before a registry is.
	if _, err := c.Access(t.Context(), "team", podWith("x", "regcred", "other")); err != nil {
		t.Fatal(err)
	}
	if got := a.asked(); got != nil {
		t.Errorf("asked %q before a registry wants credentials", got)
	}
}

func TestASecretThatIsGoneOrOfAnotherTypeIsMissing(t *testing.T) {
	c, a := started(t, small())
	known := must(c.secret(t.Context(), "team", "regcred"))
	for desc, now := range map[string]any{"gone": nil, "another type": secretObject("regcred", "7", corev1.SecretTypeOpaque)} {
		t.Run(desc, func(t *testing.T) {
			a.set("/api/v1/namespaces/team/secrets/regcred", now)
			if content, err := c.load(t.Context(), known); !errors.Is(err, pullsecret.ErrMissing) {
				t.Errorf("got %q, %v", content, err)
			}
		})
	}
}

func TestWhatTheWatchesDoNotKnowYet(t *testing.T) {
	c, a := started(t, small())
	a.set("/api/v1/namespaces/new", namespaceObject("new", map[string]string{"env": "test"}))
	a.set("/api/v1/namespaces/team/serviceaccounts/new", accountObject("new", "fresh"))
	a.set("/api/v1/namespaces/team/secrets/fresh", secretObject("fresh", "1", corev1.SecretTypeDockerConfigJson))
	a.set("/api/v1/namespaces/team/secrets/opaque", secretObject("opaque", "1", corev1.SecretTypeOpaque))

	labels, err := c.Namespace(t.Context(), "new")
	if labels["env"] != "test" || err != nil {
		t.Errorf("a namespace that was made a moment ago: %v, %v", labels, err)
	}
	access, err := c.Access(t.Context(), "team", podWith("new"))
	if access.Scope == "" || err != nil {
		t.Errorf("an account and a secret that were made a moment ago: %v, %v", access, err)
	}
	if got, want := a.asked(), []string{"/api/v1/namespaces/new", "/api/v1/namespaces/team/serviceaccounts/new", "/api/v1/namespaces/team/secrets/fresh"}; !slices.Equal(got, want) {
		t.Errorf("asked %q", got)
	}
	for _, spec := range []*corev1.PodSpec{podWith("x", "nothing"), podWith("nobody"), podWith("x", "opaque")} {
		if access, err := c.Access(t.Context(), "team", spec); access.Scope != "" || access.Client == nil || err != nil {
			t.Errorf("got %v, %v", access, err)
		}
	}
}

func TestWhatIsAbsentIsAskedForOnceInAWhile(t *testing.T) {
	now := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	for desc, tt := range map[string]struct {
		spec *corev1.PodSpec
		path string
	}{
		"a secret":                 {podWith("x", "nothing"), "/api/v1/namespaces/team/secrets/nothing"},
		"a secret of another type": {podWith("x", "opaque"), "/api/v1/namespaces/team/secrets/opaque"},
		"an account":               {podWith("nobody"), "/api/v1/namespaces/team/serviceaccounts/nobody"},
	} {
		t.Run(desc, func(t *testing.T) {
			a, config := newAPIServer(t, small())
			a.set("/api/v1/namespaces/team/secrets/opaque", secretObject("opaque", "1", corev1.SecretTypeOpaque))
			c := clusterOf(t, config)
			c.clock = now
			for _, step := range []struct {
				later time.Duration
				asked int
			}{{0, 1}, {absentFor - 1, 0}, {1, 1}, {0, 0}} {
				now.Step(step.later)
				if _, err := c.Access(t.Context(), "team", tt.spec); err != nil {
					t.Fatal(err)
				}
				if got := a.asked(); len(got) != step.asked || step.asked == 1 && got[0] != tt.path {
					t.Errorf("after %v more: asked %q", step.later, got)
				}
			}
		})
	}
}

func TestNothingIsTakenForAnAnswerThatIsNone(t *testing.T) {
	a, config := newAPIServer(t, map[string]any{})
	for desc, tt := range map[string]struct {
		status int
		ask    func(c *Cluster, ctx context.Context) error
		fine   bool
	}{
		"a namespace that there is not is not one without labels": {0, func(c *Cluster, ctx context.Context) error { _, err := c.Namespace(ctx, "team"); return err }, false},
		"a namespace that can't be read":                          {http.StatusForbidden, func(c *Cluster, ctx context.Context) error { _, err := c.Namespace(ctx, "team"); return err }, false},
		"an account that can't be read":                           {http.StatusInternalServerError, func(c *Cluster, ctx context.Context) error { _, err := c.Access(ctx, "team", podWith("")); return err }, false},
		"a secret that can't be read": {http.StatusForbidden, func(c *Cluster, ctx context.Context) error {
			_, err := c.Access(ctx, "team", podWith("x", "s"))
			return err
		}, false},
		"a secret whose content can't be read": {http.StatusInternalServerError, func(c *Cluster, ctx context.Context) error {
			_, err := c.load(ctx, pullsecret.Secret{Namespace: "team", Name: "s", UID: "1", Type: registry.TypeDockerConfigJSON})
			return err
		}, false},
		"an account that there is not": {0, func(c *Cluster, ctx context.Context) error { _, err := c.Access(ctx, "team", podWith("")); return err }, true},
		"a secret that there is not": {0, func(c *Cluster, ctx context.Context) error {
			_, err := c.Access(ctx, "team", podWith("x", "s"))
			return err
		}, true},
	} {
		t.Run(desc, func(t *testing.T) {
			a.fail(tt.status)
			err := tt.ask(clusterOf(t, config), t.Context())
			if (err == nil) != tt.fine {
				t.Fatalf("got %v", err)
			}
			if err != nil && !isOutage(err) && !strings.Contains(desc, "content") {
				t.Errorf("got %v, which is no outage", err)
			}
		})
	}
}

func TestAnApiserverThatDoesNotAnswerEndsWithTheQuestion(t *testing.T) {
	_, config := newAPIServer(t, small())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := clusterOf(t, config)
	for desc, err := range map[string]error{
		"a namespace": second(c.Namespace(ctx, "other")), "an account": second(c.Access(ctx, "team", podWith("x"))), "a secret": second(c.Access(ctx, "team", podWith("x", "y"))),
	} {
		if !errors.Is(err, context.Canceled) || isOutage(err) {
			t.Errorf("%s: got %v", desc, err)
		}
	}
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, err := c.Namespace(late, "other"); !isOutage(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestAPodThatNamesManySecretsIsRefusedUnasked(t *testing.T) {
	c, a := started(t, small())
	_, err := c.Access(t.Context(), "team", podWith("x", strings.Fields(strings.Repeat("a ", pullsecret.MaxSecrets+1))...))
	if !pipeline.IsTerminal(err) || a.asked() != nil {
		t.Errorf("got %v", err)
	}
}

func TestManyPodsOfANewNamespaceAreOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		client := metadatafake.NewSimpleMetadataClient(metadatafake.NewTestScheme())
		client.PrependReactor("get", "namespaces", func(clienttesting.Action) (bool, runtime.Object, error) {
			<-hold
			return true, namespaceObject("new", map[string]string{"env": "test"}), nil
		})
		c := must(newCluster(kubefake.NewClientset(), client, ClusterOptions{Secrets: aStore()}))
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if labels, err := c.Namespace(t.Context(), "new"); labels["env"] != "test" || err != nil {
					t.Errorf("got %v, %v", labels, err)
				}
			})
		}
		synctest.Wait()
		close(hold)
		all.Wait()
		if got := len(client.Actions()); got != 1 {
			t.Errorf("asked %d times", got)
		}
	})
}

func TestChangesArrive(t *testing.T) {
	a, config := newAPIServer(t, small())
	c := clusterOf(t, config)
	changed := make(chan struct{}, 100)
	c.namespaces.changed = func(_, _ map[string]string) { changed <- struct{}{} }
	c.secrets[registry.TypeDockerConfigJSON].changed = func(_, _ version) { changed <- struct{}{} }
	c.secrets[registry.TypeDockercfg].changed = func(_, _ version) { changed <- struct{}{} }
	c.accounts.changed = func(_, _ account) { changed <- struct{}{} }
	c.nodes.changed = func(old, now pipeline.Platform) { c.nodeChanged(old, now); changed <- struct{}{} }
	start(t, c, a)
	for range 5 {
		<-changed // the lists
	}
	happens := func(resource, what string, object any) {
		a.events["/api/v1/"+resource] <- map[string]any{"type": what, "object": object}
		<-changed
	}
	scope := func(spec *corev1.PodSpec) string { return must(c.Access(t.Context(), "team", spec)).Scope }

	happens("namespaces", "MODIFIED", namespaceObject("team", map[string]string{"env": "dev"}))
	if labels := must(c.Namespace(t.Context(), "team")); labels["env"] != "dev" {
		t.Errorf("the namespace has %v", labels)
	}
	happens("namespaces", "DELETED", namespaceObject("team", nil))
	if _, err := c.Namespace(t.Context(), "team"); !isOutage(err) {
		t.Errorf("a namespace that is gone: %v", err)
	}
	before := scope(podWith("default"))
	happens("serviceaccounts", "MODIFIED", accountObject("default", "other"))
	if got := scope(podWith("default")); got == before || got != scope(podWith("x", "other")) {
		t.Errorf("the account has %q", got)
	}
	happens("nodes", "DELETED", nodeObject("a", "linux", "arm64"))
	if got := fmt.Sprint(c.Platforms()); got != "[linux/amd64]" {
		t.Errorf("without the last node of a platform there is %s", got)
	}
	happens("nodes", "ADDED", nodeObject("w", "windows", "amd64"))
	if got := fmt.Sprint(c.Platforms()); got != "[linux/amd64 windows/amd64]" {
		t.Errorf("with a new platform there is %s", got)
	}
	before = scope(podWith("x", "regcred"))
	happens("secrets?type="+registry.TypeDockerConfigJSON, "MODIFIED", object(secretMeta("regcred", "70")))
	if got := scope(podWith("x", "regcred")); got == before || got == "" {
		t.Errorf("another version of a secret has the scope %q", got)
	}
	before = scope(podWith("x", "fresh"))
	happens("secrets?type="+registry.TypeDockercfg, "ADDED", object(secretMeta("fresh", "1")))
	if got := scope(podWith("x", "fresh")); got == before || got == "" {
		t.Errorf("a secret that was absent has the scope %q now that it is there", got)
	}
}

func TestAnotherVersionOfASecretIsAnotherAccess(t *testing.T) {
	c, _ := started(t, small())
	before := must(c.Access(t.Context(), "team", podWith("x", "regcred")))
	again := must(c.Access(t.Context(), "team", podWith("x", "regcred")))
	if err := c.secrets[registry.TypeDockerConfigJSON].Update(object(secretMeta("regcred", "70"))); err != nil {
		t.Fatal(err)
	}
	after := must(c.Access(t.Context(), "team", podWith("x", "regcred")))
	if before != again || before.Scope == after.Scope || before.Client == after.Client {
		t.Errorf("before %v, again %v, after %v", before, again, after)
	}
}

func TestPlatforms(t *testing.T) {
	for desc, tt := range map[string]struct {
		nodes []any
		want  string
	}{
		"no node at all: nothing is known":              {nil, "[]"},
		"each platform once, sorted":                    {[]any{nodeObject("a", "windows", "amd64"), nodeObject("b", "linux", "arm64"), nodeObject("c", "linux", "amd64"), nodeObject("d", "linux", "arm64")}, "[linux/amd64 linux/arm64 windows/amd64]"},
		"a node without architecture: nothing is known": {[]any{nodeObject("a", "linux", "amd64"), nodeObject("b", "linux", "")}, "[]"},
		"a node without labels: nothing is known":       {[]any{nodeObject("a", "linux", "amd64"), nodeObject("b", "", "")}, "[]"},
	} {
		t.Run(desc, func(t *testing.T) {
			_, config := newAPIServer(t, nil)
			c := clusterOf(t, config)
			if got := c.Platforms(); len(got) != 0 {
				t.Errorf("before anything is known: %v", got)
			}
			if err := c.nodes.Replace(tt.nodes, "1"); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(c.Platforms()); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestANodeThatIsWhatItWasChangesNothing(t *testing.T) {
	_, config := newAPIServer(t, nil)
	c := clusterOf(t, config)
	for _, tt := range []struct {
		node  any
		fresh bool
	}{{nodeObject("a", "linux", "amd64"), true}, {nodeObject("a", "linux", "amd64"), false}, {nodeObject("a", "linux", "arm64"), true}, {nodeObject("b", "", ""), true}, {nodeObject("b", "", ""), false}} {
		before := c.platforms.Load()
		if err := c.nodes.Add(tt.node); err != nil {
			t.Fatal(err)
		}
		if fresh := c.platforms.Load() != before; fresh != tt.fresh {
			t.Errorf("%v: counted anew: %v", tt.node, fresh)
		}
	}
}

func TestVersion(t *testing.T) {
	a, config := newAPIServer(t, map[string]any{})
	c := clusterOf(t, config)
	for _, step := range []struct {
		says any
		want string
		err  bool
	}{
		{nil, "", true},
		{map[string]any{"major": "1", "minor": "37"}, "1.37", false},
		{map[string]any{"major": "", "minor": ""}, "1.37", true},
		{map[string]any{"major": "1", "minor": "38+"}, "1.38", false},
		{map[string]any{"major": "one", "minor": "39"}, "1.38", true},
		{nil, "1.38", true},
	} {
		a.fail(0)
		a.set("/version", step.says)
		if step.says == nil {
			a.fail(http.StatusInternalServerError)
		}
		if err := c.readVersion(t.Context()); (err != nil) != step.err || c.Version() != step.want {
			t.Errorf("%v: got %q, %v", step.says, c.Version(), err)
		}
	}
}

func TestTheVersionIsLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kube := kubefake.NewClientset()
		server := kube.Discovery().(*discoveryfake.FakeDiscovery)
		c := must(newCluster(kube, nil, ClusterOptions{Secrets: aStore()}))
		var mu sync.Mutex
		var down error
		kube.PrependReactor("get", "version", func(clienttesting.Action) (bool, runtime.Object, error) {
			mu.Lock()
			defer mu.Unlock()
			return true, nil, down
		})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		server.FakedServerVersion = &apiversion.Info{Major: "1", Minor: "37"}
		go c.keepVersion(ctx)
		synctest.Wait()
		for _, step := range []struct {
			later time.Duration
			says  string
			down  error
			want  string
		}{
			{0, "38", nil, "1.37"},
			{versionEvery - 1, "38", nil, "1.37"},
			{1, "38", nil, "1.38"},
			{versionEvery, "39", errors.New("down"), "1.38"},
			{versionRetry - 1, "39", nil, "1.38"},
			{1, "39", nil, "1.39"},
		} {
			mu.Lock()
			server.FakedServerVersion, down = &apiversion.Info{Major: "1", Minor: step.says}, step.down
			mu.Unlock()
			<-time.After(step.later)
			synctest.Wait()
			if c.Version() != step.want {
				t.Errorf("after %v more: got %q, want %q", step.later, c.Version(), step.want)
			}
		}
	})
}

func TestNotReadyBeforeEverythingIsKnown(t *testing.T) {
	_, config := newAPIServer(t, small())
	c := clusterOf(t, config)
	steps := []struct {
		does func() error
		says string
	}{
		{func() error { return nil }, "namespaces"},
		{func() error { return c.namespaces.Replace(nil, "") }, "nodes"},
		{func() error { return c.nodes.Replace(nil, "") }, "serviceaccounts"},
		{func() error { return c.accounts.Replace(nil, "") }, "secrets of type kubernetes.io/dockerconfigjson"},
		{func() error { return c.secrets[registry.TypeDockerConfigJSON].Replace(nil, "") }, "secrets of type kubernetes.io/dockercfg"},
		{func() error { return c.secrets[registry.TypeDockercfg].Replace(nil, "") }, "version"},
	}
	for _, step := range steps {
		if err := step.does(); err != nil {
			t.Fatal(err)
		}
		if err := c.Check(nil); err == nil || !strings.Contains(err.Error(), step.says) {
			t.Errorf("got %v, want %s", err, step.says)
		}
	}
	if err := c.readVersion(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(nil); err != nil {
		t.Error(err)
	}
}

func TestTablesKeepNothingElse(t *testing.T) {
	o := object(secretMeta("regcred", "7"))
	o.ManagedFields, o.OwnerReferences = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}, []metav1.OwnerReference{{Name: "x"}}
	kept, err := newTable(versionOf).Transformer()(o)
	want := object(metav1.ObjectMeta{Namespace: "team", Name: "regcred", UID: o.UID, ResourceVersion: "7"})
	if diff := cmp.Diff(any(want), kept); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for desc, err := range map[string]error{
		"Add": newTable(versionOf).Add("x"), "Delete": newTable(versionOf).Delete("x"), "Replace": newTable(versionOf).Replace([]any{"x"}, ""),
	} {
		if err == nil {
			t.Errorf("%s takes what is no object", desc)
		}
	}
}

func TestClusterNeedsAStore(t *testing.T) {
	if _, err := newCluster(nil, nil, ClusterOptions{}); err == nil {
		t.Error("there is no error")
	}
}

func BenchmarkCluster(b *testing.B) {
	c, a := started(b, small())
	three := podWith("x", "regcred", "other", "old")
	for name, f := range map[string]func() error{
		"Namespace":            func() error { return second(c.Namespace(b.Context(), "team")) },
		"Access of an account": func() error { return second(c.Access(b.Context(), "team", podWithDefault)) },
		"Access, 3 secrets":    func() error { return second(c.Access(b.Context(), "team", three)) },
		"Access, none":         func() error { return second(c.Access(b.Context(), "team", podWithBare)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	if got := a.asked(); got != nil {
		b.Errorf("the apiserver was asked %q", got)
	}
}

var podWithDefault, podWithBare = podWith("default"), podWith("bare")
