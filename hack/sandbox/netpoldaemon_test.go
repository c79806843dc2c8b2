//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

const buildClaim = `{"cniVersion":"0.4.0","name":"basewright","type":"basewright-netpol","prevResult":{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.231.16.5/20"}]}}`

// startEnforcer enforces the policies of a fake cluster, and sends what it would load.
func startEnforcer(t *testing.T, client *fake.Clientset) (socket string, loaded <-chan string) {
	t.Helper()
	view, changed, err := watchCluster(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	rules := make(chan string, 100)
	e := newEnforcer(view, changed, func(_ context.Context, text string) error {
		rules <- text
		return nil
	})
	// t.TempDir is longer than the path of a socket may be.
	dir, err := os.MkdirTemp("", "netpol")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "socket")
	if err := e.listen(t.Context(), socket); err != nil {
		t.Fatal(err)
	}
	go func() { _ = e.run(t.Context()) }()
	return socket, rules
}

// lastLoaded is what was loaded by now.
func lastLoaded(loaded <-chan string) string {
	var last string
	for {
		select {
		case last = <-loaded:
		default:
			return last
		}
	}
}

func TestPodStartsWithItsRules(t *testing.T) {
	build := podAt("builds", "build", "", map[string]string{"app": "build"})
	client := fake.NewClientset(build, buildPolicy(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "builds"}})
	socket, loaded := startEnforcer(t, client)
	var out bytes.Buffer
	if err := netpolCNI(t.Context(), "ADD", "K8S_POD_NAME=build;K8S_POD_UID=build", strings.NewReader(buildClaim), &out, socket); err != nil {
		t.Fatal(err)
	}
	if rules := lastLoaded(loaded); !strings.Contains(rules, "jump egress-10.231.16.5") {
		t.Errorf("the pod starts with the rules\n%s", rules)
	}
	if want := `{"cniVersion":"0.4.0","ips":[{"version":"4","address":"10.231.16.5/20"}]}`; out.String() != want {
		t.Errorf("got the result %s", out.String())
	}
}

func TestPodDoesNotStartWhenTheEnforcerGivesUp(t *testing.T) {
	view, loaded := clusterView{}, []string{}
	e := enforcerOf(&view, &loaded)
	ours, theirs := net.Pipe()
	answered := make(chan struct{})
	go func() {
		e.answer(t.Context(), theirs)
		close(answered)
	}()
	if _, err := io.WriteString(ours, "what?"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(ours); err != nil || len(answer) > 0 {
		t.Errorf("it says %q, %v", answer, err)
	}
	<-answered
}

// enforcerOf is one that sees what view points to.
func enforcerOf(view *clusterView, loaded *[]string) *enforcer {
	return newEnforcer(func() (clusterView, error) { return *view, nil }, nil, func(_ context.Context, text string) error {
		*loaded = append(*loaded, text)
		return nil
	})
}

func announcementOf(ctx context.Context, name, address string) announcement {
	return announcement{claim: claim{UID: podAt("", name, "", nil).UID, Address: netip.MustParseAddr(address)}, ctx: ctx, loaded: make(chan struct{})}
}

func isLoaded(a announcement) bool {
	select {
	case <-a.loaded:
		return true
	default:
		return false
	}
}

func TestEnforcerLoadsWhatChanged(t *testing.T) {
	view, loaded := testCluster(), []string{}
	e := enforcerOf(&view, &loaded)
	for range 2 {
		if err := e.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(loaded) != 1 {
		t.Errorf("the same rules were loaded %d times", len(loaded))
	}
	view.policies = []*networkingv1.NetworkPolicy{buildPolicy()}
	if err := e.refresh(t.Context()); err != nil || len(loaded) != 2 {
		t.Errorf("other rules were not loaded: %v", err)
	}
}

func TestPodWaitsUntilItIsKnown(t *testing.T) {
	view, loaded := clusterView{}, []string{}
	e := enforcerOf(&view, &loaded)
	a := announcementOf(t.Context(), "build", "10.231.16.5")
	e.note(a)
	if err := e.refresh(t.Context()); err != nil || isLoaded(a) {
		t.Fatalf("a pod starts that nobody knows: %v", err)
	}
	view = testCluster(buildPolicy())
	if err := e.refresh(t.Context()); err != nil || !isLoaded(a) {
		t.Errorf("a pod doesn't start whose rules are loaded: %v", err)
	}
}

func TestClaimsAreForgotten(t *testing.T) {
	view, loaded := testCluster(), []string{}
	e := enforcerOf(&view, &loaded)
	gone, cancel := context.WithCancel(t.Context())
	e.note(announcementOf(t.Context(), "build", "10.231.16.20"))
	e.note(announcementOf(t.Context(), "client", "10.231.16.20"))
	e.note(announcementOf(gone, "nobody", "10.231.16.21"))
	cancel()
	if err := e.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(e.claims) != 1 || e.claims["client"] != netip.MustParseAddr("10.231.16.20") {
		t.Errorf("got the claims %v", e.claims)
	}
	view.pods = nil
	if err := e.refresh(t.Context()); err != nil || len(e.claims) != 0 {
		t.Errorf("claims of pods that are gone: %v, %v", e.claims, err)
	}
}

func TestRulesThatCannotBeLoadedCloseEverything(t *testing.T) {
	broken, closed := errors.New("broken"), false
	view := testCluster()
	e := newEnforcer(func() (clusterView, error) { return view, nil }, nil, func(_ context.Context, text string) error {
		closed = text == netpolRules(nil)
		if closed {
			return nil
		}
		return broken
	})
	a := announcementOf(t.Context(), "build", "10.231.16.5")
	e.note(a)
	if err := e.refresh(t.Context()); !errors.Is(err, broken) || !closed || isLoaded(a) {
		t.Errorf("got %v, closed %t, started %t", err, closed, isLoaded(a))
	}
}

func TestPluginWaitsForTheEnforcer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "none")
		err := netpolCNI(t.Context(), "ADD", "K8S_POD_UID=build", strings.NewReader(buildClaim), &bytes.Buffer{}, socket)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPluginCommands(t *testing.T) {
	for name, test := range map[string]struct {
		command, args, in, out string
		fails                  bool
	}{
		"DEL":               {command: "DEL"},
		"CHECK":             {command: "CHECK"},
		"VERSION":           {command: "VERSION", out: `{"cniVersion":"0.4.0","supportedVersions":["0.4.0"]}`},
		"no command":        {fails: true},
		"no pod":            {command: "ADD", args: "K8S_POD_NAME=a;K8S_POD_UID=", in: buildClaim, fails: true},
		"no configuration":  {command: "ADD", args: "K8S_POD_UID=a", fails: true},
		"no result before":  {command: "ADD", args: "K8S_POD_UID=a", in: `{}`, fails: true},
		"no address before": {command: "ADD", args: "K8S_POD_UID=a", in: `{"prevResult":{"ips":[]}}`, fails: true},
		"a bad address":     {command: "ADD", args: "K8S_POD_UID=a", in: `{"prevResult":{"ips":[{"address":"10.231.16.5"}]}}`, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			// Without a socket it fails only after a minute, so what is wrong has to be found out before.
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			var out bytes.Buffer
			err := netpolCNI(ctx, test.command, test.args, strings.NewReader(test.in), &out, "/nonexistent")
			if (err != nil) != test.fails || errors.Is(err, context.Canceled) || out.String() != test.out {
				t.Errorf("got %q, %v", out.String(), err)
			}
		})
	}
}

func TestPluginIsCalledByItsName(t *testing.T) {
	if got := arguments([]string{"/state/cni/" + netpolPlugin}); len(got) != 1 || got[0] != netpolPlugin {
		t.Errorf("got %q", got)
	}
	if got := arguments([]string{"/state/bin/sandbox", "up"}); len(got) != 1 || got[0] != "up" {
		t.Errorf("got %q", got)
	}
}

func TestLinkPlugins(t *testing.T) {
	dir, plugins := filepath.Join(t.TempDir(), "cni"), t.TempDir()
	if err := linkPlugins(dir, plugins, "/sandbox"); err == nil {
		t.Error("there are no plugins, and nobody says so")
	}
	if err := os.WriteFile(filepath.Join(plugins, "ptp"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := linkPlugins(dir, plugins, "/sandbox"); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"ptp": filepath.Join(plugins, "ptp"), netpolPlugin: "/sandbox"} {
		if got, err := os.Readlink(filepath.Join(dir, name)); got != want {
			t.Errorf("%s is %q, want %q, %v", name, got, want, err)
		}
	}
}
