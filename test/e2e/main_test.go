//go:build e2e

// Package e2e tests the operator from outside, in the sandbox: a real apiserver, kubelet, registry and Kaniko.
// Run it with make test-e2e, which brings up the sandbox and installs the operator first.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

const (
	registryHost = "registry.basewright.test"
	pushSecret   = "registry-push"
	alpine       = "docker.io/library/alpine:3.23"

	// buildTimeout is far above what a build takes here, for machines that are busy.
	buildTimeout = 10 * time.Minute
	pollInterval = 500 * time.Millisecond
)

var (
	checkout  string
	kubectl   string
	k8s       client.Client
	clientset *kubernetes.Clientset
)

func TestMain(m *testing.M) {
	if err := connect(); err != nil {
		fmt.Fprintln(os.Stderr, "end-to-end tests:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func connect() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	checkout = filepath.Dir(filepath.Dir(dir))
	kubeconfig := filepath.Join(checkout, ".sandbox", "kubeconfig")
	if _, err := os.Stat(kubeconfig); err != nil {
		return fmt.Errorf("the sandbox is not up, run make test-e2e: %w", err)
	}
	bin, err := sandbox("path")
	if err != nil {
		return err
	}
	kubectl = filepath.Join(bin, "kubectl")
	if err := os.Setenv("KUBECONFIG", kubeconfig); err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS = -1 // Many tests look at the same time.
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	if clientset, err = kubernetes.NewForConfig(cfg); err != nil {
		return err
	}
	k8s, err = client.New(cfg, client.Options{Scheme: scheme})
	return err
}

func sandbox(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(checkout, "bin", "sandbox"), args...)
	cmd.Dir = checkout
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("sandbox %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// run executes a command in the checkout and fails the test with what it prints.
func run(t testing.TB, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = checkout, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// eventually polls until check says that it is done, and otherwise fails with what was awaited and how it
// looked last.
func eventually(t testing.TB, timeout time.Duration, awaited string, check func(context.Context) (done bool, looks string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	looks := "nothing"
	for {
		done, now := check(ctx)
		if done {
			return
		}
		if ctx.Err() == nil { // After that it only says that there is no time.
			looks = now
		}
		select {
		case <-ctx.Done():
			t.Fatalf("waited %s for %s; last seen: %s", timeout, awaited, looks)
		case <-tick.C:
		}
	}
}

// newNamespace makes a namespace with the push secret, and removes it after the test.
func newNamespace(t testing.TB) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}
	create(t, ns)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := exec.Command(kubectl, "--namespace="+ns.Name, "get", "baseimages,baseimagebuilds,jobs,pods,events", "-o", "wide").CombinedOutput()
			t.Logf("namespace %s:\n%s", ns.Name, out)
			out, _ = exec.Command(kubectl, "--namespace=basewright-system", "logs", "deployment/basewright-operator", "--tail=40").CombinedOutput()
			t.Logf("the operator:\n%s", out)
		}
		if err := k8s.Delete(context.Background(), ns); err != nil {
			t.Errorf("deleting namespace %s: %v", ns.Name, err)
		}
	})
	config, err := os.ReadFile(filepath.Join(checkout, ".sandbox", "docker", "config.json"))
	if err != nil {
		t.Fatalf("reading the registry's credentials: %v", err)
	}
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: pushSecret},
		Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: config}})
	return ns.Name
}

func create(t testing.TB, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := k8s.Create(t.Context(), o); err != nil {
			t.Fatalf("creating %T %s: %v", o, o.GetName(), err)
		}
	}
}

const (
	// passwd has the user that every gate asks for.
	passwd = "nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
	// described and conforming are what the gates ask of an image: labels, a user, and its entry in /etc/passwd.
	described  = "LABEL org.opencontainers.image.title=test org.opencontainers.image.description=test org.opencontainers.image.source=https://git.example/test\n"
	conforming = described + "COPY passwd /etc/passwd\nUSER 65532:65532\n"
)

// inline is a BaseImage with a Dockerfile of its own, which conforms to the gates at its end, for both platforms. Shells
// and package managers are allowed: most tests are about something else.
func inline(namespace, name, dockerfile string) *v1alpha1.BaseImage {
	return &v1alpha1.BaseImage{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.BaseImageSpec{
			Source: v1alpha1.Source{Inline: &v1alpha1.InlineSource{Dockerfile: dockerfile + conforming, Files: map[string]v1alpha1.FileContent{"passwd": passwd}}},
			Tests:  v1alpha1.TestPolicy{Shells: v1alpha1.Allow, PackageManagers: v1alpha1.Allow, SetuidFiles: v1alpha1.Allow},
			Output: v1alpha1.Output{
				Repository:    registryHost + "/" + namespace + "/" + name,
				PushSecretRef: &v1alpha1.LocalReference{Name: pushSecret},
			},
		},
	}
}

// awaitReady waits until an image is Ready for its present generation.
func awaitReady(t testing.TB, image *v1alpha1.BaseImage) *v1alpha1.BaseImage {
	t.Helper()
	return await(t, image, "Ready", func(i *v1alpha1.BaseImage) bool {
		ready := meta.FindStatusCondition(i.Status.Conditions, v1alpha1.ConditionReady)
		if meta.IsStatusConditionTrue(i.Status.Conditions, v1alpha1.ConditionStalled) && ready != nil && ready.Reason != "Suspended" {
			t.Fatalf("BaseImage %s has failed for good: %s: %s", i.Name, ready.Reason, ready.Message)
		}
		return isReady(i)
	})
}

// awaitStalled waits until an image has failed for good, and returns why.
func awaitStalled(t *testing.T, image *v1alpha1.BaseImage) metav1.Condition {
	t.Helper()
	found := await(t, image, "Stalled", func(i *v1alpha1.BaseImage) bool {
		return meta.IsStatusConditionTrue(i.Status.Conditions, v1alpha1.ConditionStalled)
	})
	return *meta.FindStatusCondition(found.Status.Conditions, v1alpha1.ConditionReady)
}

func await(t testing.TB, image *v1alpha1.BaseImage, what string, is func(*v1alpha1.BaseImage) bool) *v1alpha1.BaseImage {
	t.Helper()
	var found *v1alpha1.BaseImage
	eventually(t, buildTimeout, "BaseImage "+image.Name+" to be "+what, func(ctx context.Context) (bool, string) {
		found = &v1alpha1.BaseImage{} // What has gone since might stay in the last one.
		if err := k8s.Get(ctx, client.ObjectKeyFromObject(image), found); err != nil {
			return false, err.Error()
		}
		if found.Status.ObservedGeneration != found.Generation {
			return false, "the operator has not seen its generation yet"
		}
		return is(found), fmt.Sprintf("%+v", found.Status.Conditions)
	})
	return found
}

// request asks for another build and waits until it was started.
func request(t *testing.T, image *v1alpha1.BaseImage, value string) {
	t.Helper()
	run(t, nil, kubectl, "--namespace="+image.Namespace, "annotate", "--overwrite", "baseimage", image.Name,
		v1alpha1.BuildRequestedAtAnnotation+"="+value)
	await(t, image, "building as requested", func(i *v1alpha1.BaseImage) bool {
		return i.Status.LatestBuild != nil && i.Status.LatestBuild.Inputs.RequestedAt == value
	})
}

// runIn is for cleaning up after a test, when its context has ended.
func runIn(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
