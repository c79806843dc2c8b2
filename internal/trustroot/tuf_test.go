package trustroot

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// served is a Root that has its trust root from a TUF repository, over HTTP.
func served(t *testing.T, repository *tufRepository) *Root {
	t.Helper()
	server := httptest.NewServer(repository)
	t.Cleanup(server.Close)
	return rootOf(t, repository, TUF{Mirror: server.URL + "/tuf", HTTP: server.Client()}, Options{})
}

func rootOf(t *testing.T, repository *tufRepository, config TUF, o Options) *Root {
	t.Helper()
	dir := t.TempDir()
	config.RootFile, config.CacheDir = filepath.Join(dir, "root.json"), filepath.Join(dir, "cache")
	if err := os.WriteFile(config.RootFile, repository.anchor, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := FromTUF(config, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func refreshed(t *testing.T, r *Root) Snapshot {
	t.Helper()
	if err := r.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return current(t, r)
}

func TestTheTrustRootOfARepository(t *testing.T) {
	repository := newRepository(t, publicGood)
	r := served(t, repository)
	if _, err := r.Current(); reason(t, err) != pipeline.ReasonTrustRootUnavailable || repository.requests() != 0 {
		t.Errorf("before the first refresh: %v", err)
	}
	if got := refreshed(t, r).Version; got != version(t, publicGood) {
		t.Errorf("got %s", got)
	}
	repository.requests()
	for range 3 {
		current(t, r)
	}
	if n := repository.requests(); n != 0 {
		t.Errorf("asking what there is took %d requests", n)
	}
	if refreshed(t, r); repository.requests() != 2 {
		t.Error("an unchanged repository should cost two requests: for another root, and for the timestamp")
	}
}

func TestARepositoryMayChange(t *testing.T) {
	second := without(t, "timestampAuthorities")
	for name, change := range map[string]func(*tufRepository){
		"its trust root":            func(*tufRepository) {},
		"the key of its root":       func(r *tufRepository) { r.rotate(metadata.ROOT) },
		"the key of its timestamps": func(r *tufRepository) { r.rotate(metadata.TIMESTAMP) },
		"all keys, one after the other": func(r *tufRepository) {
			for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
				r.rotate(role)
			}
		},
		"versions that nobody has fetched": func(r *tufRepository) { r.publish(without(t, "tlogs"), inAWeek()) },
	} {
		t.Run(name, func(t *testing.T) {
			repository := newRepository(t, publicGood)
			r := served(t, repository)
			refreshed(t, r)
			change(repository)
			repository.publish(second, inAWeek())
			if got := refreshed(t, r).Version; got != version(t, second) {
				t.Errorf("got %s, want %s", got, version(t, second))
			}
		})
	}
}

// What a repository must not do: the last good one stays.
func TestARepositoryThatIsNotToBeTrusted(t *testing.T) {
	second := without(t, "timestampAuthorities")
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
	}
	for name, tt := range map[string]struct {
		does func(*testing.T, *tufRepository)
		says string
	}{
		"it fails":       {func(_ *testing.T, r *tufRepository) { r.intercept(status(http.StatusServiceUnavailable)) }, "http status code: 503"},
		"it has nothing": {func(_ *testing.T, r *tufRepository) { r.intercept(status(http.StatusNotFound)) }, "http status code: 404"},
		"it has another page": {func(_ *testing.T, r *tufRepository) {
			r.intercept(func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("<html>")); return true })
		}, "invalid character"},
		"it is frozen": {func(_ *testing.T, r *tufRepository) {
			r.publish(second, time.Now().Add(-time.Minute))
		}, "timestamp.json is expired"},
		"it goes back": {func(_ *testing.T, r *tufRepository) {
			r.version -= 2
			r.publish(second, inAWeek())
		}, "must be >="},
		"it is signed by another key": {func(_ *testing.T, r *tufRepository) {
			other := newRepository(r.t, publicGood)
			r.keys[metadata.TIMESTAMP] = other.keys[metadata.TIMESTAMP]
			r.publish(second, inAWeek())
		}, "timestamp"},
		"its trust root is another than it says": {func(_ *testing.T, r *tufRepository) {
			r.publish(second, inAWeek())
			for path := range r.files {
				if strings.HasPrefix(path, "/tuf/targets/") {
					r.files[path] = bytes.Replace(second, []byte("rekor.sigstore.dev"), []byte("rekor.sigstore.bad"), 1)
				}
			}
		}, "hash verification failed"},
		"it has no trust root": {func(t *testing.T, r *tufRepository) {
			r.publish([]byte("x"), inAWeek())
		}, "is not a trust root of Sigstore"},
		"its trust root lacks a part": {func(_ *testing.T, r *tufRepository) { r.publish(without(r.t, "ctlogs"), inAWeek()) }, "lacks the certificate transparency log"},
		"its trust root is huge":      {func(_ *testing.T, r *tufRepository) { r.publish(make([]byte, maxAnswer+1), inAWeek()) }, "has more than 8388608 bytes"},
		"its answers have no end": {func(_ *testing.T, r *tufRepository) {
			r.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
				for block := make([]byte, 1<<16); ; {
					if _, err := w.Write(block); err != nil {
						return true
					}
				}
			})
		}, "has more than 512000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			repository := newRepository(t, publicGood)
			repository.publish(publicGood, inAWeek())
			repository.publish(publicGood, inAWeek())
			r := served(t, repository)
			before := refreshed(t, r)
			tt.does(t, repository)
			err := r.refresh(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q in it", err, tt.says)
			}
			if got := reason(t, err); got != pipeline.ReasonTrustRootInvalid && got != pipeline.ReasonTrustRootUnavailable {
				t.Errorf("got %s", got)
			}
			if current(t, r) != before {
				t.Error("the last good one is gone")
			}
			repository.intercept(nil)
		})
	}
}

func TestARepositoryThatNobodyReaches(t *testing.T) {
	repository := newRepository(t, publicGood)
	server := httptest.NewServer(repository)
	server.Close()
	r := rootOf(t, repository, TUF{Mirror: server.URL + "/tuf", HTTP: server.Client()}, Options{})
	for range 2 {
		err := r.refresh(t.Context())
		host := strings.TrimPrefix(server.URL, "http://")
		if want := "fetching the trust root of " + server.URL + "/tuf: dial " + host + ": connect: connection refused"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if _, current := r.Current(); !errors.Is(current, err) {
			t.Errorf("who asks is told %v", current)
		}
	}
}

// The time of a refresh ends also when a repository sends a byte now and then.
func TestARefreshEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repository := newRepository(t, publicGood)
		hangs := roundTrip(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		r := rootOf(t, repository, TUF{Mirror: "https://tuf.example", HTTP: &http.Client{Transport: hangs}}, Options{})
		began := time.Now()
		err := r.refresh(t.Context())
		if !errors.Is(err, errTooLong) || reason(t, err) != pipeline.ReasonTrustRootUnavailable || time.Since(began) != refreshTimeout {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

func TestTheRepositoryIsLookedAtEveryDayAndSoonerAfterFailures(t *testing.T) {
	for failures, longest := range map[int]time.Duration{
		0: 24 * time.Hour, 1: time.Minute, 2: 2 * time.Minute, 3: 4 * time.Minute, 6: 32 * time.Minute, 7: time.Hour, 8: time.Hour, 1 << 40: time.Hour,
	} {
		seen := map[time.Duration]bool{}
		for range 100 {
			pause := (&repository{}).pause(failures)
			if pause > longest || pause <= longest-longest/10 {
				t.Fatalf("after %d failures: %s", failures, pause)
			}
			seen[pause] = true
		}
		if len(seen) < 10 {
			t.Errorf("after %d failures: the pause is always one of %d", failures, len(seen))
		}
	}
}

func TestRunGoesOnUntilTheRepositoryAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repository := newRepository(t, publicGood)
		repository.intercept(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true })
		r := rootOf(t, repository, TUF{Mirror: "https://tuf.example/tuf", HTTP: &http.Client{Transport: repository}}, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = r.Run(ctx) }()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := repository.requests(); n < 3 || n > 4 {
			t.Errorf("asked %d times in five minutes", n)
		}
		repository.intercept(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		current(t, r)
		repository.requests()
		time.Sleep(20 * time.Hour)
		synctest.Wait()
		if n := repository.requests(); n != 0 {
			t.Errorf("asked %d times within a day", n)
		}
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if n := repository.requests(); n != 2 {
			t.Errorf("asked %d times, want a refresh each day", n)
		}
		cancel()
	})
}

func TestThePublicGoodInstanceIsThereFromTheStart(t *testing.T) {
	never := roundTrip(func(req *http.Request) (*http.Response, error) {
		t.Errorf("asked for %s", req.URL)
		return nil, http.ErrServerClosed
	})
	r, err := FromTUF(TUF{Mirror: "https://tuf.example", CacheDir: t.TempDir(), HTTP: &http.Client{Transport: never}}, Options{})
	if err != nil || current(t, r).Version != version(t, publicGood) {
		t.Errorf("got %v", err)
	}
}

// A mirror of somebody else can't replace it.
func TestAMirrorIsTrustedByTheRootOfThePublicGoodInstance(t *testing.T) {
	other := newRepository(t, without(t, "tlogs"))
	r, err := FromTUF(TUF{Mirror: "https://tuf.example/tuf", CacheDir: t.TempDir(), HTTP: &http.Client{Transport: other}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.refresh(t.Context()); err == nil || other.requests() == 0 || current(t, r).Version != version(t, publicGood) {
		t.Errorf("got %v", err)
	}
}

func TestARootFileThatIsWrongIsAnErrorAtOnce(t *testing.T) {
	dir := t.TempDir()
	repository := newRepository(t, publicGood)
	for name, data := range map[string][]byte{
		"it is missing":      nil,
		"it is a trust root": publicGood,
		"it is a timestamp":  repository.files["/tuf/timestamp.json"],
		"it never ends":      append(bytes.Clone(repository.anchor), bytes.Repeat([]byte(" "), maxBytes)...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if data != nil {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			r, err := FromTUF(TUF{Mirror: "https://tuf.example", RootFile: path, CacheDir: dir, HTTP: http.DefaultClient}, Options{})
			if err == nil || r != nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "https://tuf.example") {
				t.Errorf("got %v", err)
			}
		})
	}
}
