//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// idleProgram is hack/idlewebhook.
const idleProgram = "idlewebhook"

// newIdleWebhook makes a namespace whose pods go through two webhooks that do nothing, as ours do: a mutating and a validating
// one, in the cluster, behind a Service.
func newIdleWebhook(t testing.TB) string {
	t.Helper()
	ns := newNamespace(t)
	binary := filepath.Join(t.TempDir(), idleProgram)
	run(t, []string{"CGO_ENABLED=0"}, "go", "build", "-trimpath", "-o", binary, "./hack/idlewebhook")
	image, err := sandbox("image", "--repository", registryHost+"/"+ns+"/idle", "--entrypoint", "/"+idleProgram, binary+"=/"+idleProgram)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key := selfSigned(t, idleProgram+"."+ns+".svc")
	labels := map[string]string{"app": idleProgram}
	pod := podOf(ns, idleProgram, image, func(s *corev1.PodSpec) {
		s.Containers[0].Command = []string{"/" + idleProgram, ":8443", "/tls/tls.crt", "/tls/tls.key"}
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "tls", MountPath: "/tls"}}
		s.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8443)}}}
		s.Volumes = []corev1.Volume{{Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: idleProgram}}}}
	})
	pod.Labels = labels
	create(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: idleProgram}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: idleProgram}, Spec: corev1.ServiceSpec{
			Selector: labels, Ports: []corev1.ServicePort{{Port: 443, TargetPort: intstr.FromInt32(8443)}}}}, pod)
	awaitPod(t, pod)
	registerIdle(t, ns, certificate)
	return ns
}

func registerIdle(t testing.TB, ns string, ca []byte) {
	t.Helper()
	name, sideEffects, fail := "idle.basewright.test", admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.Fail
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: ns}}
	at := func(path string) admissionregistrationv1.WebhookClientConfig {
		return admissionregistrationv1.WebhookClientConfig{CABundle: ca, Service: &admissionregistrationv1.ServiceReference{Namespace: ns, Name: idleProgram, Path: new(path)}}
	}
	rules := []admissionregistrationv1.RuleWithOperations{{Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
		Rule: admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}}
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: ns}, Webhooks: []admissionregistrationv1.MutatingWebhook{{
		Name: name, AdmissionReviewVersions: []string{"v1"}, SideEffects: &sideEffects, FailurePolicy: &fail, NamespaceSelector: selector, Rules: rules, ClientConfig: at("/mutate")}}}
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: ns}, Webhooks: []admissionregistrationv1.ValidatingWebhook{{
		Name: name, AdmissionReviewVersions: []string{"v1"}, SideEffects: &sideEffects, FailurePolicy: &fail, NamespaceSelector: selector, Rules: rules, ClientConfig: at("/validate")}}}
	for _, o := range []client.Object{mutating, validating} {
		create(t, o)
		t.Cleanup(func() {
			if err := k8s.Delete(context.Background(), o); err != nil {
				t.Errorf("deleting %T %s: %v", o, ns, err)
			}
		})
	}
}

// selfSigned is a certificate for one name, and its key.
func selfSigned(t testing.TB, host string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// counters of all replicas of the webhook.
type counters struct {
	at time.Time
	// registry and api are requests to registries and to the Kubernetes API.
	registry, api, seconds float64
}

func (c counters) since(before counters) counters {
	return counters{registry: c.registry - before.registry, api: c.api - before.api, seconds: c.at.Sub(before.at).Seconds()}
}

func scrape(t testing.TB) counters {
	t.Helper()
	pods := &corev1.PodList{}
	if err := k8s.List(t.Context(), pods, client.InNamespace(systemNamespace), client.MatchingLabels{"app.kubernetes.io/component": "webhook"}); err != nil || len(pods.Items) == 0 {
		t.Fatalf("there are %d replicas of the webhook: %v", len(pods.Items), err)
	}
	sum := counters{at: time.Now()}
	for _, pod := range pods.Items {
		raw, err := clientset.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, "8080", "metrics", nil).DoRaw(t.Context())
		if err != nil {
			t.Fatalf("reading the metrics of %s: %v", pod.Name, err)
		}
		sum.registry += total(raw, "basewright_registry_requests_total")
		sum.api += total(raw, "rest_client_requests_total")
	}
	return sum
}

// total adds up all series of a metric.
func total(exposition []byte, metric string) float64 {
	sum := 0.0
	for line := range strings.Lines(string(exposition)) {
		if rest, ok := strings.CutPrefix(line, metric); ok && strings.IndexAny(rest, "{ ") == 0 {
			fields := strings.Fields(line)
			if v, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
				sum += v
			}
		}
	}
	return sum
}

// processes that run a program in a container of the sandbox.
func processes(t testing.TB, program string) []string {
	t.Helper()
	if program == "" {
		return nil
	}
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, exe := range all {
		if target, err := os.Readlink(exe); err == nil && target == "/"+program {
			found = append(found, filepath.Dir(exe))
		}
	}
	return found
}

// ticks of the kernel's clock in a second.
const ticks = 100

// cpuOf is what all processes of a program have used.
func cpuOf(t testing.TB, program string) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, dir := range processes(t, program) {
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		_, after, _ := bytes.Cut(stat, []byte(") "))
		fields := strings.Fields(string(after))
		if err != nil || len(fields) < 13 {
			t.Fatalf("reading %s/stat: %v", dir, err)
		}
		for _, field := range fields[11:13] { // utime and stime
			n, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(n) * time.Second / ticks
		}
	}
	return sum
}

// rssOf is the memory of each process of a program.
func rssOf(t testing.TB, program string) string {
	t.Helper()
	var each []string
	for _, dir := range processes(t, program) {
		status, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
			if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "VmRSS:" {
				kib, err := strconv.Atoi(fields[1])
				if err != nil {
					t.Fatal(err)
				}
				each = append(each, fmt.Sprint(kib>>10))
			}
		}
	}
	return strings.Join(each, ", ")
}
