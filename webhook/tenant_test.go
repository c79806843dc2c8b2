package webhook

import (
	"context"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verdict"
)

// spy is a Judge that notes for whom it is asked.
type spy struct {
	judge           Judge
	resolve, verify string
}

func (a *spy) Resolve(ctx context.Context, access verdict.Access, tag name.Tag) (name.Digest, error) {
	a.resolve = access.Tenant
	return a.judge.Resolve(ctx, access, tag)
}

func (a *spy) Judge(ctx context.Context, q verdict.Question) (verdict.Verdict, error) {
	a.verify = q.Access.Tenant
	return a.judge.Judge(ctx, q)
}

func (a *spy) Facts(ctx context.Context, q verdict.Question) (rules.ImageFacts, error) {
	return a.judge.Facts(ctx, q)
}

// The work for a pod is its namespace's, which gets no more than its share of the places.
func TestWorkIsForTheNamespace(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	w.sign(t, w.push(t, "shop/good", "1"), signer)
	a := &spy{judge: w.judge}
	w.judge = a
	if got := w.mutate(t, pod(w.host+"/shop/good:1"), nil); !got.Allowed {
		t.Fatal(got.Result)
	}
	if a.resolve != shop || a.verify != shop {
		t.Errorf("it was resolved for %q and verified for %q", a.resolve, a.verify)
	}
}
