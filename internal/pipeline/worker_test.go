package pipeline

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseReport(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	scanned := func(platform string, digests ...any) string {
		return fmt.Sprintf(`{"scan":{%q:{"spdx":%q,"cyclonedx":%q,"grype":%q,"trivy":%q,"sarif":%q}}}`, append([]any{platform}, digests...)...)
	}
	reports := ScanReports{SPDX: digest, CycloneDX: digest, Grype: digest, Trivy: digest, SARIF: digest}
	padded := func(n int) string { return "{}" + strings.Repeat(" ", n-2) }
	tests := map[string]struct {
		message string
		want    *WorkerReport // nil: refused
	}{
		"a digest":       {fmt.Sprintf("{\"digest\":%q}\n", digest), &WorkerReport{Digest: digest}},
		"a failure":      {`{"reason":"RegistryDenied","message":"a \"b\""}`, &WorkerReport{Reason: "RegistryDenied", Message: `a "b"`}},
		"nothing to say": {"{}", &WorkerReport{}},
		"reports of a scan": {scanned("linux/arm64", digest, digest, digest, digest, digest),
			&WorkerReport{Scan: map[string]ScanReports{"linux/arm64": reports}}},
		"reports of no platform":           {scanned("linux", digest, digest, digest, digest, digest), nil},
		"reports of an unknown platform":   {scanned("linux/mips", digest, digest, digest, digest, digest), nil},
		"reports without SPDX":             {scanned("linux/amd64", "", digest, digest, digest, digest), nil},
		"reports without CycloneDX":        {scanned("linux/amd64", digest, "", digest, digest, digest), nil},
		"reports without Grype's":          {scanned("linux/amd64", digest, digest, "", digest, digest), nil},
		"reports without Trivy's":          {scanned("linux/amd64", digest, digest, digest, "", digest), nil},
		"reports without SARIF":            {scanned("linux/amd64", digest, digest, digest, digest, "sha256:1"), nil},
		"no reports of a platform":         {`{"scan":{"linux/amd64":{}}}`, nil},
		"a field of a later version":       {`{"later":1}`, &WorkerReport{}},
		"exactly 4096 bytes":               {padded(4096), &WorkerReport{}},
		"a byte more":                      {padded(4097), nil},
		"no message":                       {"", nil},
		"a log":                            {"panic: x", nil},
		"half a report":                    {`{"digest":"sha`, nil},
		"two reports":                      {"{}{}", nil},
		"a list":                           {"[]", nil},
		"another type":                     {`{"digest":1}`, nil},
		"a digest without algorithm":       {fmt.Sprintf(`{"digest":%q}`, digest[7:]), nil},
		"a digest that is cut":             {fmt.Sprintf(`{"digest":%q}`, digest[:70]), nil},
		"a digest with more":               {fmt.Sprintf(`{"digest":%q}`, digest+"0"), nil},
		"a digest in upper case":           {fmt.Sprintf(`{"digest":%q}`, "sha256:"+strings.Repeat("A", 64)), nil},
		"a digest on two lines":            {fmt.Sprintf(`{"digest":"%s\n"}`, digest), nil},
		"a reason that is a sentence":      {`{"reason":"it broke"}`, nil},
		"a reason in lower case":           {`{"reason":"broken"}`, nil},
		"a reason that is much too long":   {fmt.Sprintf(`{"reason":"R%s"}`, strings.Repeat("e", 100)), nil},
		"a reason that no condition takes": {`{"reason":"Broken\n"}`, nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			got, err := ParseReport(tt.message)
			if tt.want == nil {
				if err == nil || !reflect.DeepEqual(got, WorkerReport{}) {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if diff := cmp.Diff(*tt.want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}
