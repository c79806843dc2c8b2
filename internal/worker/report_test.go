package worker

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestReportIsReadBack(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	all := pipeline.ScanReports{SPDX: digest, CycloneDX: digest, Grype: digest, Trivy: digest, SARIF: digest}
	scan := pipeline.WorkerReport{Scan: map[string]pipeline.ScanReports{"linux/amd64": all, "linux/arm64": all}}
	tests := map[string]struct {
		done    pipeline.WorkerReport
		failure error
		want    pipeline.WorkerReport
	}{
		"a digest":                              {pipeline.WorkerReport{Digest: digest}, nil, pipeline.WorkerReport{Digest: digest}},
		"reports of a scan":                     {scan, nil, scan},
		"nothing to say":                        {pipeline.WorkerReport{}, nil, pipeline.WorkerReport{}},
		"a terminal failure":                    {pipeline.WorkerReport{}, pipeline.Terminalf("SourceNotFound", "x"), pipeline.WorkerReport{Reason: "SourceNotFound", Message: "x"}},
		"a transient failure":                   {pipeline.WorkerReport{}, pipeline.Transientf("RegistryUnavailable", "x"), pipeline.WorkerReport{Reason: "RegistryUnavailable", Message: "x", Transient: true}},
		"a failure for another attempt":         {pipeline.WorkerReport{}, pipeline.Retryablef("RegistryUnavailable", "x"), pipeline.WorkerReport{Reason: "RegistryUnavailable", Message: "x", Transient: true}},
		"a terminal failure by a transient one": {pipeline.WorkerReport{}, pipeline.Terminalf("ImageInvalid", "x: %w", pipeline.Transientf("A", "y")), pipeline.WorkerReport{Reason: "ImageInvalid", Message: "x: y"}},
		"a wrapped failure":                     {pipeline.WorkerReport{}, fmt.Errorf("pushing: %w", pipeline.Terminalf("RegistryDenied", "x")), pipeline.WorkerReport{Reason: "RegistryDenied", Message: "pushing: x"}},
		"a defect of ours":                      {pipeline.WorkerReport{}, errors.New("x"), pipeline.WorkerReport{Reason: "InternalError", Message: "x"}},
		"quotes and new lines":                  {pipeline.WorkerReport{}, errors.New("\"a\"\n<b> \\ é"), pipeline.WorkerReport{Reason: "InternalError", Message: "\"a\"\n<b> \\ é"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			var out bytes.Buffer
			if err := Report(&out, tt.done, tt.failure); err != nil {
				t.Fatal(err)
			}
			got, err := pipeline.ParseReport(out.String())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Kubernetes keeps 4096 bytes of a termination message: half a report is none.
func TestReportFits(t *testing.T) {
	for desc, piece := range map[string]string{
		"letters":                   "a",
		"quotes":                    `"`,
		"backslashes":               `\`,
		"control characters":        "\x01",
		"what HTML would misread":   "<&>",
		"line separators":           "\u2028",
		"characters of four bytes":  "\U0001F600",
		"bytes that are no text":    "\xff",
		"a mix that is cut between": "aé\x01\"",
	} {
		for _, n := range []int{1, 300, 682, 1023, 1024, 1025, 4096, 1 << 20} {
			t.Run(fmt.Sprintf("%s, %d times", desc, n), func(t *testing.T) {
				failure := pipeline.Terminalf("RegistryDenied", "pushing: %s", strings.Repeat(piece, n))
				var out bytes.Buffer
				if err := Report(&out, pipeline.WorkerReport{}, failure); err != nil {
					t.Fatal(err)
				}
				if out.Len() > 4096 {
					t.Fatalf("%d bytes", out.Len())
				}
				got, err := pipeline.ParseReport(out.String())
				if err != nil {
					t.Fatal(err)
				}
				if got.Reason != "RegistryDenied" {
					t.Errorf("got %+v", got)
				}
				assertStartOf(t, got.Message, strings.ToValidUTF8(failure.Error(), "�"))
			})
		}
	}
}

// assertStartOf checks that a message is all of a text if that is short, and else its start, of a useful length.
func assertStartOf(t *testing.T, message, text string) {
	t.Helper()
	if len(message) > 1024 || !utf8.ValidString(message) {
		t.Errorf("%d bytes, valid: %t", len(message), utf8.ValidString(message))
	}
	start, cut := strings.CutSuffix(message, "…")
	switch {
	case !strings.HasPrefix(text, start):
		t.Errorf("the message says something else: %q", message)
	case !cut && message != text:
		t.Errorf("nothing shows that the message was cut: %q", message)
	case cut && (len(start) < 500 || len(text) <= 512):
		t.Errorf("%d bytes of %d were kept", len(start), len(text))
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left")

func TestReportThatCanNotBeWritten(t *testing.T) {
	if err := Report(full{}, pipeline.WorkerReport{}, nil); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
