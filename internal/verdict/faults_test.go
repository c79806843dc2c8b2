package verdict

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

// Each request in turn fails in each way. An image never holds then; what is away is an outage, what is not there or not to be
// read is a violation, and they are never taken for each other.
func TestEachRequestMatters(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	index, children := w.pushedIndex(t, linux("amd64"), linux("arm64"))
	w.sign(t, ours, append(children, index)...)
	w.attest(t, ours, "https://x/whole", `{}`, index)
	w.attest(t, ours, "https://x/parts", `{}`, children...)
	w.attest(t, ours, pipeline.PredicateTestResult, `{"passedTests":["no-shell"]}`, children...)
	q := w.question(t, index)
	q.Policy.Runtime = &imagepolicy.Runtime{Parameters: rules.PodParameters{NoImageShells: true}}
	for _, predicateType := range []string{"https://x/whole", "https://x/parts"} {
		q.Policy.Authorities[0].Attestations = append(q.Policy.Authorities[0].Attestations,
			imagepolicy.Attestation{Name: predicateType, PredicateType: predicateType, Verifier: w.verifier(t, ours), MaxAge: time.Hour})
	}
	judge := func() (Verdict, error) {
		w.cache = newCache(t, w, limits.Admission{})
		return w.cache.Judge(t.Context(), q)
	}
	asked := w.requests(func() {
		if v, err := judge(); err != nil || !v.Holds() || v.Facts.Shells != rules.ShellsNone {
			t.Fatal(v, err)
		}
	})
	asked = slices.DeleteFunc(slices.Compact(asked), func(r string) bool { return strings.Contains(r, "/referrers/") })
	if len(asked) < 15 {
		t.Fatalf("only %d requests: %q", len(asked), asked)
	}
	const cut = 1
	for _, request := range asked {
		for _, status := range []int{404, 401, 500, cut, 200} {
			_, path, _ := strings.Cut(request, " ")
			t.Run(fmt.Sprint(path[:min(len(path), 40)], status), func(t *testing.T) {
				w.on(func(rw http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != path {
						return false
					}
					if status == cut {
						panic(http.ErrAbortHandler)
					}
					rw.WriteHeader(status)
					_, _ = io.WriteString(rw, "{}")
					return true
				})
				v, err := judge()
				known := v.Holds() && v.Facts.Shells == rules.ShellsNone
				if known || err != nil && (v.Holds() || len(v.Findings) > 0 || pipeline.IsTerminal(err)) {
					t.Fatal(v, err)
				}
				switch status {
				case 500, cut:
					if err == nil {
						t.Error("an outage is a verdict:", v)
					}
				case 404, 401:
					if err != nil {
						t.Error("a violation is an outage:", err)
					}
				}
			})
		}
	}
}
