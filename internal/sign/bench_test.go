package sign

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ibshafique/base-images/internal/pipeline"
)

func BenchmarkSign(b *testing.B) {
	w := newBench(b, true)
	s := w.session(b)
	before := w.count("", "")
	for b.Loop() {
		b.StopTimer()
		w.ref = w.push(b)
		pushed := w.count("", "")
		b.StartTimer()
		if err := s.Sign(b.Context(), w.client, w.ref); err != nil {
			b.Fatal(err)
		}
		before += w.count("", "") - pushed
	}
	b.ReportMetric(float64(before)/float64(b.N), "registry-requests/op")
	b.ReportMetric(float64(w.sigstore.Fulcio.Requests()+w.sigstore.Rekor.Requests())/float64(b.N), "sigstore-requests/op")
}

// BenchmarkBuild is what a build asks for: an index and two platforms with 13 attestations, two thirds of them of 1 MiB.
func BenchmarkBuild(b *testing.B) {
	for name, api := range apis {
		b.Run(name, func(b *testing.B) {
			w := newBench(b, api)
			for b.Loop() {
				b.StopTimer()
				refs := []string{"index", "amd64", "arm64"}
				first, fulcio, rekor := map[string]int{}, w.sigstore.Fulcio.Requests(), w.sigstore.Rekor.Requests()
				s := w.session(b)
				b.StartTimer()
				for _, what := range refs {
					b.StopTimer()
					w.ref = w.push(b)
					pushed := w.count("", "")
					b.StartTimer()
					if err := s.Attest(b.Context(), w.client, w.ref, w.set(what), nil); err != nil {
						b.Fatal(err)
					}
					if err := s.Sign(b.Context(), w.client, w.ref); err != nil {
						b.Fatal(err)
					}
					first["registry"] += w.count("", "") - pushed
				}
				b.ReportMetric(float64(first["registry"]), "registry-requests")
				b.ReportMetric(float64(w.sigstore.Fulcio.Requests()-fulcio), "fulcio-requests")
				b.ReportMetric(float64(w.sigstore.Rekor.Requests()-rekor), "rekor-requests")
			}
		})
	}
}

// set is 3 attestations of an index, or 5 of a platform.
func (b *bench) set(what string) []pipeline.Statement {
	n := 5
	if what == "index" {
		n = 3
	}
	var out []pipeline.Statement
	for i := range n {
		says := what
		if i%3 != 0 {
			says = strings.Repeat("x", 1<<20)
		}
		out = append(out, statement(b.ref, fmt.Sprintf("https://example.com/%d", i), says))
	}
	return out
}
