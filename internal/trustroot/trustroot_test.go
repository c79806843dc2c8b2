package trustroot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/ibshafique/base-images/internal/pipeline"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// without is the public good trust root without some of its lists.
func without(t *testing.T, lists ...string) []byte {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(publicGood, &all); err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		if all[list] == nil {
			t.Fatalf("there is no %s", list)
		}
		delete(all, list)
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func version(t *testing.T, data []byte) string {
	t.Helper()
	s, err := parse(data, "it", noon)
	if err != nil {
		t.Fatal(err)
	}
	return s.Version
}

// current fails the test unless there is a whole trust root.
func current(t *testing.T, r *Root) Snapshot {
	t.Helper()
	s, err := r.Current()
	if err != nil || len(s.Material.FulcioCertificateAuthorities()) == 0 || s.LoadedAt.IsZero() {
		t.Fatalf("got %+v, %v", s, err)
	}
	return s
}

func reason(t *testing.T, err error) string {
	t.Helper()
	fault, ok := errors.AsType[*pipeline.Transient](err)
	if !ok {
		t.Fatalf("got %v (%T), want a transient fault", err, err)
	}
	return fault.Reason
}

func TestParseWantsAllThatVerificationNeeds(t *testing.T) {
	const (
		fulcio  = "the authorities of Fulcio (certificateAuthorities)"
		ct      = "the certificate transparency log (ctlogs)"
		witness = "both Rekor and a timestamp authority (tlogs, timestampAuthorities)"
	)
	for name, tt := range map[string]struct {
		without []string
		lacks   string
	}{
		"all of it":               {nil, ""},
		"a log, no timestamps":    {[]string{"timestampAuthorities"}, ""},
		"timestamps, no log":      {[]string{"tlogs"}, ""},
		"no Fulcio":               {[]string{"certificateAuthorities"}, fulcio},
		"no CT log":               {[]string{"ctlogs"}, ct},
		"no log and no timestamp": {[]string{"tlogs", "timestampAuthorities"}, witness},
		"nothing":                 {[]string{"tlogs", "timestampAuthorities", "ctlogs", "certificateAuthorities"}, fulcio + " and " + ct + " and " + witness},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parse(without(t, tt.without...), "/a/b.json", noon)
			if tt.lacks == "" {
				if err != nil || s.Material == nil || s.LoadedAt != noon {
					t.Errorf("got %+v, %v", s, err)
				}
				return
			}
			if got := reason(t, err); got != pipeline.ReasonTrustRootInvalid || s != nil {
				t.Errorf("got %s, %+v", got, s)
			}
			if want := "/a/b.json lacks " + tt.lacks + ": add what the Sigstore that signs has"; err.Error() != want {
				t.Errorf("got %q, want %q", err, want)
			}
		})
	}
}

func TestParseRefusesWhatIsNoTrustRoot(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing":             nil,
		"no JSON":             []byte("trust me"),
		"another document":    []byte(`{"apiVersion": "v1", "kind": "ConfigMap"}`),
		"another media type":  bytes.Replace(publicGood, []byte("version=0.1"), []byte("version=9.9"), 1),
		"a key that is none":  bytes.Replace(publicGood, []byte(`"rawBytes": "MFkw`), []byte(`"rawBytes": "AAAA`), 1),
		"one that has no end": append(bytes.Clone(publicGood), bytes.Repeat([]byte(" "), maxBytes)...),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parse(data, "it", noon)
			if got := reason(t, err); got != pipeline.ReasonTrustRootInvalid || s != nil {
				t.Errorf("got %s, %+v", got, s)
			}
		})
	}
	largest := append(bytes.Clone(publicGood), bytes.Repeat([]byte(" "), maxBytes-len(publicGood))...)
	if _, err := parse(largest, "it", noon); err != nil {
		t.Errorf("the largest one: %v", err)
	}
}

func TestTheVersionIsThatOfTheContent(t *testing.T) {
	if a, b := version(t, publicGood), version(t, without(t)); a == b || len(a) != len("sha256:")+64 || a != version(t, publicGood) {
		t.Errorf("got %s and %s", a, b)
	}
}

func TestTheTrustRootThatIsCompiledInIsWhole(t *testing.T) {
	s, err := parse(publicGood, "it", noon)
	if err != nil {
		t.Fatal(err)
	}
	valid := func(from, to time.Time) bool { return from.Before(noon) && (to.IsZero() || to.After(noon)) }
	for name, n := range map[string]int{
		"certificate authorities": len(s.Material.FulcioCertificateAuthorities()), "timestamp authorities": len(s.Material.TimestampingAuthorities()),
		"logs": len(s.Material.RekorLogs()), "CT logs": len(s.Material.CTLogs()),
	} {
		if n == 0 {
			t.Errorf("there are no %s", name)
		}
	}
	for _, log := range s.Material.CTLogs() {
		if valid(log.ValidityPeriodStart, log.ValidityPeriodEnd) {
			return
		}
	}
	t.Error("no CT log is valid now")
}

// A newer one is to be taken over with the module that has it.
func TestTheTrustRootThatIsCompiledInIsThatOfTheModule(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/sigstore").Output()
	if err != nil {
		t.Fatalf("looking for the module: %v", err)
	}
	released, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "pkg", "tuf", "repository", "targets", "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(released, publicGood) {
		t.Error("github.com/sigstore/sigstore has another trust root: copy its pkg/tuf/repository/targets/trusted_root.json to public-good")
	}
}

// scripted is a source that has what a test says.
type scripted struct {
	mu   sync.Mutex
	data []byte
	err  error
	// pauses are the numbers of failures that it was asked for.
	pauses []int
	reads  int
}

func (s *scripted) String() string { return "the script" }

func (s *scripted) set(data []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data, s.err = data, err
}

func (s *scripted) pause(failures int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauses = append(s.pauses, failures)
	return time.Minute
}

func (s *scripted) read(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, errors.New("nothing ends this")
	}
	return s.data, s.err
}

func TestTheLastGoodOneStays(t *testing.T) {
	first, second, broken := publicGood, without(t, "timestampAuthorities"), without(t, "ctlogs")
	away := unavailable("away")
	s := &scripted{}
	now := clocktesting.NewFakeClock(noon)
	var told []Refresh
	r := newRoot(s, Options{Clock: now, Observe: func(f Refresh) { told = append(told, f) }})
	if _, err := r.Current(); reason(t, err) != pipeline.ReasonTrustRootUnavailable {
		t.Errorf("before the first refresh: %v", err)
	}
	type after struct {
		version string
		loaded  int
		refresh Refresh
	}
	for _, step := range []struct {
		does string
		data []byte
		err  error
		want after
	}{
		{"is away from the start", nil, away, after{refresh: Refresh{Err: away}}},
		{"is still away", nil, away, after{refresh: Refresh{Err: away, Again: true}}},
		{"comes", first, nil, after{version(t, first), 2, Refresh{Version: version(t, first), Changed: true}}},
		{"stays the same", first, nil, after{version(t, first), 2, Refresh{Version: version(t, first)}}},
		{"goes away", nil, away, after{version(t, first), 2, Refresh{Version: version(t, first), Err: away}}},
		{"is broken", broken, nil, after{version(t, first), 2, Refresh{Version: version(t, first), Err: errAny}}},
		{"is still broken", broken, nil, after{version(t, first), 2, Refresh{Version: version(t, first), Err: errAny, Again: true}}},
		{"is mended", second, nil, after{version(t, second), 7, Refresh{Version: version(t, second), Changed: true}}},
		{"goes away after that", nil, away, after{version(t, second), 7, Refresh{Version: version(t, second), Err: away}}},
	} {
		s.set(step.data, step.err)
		err := r.refresh(t.Context())
		got := told[len(told)-1]
		if (err == nil) != (step.want.refresh.Err == nil) || !errors.Is(got.Err, err) {
			t.Errorf("%s: got %v, told %v", step.does, err, got.Err)
		}
		got.Err = step.want.refresh.Err
		if got != step.want.refresh {
			t.Errorf("%s: told %+v, want %+v", step.does, got, step.want.refresh)
		}
		snapshot, err := r.Current()
		if snapshot.Version != step.want.version || (err == nil) != (step.want.version != "") {
			t.Errorf("%s: got %s, %v, want %s", step.does, snapshot.Version, err, step.want.version)
		}
		if want := noon.Add(time.Duration(step.want.loaded) * time.Hour); err == nil && !snapshot.LoadedAt.Equal(want) {
			t.Errorf("%s: loaded at %s, want %s", step.does, snapshot.LoadedAt, want)
		}
		now.Step(time.Hour)
	}
}

// errAny stands for an error whose text is somebody else's.
var errAny = errors.New("any")

func TestMaterialIsThatOfTheSnapshot(t *testing.T) {
	r := newRoot(&scripted{data: publicGood}, Options{})
	if m, err := r.Material(); err == nil || m != nil {
		t.Errorf("got %v, %v", m, err)
	}
	if err := r.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, err := r.Material(); err != nil || m != current(t, r).Material {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestRunCountsFailuresInARowAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{err: unavailable("away")}
		ctx, cancel := context.WithCancel(t.Context())
		r := newRoot(s, Options{})
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		s.set(publicGood, nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		current(t, r)
		s.set(nil, unavailable("away"))
		time.Sleep(time.Minute)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("got %v", err)
		}
		if want := []int{1, 2, 3, 0, 0, 1}; !slices.Equal(s.pauses, want) || s.reads != len(want) {
			t.Errorf("got %v after %d reads, want %v", s.pauses, s.reads, want)
		}
	})
}

func TestEndingIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := newRoot(&scripted{err: unavailable("away")}, Options{Observe: func(f Refresh) { t.Errorf("told %+v", f) }})
	before := r.state.Load()
	if err := r.Run(ctx); err != nil || r.state.Load() != before {
		t.Errorf("got %v, %+v", err, r.state.Load())
	}
}

// For the race detector.
func TestManyMayAskWhileItChanges(t *testing.T) {
	first, second := publicGood, without(t, "timestampAuthorities")
	s := &scripted{data: first}
	r := newRoot(s, Options{})
	if err := r.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	known := []string{version(t, first), version(t, second)}
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for range 200 {
				if got, err := r.Current(); err != nil || !slices.Contains(known, got.Version) {
					t.Errorf("got %s, %v", got.Version, err)
				}
				if _, err := r.Material(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 50 {
		s.set([][]byte{first, second}[i%2], nil)
		if err := r.refresh(t.Context()); err != nil {
			t.Error(err)
		}
	}
	asking.Wait()
}
