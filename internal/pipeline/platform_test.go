package pipeline

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePlatform(t *testing.T) {
	for _, want := range Supported {
		got, err := ParsePlatform(want.String())
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v", want, got, err)
		}
	}
	for desc, s := range map[string]string{
		"empty":                     "",
		"an operating system alone": "linux",
		"no architecture":           "linux/",
		"no operating system":       "/amd64",
		"upper case":                "Linux/amd64",
		"another architecture":      "linux/riscv64",
		"another operating system":  "windows/amd64",
		"a variant":                 "linux/arm64/v8",
		"a space":                   "linux/amd64 ",
	} {
		t.Run(desc, func(t *testing.T) {
			got, err := ParsePlatform(s)
			terminal, ok := errors.AsType[*Terminal](err)
			if !ok || terminal.Reason != ReasonUnknownPlatform || got != (Platform{}) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestBuildArgsAndKeysOfAPlatform(t *testing.T) {
	arm64 := Platform{OS: "linux", Architecture: "arm64"}
	want := map[string]string{"TARGETPLATFORM": "linux/arm64", "TARGETOS": "linux", "TARGETARCH": "arm64"}
	if diff := cmp.Diff(want, arm64.BuildArgs()); diff != "" {
		t.Error(diff)
	}
	// A key of a ConfigMap may have no slash.
	if got, want := DockerfileKey(arm64), "Dockerfile.linux-arm64"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
