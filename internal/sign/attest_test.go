package sign

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/sigstoretest"
)

const someType = "https://example.com/some/v1"

func both(says ...string) map[v1alpha1.SignatureFormat][]string {
	return map[v1alpha1.SignatureFormat][]string{v1alpha1.FormatLegacy: says, v1alpha1.FormatBundle: says}
}

func sorted(m map[v1alpha1.SignatureFormat][]string) map[v1alpha1.SignatureFormat][]string {
	for _, list := range m {
		slices.Sort(list)
	}
	return m
}

func (b *bench) attest(t testing.TB, s *Session, predicateType string, says ...string) error {
	t.Helper()
	return b.replace(t, s, predicateType, nil, says...)
}

// replace attests in place of what was said before.
func (b *bench) replace(t testing.TB, s *Session, predicateType string, before []string, says ...string) error {
	t.Helper()
	var all []pipeline.Statement
	for _, one := range says {
		all = append(all, statement(b.ref, predicateType, one))
	}
	var replaced []string
	for _, one := range before {
		replaced = append(replaced, statement(b.ref, predicateType, one).Digest())
	}
	return s.Attest(t.Context(), b.client, b.ref, all, replaced)
}

func TestTheSetOfAttestations(t *testing.T) {
	tests := map[string]struct {
		formats []v1alpha1.SignatureFormat
		sets    [][]string
		want    map[v1alpha1.SignatureFormat][]string
		logged  int
	}{
		"one":                         {bothFormats, [][]string{{"1"}}, both("1"), 1},
		"several of a type":           {bothFormats, [][]string{{"1", "2", "3"}}, both("1", "2", "3"), 3},
		"the same again":              {bothFormats, [][]string{{"1", "2"}, {"2", "1"}, {"1", "2"}}, both("1", "2"), 2},
		"one twice":                   {bothFormats, [][]string{{"1", "1"}}, both("1"), 1},
		"one more":                    {bothFormats, [][]string{{"1"}, {"1", "2"}}, both("1", "2"), 2},
		"one less":                    {bothFormats, [][]string{{"1", "2"}, {"2"}}, both("2"), 2},
		"another":                     {bothFormats, [][]string{{"1"}, {"2"}}, both("2"), 2},
		"a type that is not in a set": {bothFormats, [][]string{{"1"}, nil}, both("1"), 1},
		"as a tag":                    {bothFormats[:1], [][]string{{"1"}, {"2"}}, map[v1alpha1.SignatureFormat][]string{v1alpha1.FormatLegacy: {"2"}}, 2},
		"as a bundle":                 {bothFormats[1:], [][]string{{"1"}, {"2"}}, map[v1alpha1.SignatureFormat][]string{v1alpha1.FormatBundle: {"2"}}, 2},
	}
	for desc, tt := range tests {
		for registry, api := range apis {
			t.Run(desc+" "+registry, func(t *testing.T) {
				b := newBench(t, api)
				b.options.Formats = tt.formats
				var last []string
				for _, set := range tt.sets {
					if err := b.replace(t, b.session(t), someType, last, set...); err != nil {
						t.Fatal(err)
					}
					last = set
				}
				if diff := cmp.Diff(tt.want, sorted(b.attested(t, someType))); diff != "" {
					t.Error(diff)
				}
				if n := b.sigstore.Rekor.Entries(); n != tt.logged {
					t.Errorf("%d entries are in the log, want %d", n, tt.logged)
				}
			})
		}
	}
}

// Builds of other BaseImages may have the same digest.
func TestWhatIsNotReplacedStays(t *testing.T) {
	tests := map[string]struct {
		replaced []string
		want     []string
	}{
		"nothing is replaced":              {nil, []string{"1", "2", "3"}},
		"one is":                           {[]string{"1"}, []string{"2", "3"}},
		"one that is attested again":       {[]string{"3"}, []string{"1", "2", "3"}},
		"one that nobody has ever written": {[]string{"4"}, []string{"1", "2", "3"}},
	}
	for desc, tt := range tests {
		for registry, api := range apis {
			t.Run(desc+" "+registry, func(t *testing.T) {
				b := newBench(t, api)
				for _, says := range []string{"1", "2"} {
					if err := b.attest(t, b.session(t), someType, says); err != nil {
						t.Fatal(err)
					}
				}
				// The second time there is nothing left to sign.
				for range 2 {
					if err := b.replace(t, b.session(t), someType, tt.replaced, "3"); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(both(tt.want...), sorted(b.attested(t, someType))); diff != "" {
						t.Error(diff)
					}
				}
			})
		}
	}
}

func TestAttestationsWithTimestamps(t *testing.T) {
	for desc, change := range map[string]func(*bench){
		"only":      func(b *bench) { b.withoutLog(t) },
		"and a log": func(b *bench) { b.options.TimestampURL = b.sigstore.Timestamp.URL },
	} {
		t.Run(desc, func(t *testing.T) {
			b := newBench(t, true)
			change(b)
			for range 2 {
				if err := b.attest(t, b.session(t), someType, "1"); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(both("1"), b.attested(t, someType)); diff != "" || b.sigstore.Timestamp.Requests() != 2 {
				t.Errorf("%d timestamps, %s", b.sigstore.Timestamp.Requests(), diff)
			}
		})
	}
}

// One signature and one log entry are in both formats.
func TestBothFormatsShareALogEntry(t *testing.T) {
	b := newBench(t, true)
	if err := b.attest(t, b.session(t), someType, "1"); err != nil {
		t.Fatal(err)
	}
	found, err := b.verifier.Attestations(t.Context(), b.client, b.ref, someType)
	if err != nil || len(found) != 2 || found[0].LogIndex == nil || *found[0].LogIndex != *found[1].LogIndex {
		t.Errorf("got %+v, %v", found, err)
	}
}

func TestAttestationsOfOthersStay(t *testing.T) {
	for registry, api := range apis {
		t.Run(registry, func(t *testing.T) {
			b := newBench(t, api)
			if err := b.attest(t, b.as(t, "alice"), someType, "a"); err != nil {
				t.Fatal(err)
			}
			if err := b.attest(t, b.session(t), someType, "1"); err != nil {
				t.Fatal(err)
			}
			if err := b.attest(t, b.as(t, "bob"), someType, "b"); err != nil {
				t.Fatal(err)
			}
			before := b.layers(t, ".att")
			if err := b.replace(t, b.session(t), someType, []string{"1", "a", "b"}, "2"); err != nil {
				t.Fatal(err)
			}
			after := b.layers(t, ".att")
			if len(before) != 3 || len(after) != 3 {
				t.Fatalf("%d layers became %d", len(before), len(after))
			}
			if diff := cmp.Diff([]any{before[0], before[2]}, []any{after[0], after[1]}); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(both("2"), b.attested(t, someType)); diff != "" {
				t.Error(diff)
			}
			for _, who := range []string{"alice", "bob"} {
				b.verifier = newVerifier(t, b.options.Material, issuer, namespace, who)
				if diff := cmp.Diff(both(who[:1]), b.attested(t, someType)); diff != "" {
					t.Errorf("%s: %s", who, diff)
				}
			}
		})
	}
}

// What was signed before a failure is kept, and so is what it was to supersede.
func TestHalfOfASetIsKept(t *testing.T) {
	b := newBench(t, true)
	// Each takes all of the room: they are signed one after the other.
	b.options.Limits.StatementBytes = limits.Bytes(len(statement(b.ref, someType, "1").Payload))
	if err := b.attest(t, b.session(t), someType, "0"); err != nil {
		t.Fatal(err)
	}
	b.sigstore.Rekor.Before(func() {
		if b.sigstore.Rekor.Requests() == 1+2 {
			b.sigstore.Rekor.Fail(sigstoretest.Unavailable)
		}
	})
	if got := fault(b.replace(t, b.session(t), someType, []string{"0"}, "1", "2", "3")); got != "Transient SigstoreUnavailable" {
		t.Errorf("got %s", got)
	}
	if got := b.attested(t, someType); len(got[v1alpha1.FormatBundle]) != 1+2 || len(got[v1alpha1.FormatLegacy]) != 1+2 || !slices.Contains(got[v1alpha1.FormatLegacy], "0") {
		t.Errorf("got %v", got)
	}
	b.sigstore.Rekor.Fail(sigstoretest.Works)
	if err := b.replace(t, b.session(t), someType, []string{"0"}, "1", "2", "3"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(both("1", "2", "3"), sorted(b.attested(t, someType))); diff != "" || b.sigstore.Rekor.Entries() != 1+3 {
		t.Errorf("%d entries %s", b.sigstore.Rekor.Entries(), diff)
	}
}

func TestTooLargeAStatement(t *testing.T) {
	b := newBench(t, true)
	st := statement(b.ref, someType, "1")
	for size, want := range map[int]string{len(st.Payload): "", len(st.Payload) - 1: "Terminal " + pipeline.ReasonAttestationTooLarge} {
		b.options.Limits.StatementBytes = limits.Bytes(size)
		err := b.session(t).Attest(t.Context(), b.client, b.ref, []pipeline.Statement{statement(b.ref, someType, ""), st}, nil)
		if fault(err) != want {
			t.Errorf("at most %d bytes: got %v", size, err)
		}
		if want == "" {
			continue
		}
		for _, part := range []string{someType, fmt.Sprint(len(st.Payload)), fmt.Sprint(size), "limits.signatures.statementBytes"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %s", err, part)
			}
		}
	}
}

// A statement that says something else than who gave it to us would never be found again.
func TestStatementsThatAreWrong(t *testing.T) {
	b := newBench(t, true)
	other := b.push(t)
	for desc, st := range map[string]pipeline.Statement{
		"of another type":  {PredicateType: "other", Payload: statement(b.ref, someType, "1").Payload},
		"of another image": statement(other, someType, "1"),
		"no statement":     {PredicateType: someType, Payload: []byte("{}")},
	} {
		if err := b.session(t).Attest(t.Context(), b.client, b.ref, []pipeline.Statement{st}, nil); err == nil {
			t.Errorf("%s: it was attested", desc)
		}
	}
	if n := len(b.layers(t, ".att")); n != 0 || b.count("PUT", "/manifests/sha256:") != 2 || b.sigstore.Rekor.Requests() != 0 {
		t.Errorf("%d were written", n)
	}
}

func TestSignersAtTheSameTime(t *testing.T) {
	for registry, api := range apis {
		t.Run(registry, func(t *testing.T) {
			b := newBench(t, api)
			one, err := New(b.options)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				wg.Go(func() {
					s := one.Begin(b.verifier)
					errs[i] = errors.Join(s.Sign(t.Context(), b.client, b.ref), b.attest(t, s, someType, "1"), b.attest(t, s, fmt.Sprint(someType, i), "1"))
				})
			}
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			for i := range errs {
				if diff := cmp.Diff(both("1"), b.attested(t, fmt.Sprint(someType, i))); diff != "" {
					t.Error(diff)
				}
			}
			if got := b.signatures(t); got[v1alpha1.FormatBundle] == 0 || got[v1alpha1.FormatLegacy] == 0 {
				t.Errorf("got %v", got)
			}
			// The next one cleans up behind them.
			if err := b.attest(t, b.session(t), someType, "1"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(both("1"), b.attested(t, someType)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
