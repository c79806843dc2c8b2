package webhook

import (
	"context"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/rules"
	"github.com/ibshafique/base-images/internal/verdict"
)

// asked is a Judge that notes for whom it is asked.
type asked struct {
	judge           Judge
	resolve, verify string
}

func (a *asked) Resolve(ctx context.Context, access verdict.Access, tag name.Tag) (name.Digest, error) {
	a.resolve = access.Tenant
	return a.judge.Resolve(ctx, access, tag)
}

func (a *asked) Judge(ctx context.Context, q verdict.Question) (verdict.Verdict, error) {
	a.verify = q.Access.Tenant
	return a.judge.Judge(ctx, q)
}

func (a *asked) Facts(ctx context.Context, q verdict.Question) (rules.ImageFacts, error) {
	return a.judge.Facts(ctx, q)
}

// The work for a pod is its namespace's, which gets no more than its share of the places.
func TestWorkIsForTheNamespace(t *testing.T) {
	w := newWorld(t)
	w.policy(t, "shop")
	w.sign(t, w.push(t, "shop/good", "1"), signer)
	a := &asked{judge: w.judge}
	w.judge = a
	if got := w.mutate(t, pod(w.host+"/shop/good:1"), nil); !got.Allowed {
		t.Fatal(got.Result)
	}
	if a.resolve != shop || a.verify != shop {
		t.Errorf("it was resolved for %q and verified for %q", a.resolve, a.verify)
	}
}
