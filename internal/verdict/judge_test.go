package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/rules"
)

func linux(architecture string) v1.Platform {
	return v1.Platform{OS: "linux", Architecture: architecture}
}

// What is judged is the image that was asked for, whatever else is signed.
func TestAnImageHolds(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	signed := w.pushed(t, "65532", nil)
	w.sign(t, ours, signed)
	byOthers := w.pushed(t, "65532", nil)
	w.sign(t, theirs, byOthers)
	unsigned := w.pushed(t, "65532", nil)
	missing := unsigned.Context().Digest("sha256:" + strings.Repeat("0", 64))
	tests := map[string]struct {
		image name.Digest
		want  []string
		says  []string
	}{
		"signed by us":          {signed, []string{}, nil},
		"signed by others":      {byOthers, []string{"IdentityMismatch"}, []string{theirs, issuer}},
		"not signed":            {unsigned, []string{"SignatureMissing"}, []string{"it is not signed", ours}},
		"not there":             {missing, []string{"ImageNotFound"}, nil},
		"a digest of SHA-512":   {unsigned.Context().Digest("sha512:" + strings.Repeat("0", 128)), []string{"ImageNotFound"}, nil},
		"of another repository": {w.repository(t, "other/x").Digest(signed.DigestStr()), []string{"ImageNotFound"}, nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			v, err := w.cache.Judge(t.Context(), w.question(t, tt.image))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, reasons(v)); diff != "" || v.Holds() != (len(tt.want) == 0) {
				t.Fatalf("holds: %v %s", v.Holds(), diff)
			}
			for _, f := range v.Findings {
				for _, want := range tt.says {
					if !strings.Contains(f.Message, want) {
						t.Errorf("%q does not say %q", f.Message, want)
					}
				}
				if f.Fix == "" || tt.says != nil && f.Command != "cosign verify --certificate-identity="+ours+" --allow-http-registry "+tt.image.String() {
					t.Errorf("fix %q, command %q", f.Fix, f.Command)
				}
			}
		})
	}
}

// An index is signed, its children are not, or the other way round.
func TestAnIndexHoldsWithAllThatNodesCanRun(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	index, children := w.pushedIndex(t, linux("amd64"), linux("arm64"), linux("s390x"), v1.Platform{OS: "unknown", Architecture: "unknown"})
	tests := map[string]struct {
		signed []name.Digest
		nodes  []pipeline.Platform
		want   int
	}{
		"all that can run":                      {[]name.Digest{index, children[0], children[1]}, nodes, 0},
		"the index alone":                       {[]name.Digest{index}, nodes, 2},
		"the images alone":                      {children, nodes, 1},
		"one image is missing":                  {[]name.Digest{index, children[0]}, nodes, 1},
		"it is not for any node":                {[]name.Digest{index, children[0]}, []pipeline.Platform{amd64}, 0},
		"nobody knows the nodes":                {[]name.Digest{index, children[0], children[1]}, nil, 1},
		"nobody knows the nodes, and all three": {[]name.Digest{index, children[0], children[1], children[2]}, nil, 0},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			w.cache = newCache(t, w, limits.Admission{})
			w.with(stand{signature: only(tt.signed...)})
			q := w.question(t, index)
			q.Platforms = tt.nodes
			v, err := w.cache.Judge(t.Context(), q)
			if err != nil || len(v.Findings) != tt.want || v.Holds() != (tt.want == 0) {
				t.Fatalf("%v %v", v.Findings, err)
			}
		})
	}
	t.Run("no node can run it", func(t *testing.T) {
		q := w.question(t, index)
		q.Platforms = []pipeline.Platform{{OS: "windows", Architecture: "amd64"}}
		v, err := w.cache.Judge(t.Context(), q)
		if diff := cmp.Diff([]string{"PlatformMissing"}, reasons(v)); diff != "" || err != nil || v.Holds() {
			t.Fatal(diff, err)
		}
	})
}

// What one authority says of the index, and another of its images, is not the word of either.
func TestOneAuthorityHasToVouchForEverything(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	index, children := w.pushedIndex(t, linux("amd64"))
	w.sign(t, ours, index)
	w.sign(t, theirs, children...)
	q := w.question(t, index)
	q.Policy.Authorities = append(q.Policy.Authorities, w.authority(t, theirs))
	v, err := w.cache.Judge(t.Context(), q)
	if diff := cmp.Diff([]string{"IdentityMismatch", "IdentityMismatch"}, reasons(v)); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	if !strings.HasPrefix(v.Findings[0].Message, ours+": linux/amd64: ") || !strings.HasPrefix(v.Findings[1].Message, theirs+": ") {
		t.Errorf("%q, %q", v.Findings[0].Message, v.Findings[1].Message)
	}
	w.sign(t, theirs, index)
	w.clock.SetTime(w.clock.Now().Add(11 * time.Second))
	if v, err := w.cache.Judge(t.Context(), q); err != nil || !v.Holds() {
		t.Fatalf("%v %v", v.Findings, err)
	}
}

func TestAttestations(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	index, children := w.pushedIndex(t, linux("amd64"), linux("arm64"))
	w.sign(t, ours, append(children, index)...)
	const all, some, whole, old, foreign = "https://x/all", "https://x/some", "https://x/whole", "https://x/whole", "https://x/foreign"
	const twice, severe = "https://x/twice", "https://x/severe"
	w.attest(t, ours, all, `{}`, children...)
	w.attest(t, ours, some, `{}`, children[0])
	w.attest(t, ours, whole, `{}`, index)
	w.attest(t, theirs, foreign, `{}`, index)
	w.attest(t, ours, twice, `{"severity":"low"}`, index)
	w.attest(t, ours, twice, `{"severity":"high"}`, index)
	w.attest(t, ours, severe, `{"severity":"high"}`, index)
	ruled := func(source string) func(*imagepolicy.Attestation) {
		return func(a *imagepolicy.Attestation) {
			var err error
			if a.Rules, err = rules.CompileStatement("package x\n\n" + source); err != nil {
				t.Fatal(err)
			}
		}
	}
	notSevere := ruled(`deny contains msg if {
	input.predicate.severity == "high"
	msg := "it is too severe"
}`)
	asked := func(predicateType string, change func(*imagepolicy.Attestation)) func(*imagepolicy.Authority) {
		return func(a *imagepolicy.Authority) {
			want := imagepolicy.Attestation{Name: "attestations[0]", PredicateType: predicateType, Verifier: w.verifier(t, ours), Flags: []string{"--x=y z"}}
			if change != nil {
				change(&want)
			}
			a.Attestations = append(a.Attestations, want)
		}
	}
	tests := map[string]struct {
		change func(*imagepolicy.Authority)
		want   []string
		says   string
	}{
		"of each image":                  {asked(all, nil), []string{}, ""},
		"of one image of two":            {asked(some, nil), []string{"AttestationMissing"}, "attestations[0]: linux/arm64: "},
		"of the index":                   {asked(whole, nil), []string{}, ""},
		"of another type":                {asked("https://x/al", nil), []string{"AttestationMissing"}, "https://x/al"},
		"by somebody else":               {asked(foreign, nil), []string{"IdentityMismatch"}, theirs},
		"young enough":                   {asked(old, func(a *imagepolicy.Attestation) { a.MaxAge = 2 * time.Hour }), []string{}, ""},
		"too old":                        {asked(old, func(a *imagepolicy.Attestation) { a.MaxAge = time.Minute }), []string{"AttestationRejected"}, "ago; it may be 1m old"},
		"one of two says what is wanted": {asked(twice, notSevere), []string{}, ""},
		"it says something else":         {asked(severe, notSevere), []string{"AttestationRejected"}, "it is too severe"},
		"rules that can't be evaluated": {asked(severe, ruled(`deny contains msg if {
	some i in numbers.range(1, 100000000)
	msg := sprintf("%d", [i])
}`)), []string{"AttestationRejected"}, ""},
		"one that is there, one that isn't": {func(a *imagepolicy.Authority) { asked(all, nil)(a); asked("https://x/none", nil)(a) }, []string{"AttestationMissing"}, "https://x/none"},
		"and no signature": {func(a *imagepolicy.Authority) {
			asked(all, nil)(a)
			a.AttestationsSuffice, a.Verifier = true, nil
		}, []string{}, ""},
	}
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			q := w.question(t, index)
			q.Policy.Hash = desc
			tt.change(&q.Policy.Authorities[0])
			v, err := w.cache.Judge(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, reasons(v)); diff != "" || v.Holds() != (len(tt.want) == 0) {
				t.Fatal(v.Holds(), diff, v.Findings)
			}
			for _, f := range v.Findings {
				if !strings.Contains(f.Message, tt.says) {
					t.Errorf("%q does not say %q", f.Message, tt.says)
				}
				if !strings.HasPrefix(f.Command, "cosign verify-attestation --type https://x/") || !strings.Contains(f.Command, " '--x=y z' ") {
					t.Errorf("command %q", f.Command)
				}
			}
		})
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for desc, tt := range map[string]struct {
		signed time.Time
		want   string
	}{
		"young":        {now.Add(-24 * time.Hour), ""},
		"too old":      {now.Add(-24*time.Hour - time.Second), "it was signed 24h0m1s ago; it may be 24h old"},
		"nobody knows": {time.Time{}, "nobody says when it was signed; it may be 24h old"},
	} {
		t.Run(desc, func(t *testing.T) {
			if err := aged(now, tt.signed, 24*time.Hour); (err != nil) != (tt.want != "") || err != nil && err.Error() != tt.want {
				t.Error(err)
			}
		})
	}
}

// A verdict ends when an attestation gets too old.
func TestAVerdictEndsWithItsAttestation(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	ref := w.pushed(t, "65532", nil)
	w.sign(t, ours, ref)
	w.attest(t, ours, "https://x/all", `{}`, ref)
	q := w.question(t, ref)
	q.Policy.Authorities[0].Attestations = []imagepolicy.Attestation{{Name: "a", PredicateType: "https://x/all", Verifier: w.verifier(t, ours), MaxAge: time.Hour}}
	v, err := w.cache.Judge(t.Context(), q)
	if err != nil || !v.Holds() {
		t.Fatal(v.Findings, err)
	}
	if left := v.Until.Sub(w.clock.Now()); left < 59*time.Minute || left > 61*time.Minute {
		t.Fatalf("it holds for another %s", left)
	}
	w.clock.SetTime(v.Until.Add(-time.Second))
	if v, err := w.cache.Judge(t.Context(), q); err != nil || !v.Holds() {
		t.Fatal(v.Findings, err)
	}
	w.clock.SetTime(v.Until.Add(time.Second))
	if v, err := w.cache.Judge(t.Context(), q); err != nil || v.Holds() {
		t.Fatal("it still holds", err)
	}
}

func TestStaticAuthorities(t *testing.T) {
	pass, fail := imagepolicy.Authority{Name: "pass", Static: &imagepolicy.Static{Pass: true}}, imagepolicy.Authority{Name: "fail", Static: &imagepolicy.Static{Message: "not here"}}
	w := newWorld(t, limits.Admission{})
	unsigned := w.pushed(t, "65532", nil)
	tests := map[string]struct {
		authorities []imagepolicy.Authority
		want        []string
		requests    bool
	}{
		"one passes":                    {[]imagepolicy.Authority{pass}, []string{}, false},
		"one passes, one refuses":       {[]imagepolicy.Authority{fail, pass}, []string{}, false},
		"one refuses":                   {[]imagepolicy.Authority{fail}, []string{"ImageRefused"}, false},
		"one passes, one is not asked":  {[]imagepolicy.Authority{w.authority(t, ours), pass}, []string{}, false},
		"one refuses, and one is asked": {[]imagepolicy.Authority{fail, w.authority(t, ours)}, []string{"SignatureMissing", "ImageRefused"}, true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			q := w.question(t, unsigned)
			q.Policy.Hash, q.Policy.Authorities = desc, tt.authorities
			asked := w.requests(func() {
				v, err := w.cache.Judge(t.Context(), q)
				if diff := cmp.Diff(tt.want, reasons(v)); diff != "" || err != nil || v.Holds() != (len(tt.want) == 0) {
					t.Fatal(diff, err)
				}
			})
			if (len(asked) > 0) != tt.requests {
				t.Errorf("the registry was asked for %q", asked)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	ref := w.pushed(t, "65532", map[string]string{"a": "b"})
	index, children := w.pushedIndex(t, linux("amd64"), linux("arm64"))
	w.sign(t, ours, append(children, ref, index)...)
	w.attest(t, ours, pipeline.PredicateTestResult, `{"result":"PASSED","passedTests":["user","no-shell"]}`, children[0], children[1])
	w.attest(t, ours, pipeline.PredicateTestResult, `{"result":"FAILED","failedTests":["no-shell"]}`, ref)
	runtime := func(no bool) *imagepolicy.Runtime {
		return &imagepolicy.Runtime{Parameters: rules.PodParameters{NoImageShells: no}}
	}
	tests := map[string]struct {
		image   name.Digest
		runtime *imagepolicy.Runtime
		want    rules.ImageFacts
	}{
		"nobody asks for any":     {ref, nil, rules.ImageFacts{}},
		"of an image":             {ref, runtime(false), rules.ImageFacts{Known: true, User: "65532", Labels: map[string]string{"a": "b"}}},
		"a shell was found":       {ref, runtime(true), rules.ImageFacts{Known: true, User: "65532", Labels: map[string]string{"a": "b"}, Shells: rules.ShellsFound}},
		"of an index":             {index, runtime(false), rules.ImageFacts{Known: true, User: "65532", Labels: map[string]string{"same": "x"}}},
		"no image has a shell":    {index, runtime(true), rules.ImageFacts{Known: true, User: "65532", Labels: map[string]string{"same": "x"}, Shells: rules.ShellsNone}},
		"no test says that it is": {children[0], runtime(true), rules.ImageFacts{Known: true, User: "65532", Labels: map[string]string{"platform": "amd64", "same": "x"}, Shells: rules.ShellsNone}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			q := w.question(t, tt.image)
			q.Policy.Hash, q.Policy.Runtime = desc, tt.runtime
			v, err := w.cache.Judge(t.Context(), q)
			if err != nil || !v.Holds() {
				t.Fatal(v.Findings, err)
			}
			if age := w.clock.Now().Sub(v.Facts.SignedAt); age < -time.Minute || age > time.Minute {
				t.Errorf("signed at %s", v.Facts.SignedAt)
			}
			v.Facts.SignedAt = time.Time{}
			if diff := cmp.Diff(tt.want, v.Facts); diff != "" {
				t.Error(diff)
			}
			alone, err := w.cache.Facts(t.Context(), q)
			tt.want.Shells = ""
			if diff := cmp.Diff(tt.want, alone); diff != "" || err != nil {
				t.Error("without a verdict:", diff, err)
			}
		})
	}
}

func TestFactsThatAreNone(t *testing.T) {
	w := newWorld(t, limits.Admission{})
	many := map[string]string{}
	for _, a := range "abcdefghijklmnopqrstuvwxyz" {
		many[string(a)] = strings.Repeat("x", labelBytes)
	}
	tests := map[string]struct {
		image name.Digest
		want  string
	}{
		"too many labels":    {w.pushed(t, "", many), "ImageTooLarge"},
		"a user without end": {w.pushed(t, strings.Repeat("1", labelBytes+1), nil), "ImageTooLarge"},
		"no image":           {w.repository(t, "base/x").Digest("sha256:" + strings.Repeat("0", 64)), "ImageNotFound"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			q := w.question(t, tt.image)
			q.Policy.Runtime = &imagepolicy.Runtime{}
			w.with(stand{signature: good})
			v, err := w.cache.Judge(t.Context(), q)
			if diff := cmp.Diff([]string{tt.want}, reasons(v)); diff != "" || err != nil || v.Holds() {
				t.Error(diff, err)
			}
			if facts, err := w.cache.Facts(t.Context(), q); !pipeline.IsTerminal(err) || facts.Known {
				t.Error(facts, err)
			}
		})
	}
	long, err := w.cache.Facts(t.Context(), func() Question {
		q := w.question(t, w.pushed(t, "1", map[string]string{"long": strings.Repeat("x", 50_000)}))
		q.Policy.Runtime = &imagepolicy.Runtime{}
		return q
	}())
	if err != nil || len(long.Labels["long"]) != labelBytes {
		t.Error(len(long.Labels["long"]), err)
	}
}
