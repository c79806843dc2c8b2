package kaniko

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
)

func assertTerminal(t *testing.T, err error, reason string) {
	t.Helper()
	terminal, ok := errors.AsType[*pipeline.Terminal](err)
	if !ok || terminal.Reason != reason {
		t.Errorf("got %v, want a Terminal with reason %s", err, reason)
	}
}

func TestInputSaysWhatToFetch(t *testing.T) {
	when := time.Date(2025, 3, 1, 1, 3, 4, 0, time.UTC)
	tests := map[string]struct {
		options InputOptions
		want    pipeline.WorkerInput
	}{
		"a commit": {
			options: InputOptions{Build: gitBuild(), PrivateHosts: []string{"git.example"}},
			want: pipeline.WorkerInput{
				Git:        &pipeline.GitInput{URL: "https://git.example/images", Ref: "refs/heads/main", Commit: gitBuild().Spec.Inputs.Revision, Path: "wolfi"},
				SourceTime: when, Repository: "registry.example/base/wolfi", PrivateHosts: []string{"git.example"},
			},
		},
		"files by the keys that hold them": {
			options: InputOptions{Build: inlineBuild(), Files: map[string][]byte{"b/c": []byte("2"), "a": []byte("1")}},
			want: pipeline.WorkerInput{
				Files:      map[string]string{"a": "file.0000", "b/c": "file.0001"},
				SourceTime: when, Repository: "registry.example/base/wolfi",
			},
		},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			cm, err := Input(tt.options)
			if err != nil {
				t.Fatal(err)
			}
			var got pipeline.WorkerInput
			if err := json.Unmarshal(cm.BinaryData[pipeline.InputFile], &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			for path, key := range got.Files {
				if !bytes.Equal(cm.BinaryData[key], tt.options.Files[path]) {
					t.Errorf("%s holds %q", key, cm.BinaryData[key])
				}
			}
			if cm.Immutable == nil || !*cm.Immutable {
				t.Error("the ConfigMap can change under a running pod")
			}
		})
	}
}

func TestInputIsTheSameForTheSameFiles(t *testing.T) {
	files := map[string][]byte{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		files[name] = []byte(name)
	}
	first, err := Input(InputOptions{Build: inlineBuild(), Files: files})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := Input(InputOptions{Build: inlineBuild(), Files: files})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestInputFitsIntoAConfigMap(t *testing.T) {
	size := func(o InputOptions) int {
		cm, err := Input(o)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for k, v := range cm.BinaryData {
			total += len(k) + len(v)
		}
		return total
	}
	options := func(filler int) InputOptions {
		return InputOptions{Build: inlineBuild(), Files: map[string][]byte{"a": make([]byte, filler)}}
	}
	room := 1<<20 - size(options(0))
	if _, err := Input(options(room)); err != nil {
		t.Errorf("an input of exactly 1 MiB: %v", err)
	}
	_, err := Input(options(room + 1))
	assertTerminal(t, err, pipeline.ReasonSourceTooLarge)
	byCA := options(room - 100)
	byCA.CABundle = string(make([]byte, 101))
	_, err = Input(byCA)
	assertTerminal(t, err, pipeline.ReasonSourceTooLarge)
}
