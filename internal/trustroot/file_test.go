package trustroot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// volume is a ConfigMap as the kubelet mounts it: the file is a link through ..data, which is swapped.
type volume struct {
	t   *testing.T
	dir string
	n   int
}

func (v *volume) put(data []byte) {
	v.t.Helper()
	v.n++
	version := filepath.Join(v.dir, "..version"+strings.Repeat("x", v.n))
	for _, err := range []error{
		os.Mkdir(version, 0o700),
		os.WriteFile(filepath.Join(version, "trusted_root.json"), data, 0o600),
		os.Symlink(filepath.Base(version), filepath.Join(v.dir, "..data_tmp")),
		os.Rename(filepath.Join(v.dir, "..data_tmp"), filepath.Join(v.dir, "..data")),
	} {
		if err != nil {
			v.t.Fatal(err)
		}
	}
}

func newVolume(t *testing.T, data []byte) (*volume, string) {
	t.Helper()
	v := &volume{t: t, dir: t.TempDir()}
	v.put(data)
	path := filepath.Join(v.dir, "trusted_root.json")
	if err := os.Symlink(filepath.Join("..data", "trusted_root.json"), path); err != nil {
		t.Fatal(err)
	}
	return v, path
}

func TestAFileIsReadAgainWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := without(t, "timestampAuthorities")
		v, path := newVolume(t, publicGood)
		told := make(chan Refresh, 1)
		r, err := FromFile(path, Options{Observe: func(f Refresh) { told <- f }})
		if err != nil || current(t, r).Version != version(t, publicGood) {
			t.Fatalf("got %v", err)
		}
		go func() { _ = r.Run(t.Context()) }()
		<-told
		for _, step := range []struct {
			put  []byte
			want string
			told Refresh
		}{
			{publicGood, version(t, publicGood), Refresh{}},
			{second, version(t, second), Refresh{Changed: true}},
			{[]byte("half a fi"), version(t, second), Refresh{Err: errAny}},
			{[]byte("half a fi"), version(t, second), Refresh{Err: errAny, Again: true}},
			{without(t, "ctlogs"), version(t, second), Refresh{Err: errAny}},
			{publicGood, version(t, publicGood), Refresh{Changed: true}},
		} {
			v.put(step.put)
			changed := time.Now()
			last := <-told
			if waited := time.Since(changed); waited != time.Minute {
				t.Errorf("looked at it after %s", waited)
			}
			if (last.Err == nil) != (step.told.Err == nil) || last.Again != step.told.Again || last.Changed != step.told.Changed {
				t.Errorf("told %+v, want %+v", last, step.told)
			}
			if got := current(t, r).Version; got != step.want {
				t.Errorf("got %s, want %s", got, step.want)
			}
		}
	})
}

func TestAFileThatGoesAwayKeepsTheLastGoodOne(t *testing.T) {
	_, path := newVolume(t, publicGood)
	r, err := FromFile(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	err = r.refresh(t.Context())
	if reason(t, err) != pipeline.ReasonTrustRootUnavailable || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	current(t, r)
}

func TestAFileThatIsWrongFromTheStartIsAnError(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	endless := filepath.Join(dir, "endless")
	if err := os.WriteFile(endless, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(endless, 1<<30); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ path, reason string }{
		"it is missing":    {filepath.Join(dir, "missing"), pipeline.ReasonTrustRootUnavailable},
		"it is a folder":   {dir, pipeline.ReasonTrustRootUnavailable},
		"it is a pipe":     {pipe, pipeline.ReasonTrustRootUnavailable},
		"it is no JSON":    {write("text", []byte("x")), pipeline.ReasonTrustRootInvalid},
		"it lacks a part":  {write("part", without(t, "ctlogs")), pipeline.ReasonTrustRootInvalid},
		"it never ends":    {endless, pipeline.ReasonTrustRootInvalid},
		"it is a bit long": {write("long", append([]byte(strings.Repeat(" ", maxBytes)), publicGood...)), pipeline.ReasonTrustRootInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := FromFile(tt.path, Options{})
			if got := reason(t, err); got != tt.reason || r != nil || !strings.Contains(err.Error(), tt.path) {
				t.Errorf("got %s: %v", got, err)
			}
		})
	}
}
