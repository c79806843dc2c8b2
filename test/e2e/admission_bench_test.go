//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	benchRounds = 3
	// benchSequential is how many pods one client makes in a round, one after the other.
	benchSequential = 400
	// benchClients make benchThroughput pods in a round, each as fast as it can.
	benchClients    = 8
	benchThroughput = 1600
	// benchCold images are asked about for the first time.
	benchCold = 20
)

// BenchmarkAdmission makes pods through the apiserver, of three containers with an image each, by digest: without a webhook,
// with webhooks that do nothing, and with ours. Nothing is kept: they are dry runs, which webhooks see as any other.
//
// The rounds of the three take turns, so that they meet the same machine; figures are the medians of the rounds.
func BenchmarkAdmission(b *testing.B) {
	a := newAdmission(b)
	images := []published{a.signed()}
	for _, called := range []string{"second", "third"} {
		images = append(images, a.sign(b, team, "cosign3", a.variant(b, called), "--recursive"))
	}
	ours := a.tenant(b)
	setups := []*setup{
		{name: "no webhook", namespace: newNamespace(b)},
		{name: "webhooks that do nothing", namespace: newIdleWebhook(b), program: idleProgram},
		{name: "Basewright", namespace: ours, program: "webhook"},
	}
	clients := benchClient(b)
	for _, s := range setups {
		s.pod = threeContainers(s.namespace, images)
		admitted(b, s.pod)
		s.load(b, clients, benchThroughput/4) // Connections, and what programs learn of the load.
	}
	counters := scrape(b)
	for range benchRounds {
		for _, s := range setups {
			s.round(b, clients)
		}
	}
	asked := scrape(b).since(counters)
	cold := a.cold(b, ours)
	report(b, setups, asked, cold)
}

// setup is what pods go through, and what that took.
type setup struct {
	name, namespace string
	// program of its webhooks, as the kernel calls it.
	program string
	pod     *corev1.Pod

	p50, p99  []time.Duration
	perSecond []float64
	cpu       []time.Duration
}

func threeContainers(namespace string, images []published) *corev1.Pod {
	pod := podOf(namespace, "load", images[0].byDigest())
	for i, image := range images[1:] {
		more := *pod.Spec.Containers[0].DeepCopy()
		more.Name, more.Image = fmt.Sprintf("more-%d", i), image.byDigest()
		pod.Spec.Containers = append(pod.Spec.Containers, more)
	}
	return pod
}

// benchClient is as cheap as clients are: it shares the machine with what it measures.
func benchClient(b *testing.B) *kubernetes.Clientset {
	b.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", checkout+"/.sandbox/kubeconfig")
	if err != nil {
		b.Fatal(err)
	}
	cfg.QPS, cfg.ContentType, cfg.AcceptContentTypes = -1, "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"
	c, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func (s *setup) create(ctx context.Context, c *kubernetes.Clientset, pod *corev1.Pod) (time.Duration, error) {
	began := time.Now()
	_, err := c.CoreV1().Pods(s.namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return time.Since(began), err
}

// round measures latencies of one client, then what several get through.
func (s *setup) round(b *testing.B, c *kubernetes.Clientset) {
	b.Helper()
	before := cpuOf(b, s.program)
	var took []time.Duration
	for range benchSequential {
		t, err := s.create(b.Context(), c, s.pod)
		if err != nil {
			b.Fatalf("%s: %v", s.name, err)
		}
		took = append(took, t)
	}
	slices.Sort(took)
	s.p50, s.p99 = append(s.p50, took[len(took)/2]), append(s.p99, took[len(took)*99/100])
	s.perSecond = append(s.perSecond, s.load(b, c, benchThroughput))
	s.cpu = append(s.cpu, (cpuOf(b, s.program)-before)/(benchSequential+benchThroughput))
}

// load has clients make so many pods, and returns how many they made in a second.
func (s *setup) load(b *testing.B, c *kubernetes.Clientset, pods int) float64 {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(pods))
	var all sync.WaitGroup
	began := time.Now()
	for range benchClients {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := s.create(b.Context(), c, s.pod); err != nil {
					b.Errorf("%s: %v", s.name, err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(pods) / time.Since(began).Seconds()
}

// coldRun is about images that nobody has asked about before.
type coldRun struct {
	p50, p99 time.Duration
	// requests to the registry for each.
	requests float64
}

// cold makes pods of one container each, by digest.
func (a *admission) cold(b *testing.B, namespace string) coldRun {
	b.Helper()
	var images []published
	for i := range benchCold {
		images = append(images, a.sign(b, team, "cosign3", a.variant(b, fmt.Sprintf("cold-%d", i)), "--recursive"))
	}
	before := scrape(b)
	var took []time.Duration
	s := &setup{name: "cold", namespace: namespace}
	for _, image := range images {
		t, err := s.create(b.Context(), clientset, podOf(namespace, "cold", image.byDigest()))
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, t)
	}
	slices.Sort(took)
	return coldRun{p50: took[len(took)/2], p99: took[len(took)*99/100], requests: scrape(b).since(before).registry / benchCold}
}

// report prints a table for people, and a line of each setup for benchstat.
func report(b *testing.B, setups []*setup, asked counters, cold coldRun) {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "\npods of three containers, warm\tp50 ms\tp99 ms\tpods/s, %d clients\tCPU ms/pod\tRSS MB\n", benchClients)
	for _, s := range setups {
		fmt.Fprintf(out, "%s\t%.2f\t%.2f\t%.0f\t%.2f\t%s\n", s.name, ms(median(s.p50)), ms(median(s.p99)), median(s.perSecond), ms(median(s.cpu)), rssOf(b, s.program))
	}
	fmt.Fprintf(out, "\nregistry requests meanwhile: %.0f; requests to the Kubernetes API: %.1f a second\n", asked.registry, asked.api/asked.seconds)
	fmt.Fprintf(out, "pods of one new image: p50 %.1f ms, p99 %.1f ms, %.1f registry requests\n", ms(cold.p50), ms(cold.p99), cold.requests)
	if err := out.Flush(); err != nil {
		b.Fatal(err)
	}
	for _, s := range setups {
		b.Run(s.name, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(ms(median(s.p50)), "p50-ms")
			b.ReportMetric(ms(median(s.p99)), "p99-ms")
			b.ReportMetric(median(s.perSecond), "pods/s")
			b.ReportMetric(ms(median(s.cpu)), "cpu-ms/pod")
		})
	}
	b.Run("Basewright, new image", func(b *testing.B) {
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(ms(cold.p50), "p50-ms")
		b.ReportMetric(ms(cold.p99), "p99-ms")
		b.ReportMetric(cold.requests, "registry-requests/image")
	})
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median[T float64 | time.Duration](of []T) T {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}
