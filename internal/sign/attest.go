package sign

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/verify"
)

// Attest sees to it that these statements about ref are attested by us, in each format. What is there is left alone.
// Statements of ours, of the same predicate types, whose digests are in replaced (sha256:… of the payload) and that are not
// among statements are removed after the new ones are there: from tags always, and as bundles where the registry lets us
// delete. All others stay, also those of ours: another BaseImage may publish the same digest. Faults of the registry are
// passed on.
func (s *Session) Attest(ctx context.Context, client *registry.Client, ref name.Digest, statements []pipeline.Statement, replaced []string) error {
	for _, st := range statements {
		if size, most := len(st.Payload), s.signer.options.Limits.StatementBytes; int64(size) > int64(most) {
			return pipeline.Terminalf(pipeline.ReasonAttestationTooLarge,
				"the attestation of type %s of %s has %d bytes, limits.signatures.statementBytes allows %d: raise it, or make the image smaller", st.PredicateType, registry.Name(ref), size, int64(most))
		}
	}
	for _, st := range statements {
		if err := verify.CheckStatement(st.Payload, st.PredicateType, ref); err != nil {
			return fmt.Errorf("attesting %s of %s: %w", st.PredicateType, registry.Name(ref), err)
		}
	}
	a := &attesting{Session: s, client: client, ref: ref, statements: statements, replaced: replaced}
	if err := a.look(ctx); err != nil {
		return err
	}
	return a.write(ctx)
}

// attesting is one call of Attest.
type attesting struct {
	*Session
	client     *registry.Client
	ref        name.Digest
	statements []pipeline.Statement
	// replaced are digests of statements.
	replaced []string
	subject  v1.Descriptor

	mu sync.Mutex
	// have is what is there, more than once if several processes signed it at the same time, and stale what is replaced.
	have  map[statementKey][]verify.Evidence
	stale []verify.Evidence
	added []layer
}

type statementKey struct {
	format        v1alpha1.SignatureFormat
	predicateType string
	digest        string
}

// look finds what of ours is there.
func (a *attesting) look(ctx context.Context) error {
	a.have = map[statementKey][]verify.Evidence{}
	var types []string
	for _, st := range a.statements {
		types = append(types, st.PredicateType)
	}
	slices.Sort(types)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, predicateType := range slices.Compact(types) {
		group.Go(func() error {
			found, err := a.verifier.Attestations(ctx, a.client, a.ref, predicateType)
			if err != nil && !isMissing(err) {
				return err
			}
			a.sort(predicateType, found)
			return nil
		})
	}
	return group.Wait()
}

// sort tells those that are wanted from those that are replaced. Others are not touched.
func (a *attesting) sort(predicateType string, found []verify.Attestation) {
	// Of several that say the same, two processes that clean up at the same time must keep the same one.
	slices.SortFunc(found, func(a, b verify.Attestation) int {
		return cmp.Or(strings.Compare(a.Manifest, b.Manifest), strings.Compare(a.Layer, b.Layer))
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range found {
		st := pipeline.Statement{PredicateType: predicateType, Payload: f.Payload}
		key := statementKey{f.Format, predicateType, st.Digest()}
		switch {
		case a.wants(key):
			a.have[key] = append(a.have[key], f.Evidence)
		case slices.Contains(a.replaced, key.digest):
			a.stale = append(a.stale, f.Evidence)
		}
	}
}

func (a *attesting) wants(key statementKey) bool {
	return slices.ContainsFunc(a.statements, func(st pipeline.Statement) bool {
		return st.PredicateType == key.predicateType && st.Digest() == key.digest
	})
}

// write signs and writes what is missing, and then removes what is stale. What was signed before something failed is
// written: it would have to be signed again.
func (a *attesting) write(ctx context.Context) error {
	if err := a.checkTag(ctx); err != nil {
		return err
	}
	failed := a.signAll(ctx)
	c := change{add: a.added}
	if failed == nil {
		c.drop = a.staleLayers()
	}
	if err := a.signer.rewrite(ctx, a.client, tagOf(a.ref, ".att"), c); err != nil && failed == nil {
		failed = err
	}
	if failed != nil {
		return failed
	}
	return a.removeBundles(ctx)
}

// checkTag comes before the first log entry.
func (a *attesting) checkTag(ctx context.Context) error {
	adds := 0
	for _, st := range a.missing() {
		if a.lacks(st, v1alpha1.FormatLegacy) {
			adds++
		}
	}
	if adds == 0 {
		return nil
	}
	return checkTag(ctx, a.client, tagOf(a.ref, ".att"), adds, a.staleLayers())
}

func (a *attesting) signAll(ctx context.Context) error {
	missing := a.missing()
	if len(missing) == 0 {
		return nil
	}
	var err error
	if a.subject, err = a.client.Head(ctx, a.ref); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, st := range missing {
		group.Go(func() error { return a.sign(ctx, st) })
	}
	return group.Wait()
}

// missing are the statements that are not there in each format, each of them once.
func (a *attesting) missing() []pipeline.Statement {
	var out []pipeline.Statement
	seen := map[statementKey]struct{}{}
	for _, st := range a.statements {
		key := statementKey{"", st.PredicateType, st.Digest()}
		if _, again := seen[key]; !again && (a.lacks(st, v1alpha1.FormatLegacy) || a.lacks(st, v1alpha1.FormatBundle)) {
			out = append(out, st)
		}
		seen[key] = struct{}{}
	}
	return out
}

func (a *attesting) lacks(st pipeline.Statement, f v1alpha1.SignatureFormat) bool {
	_, there := a.have[statementKey{f, st.PredicateType, st.Digest()}]
	return !there && a.signer.writes(f)
}

// sign makes one signature and one log entry for both formats.
func (a *attesting) sign(ctx context.Context, st pipeline.Statement) error {
	release, err := a.signer.enter(ctx, len(st.Payload))
	if err != nil {
		return err
	}
	defer release()
	legacy := a.lacks(st, v1alpha1.FormatLegacy)
	made, err := a.statement(ctx, a.ref, st, legacy)
	if err != nil {
		return err
	}
	if a.lacks(st, v1alpha1.FormatBundle) {
		if err := a.signer.pushBundle(ctx, a.client, a.ref, a.subject, made.bundle, st.PredicateType); err != nil {
			return err
		}
	}
	if !legacy {
		return nil
	}
	l, err := made.layer(st.PredicateType)
	if err != nil {
		return err
	}
	// What is large goes there now, not when all of them are signed.
	if err := l.upload(ctx, a.client, a.ref.Context()); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.added = append(a.added, l)
	return nil
}
