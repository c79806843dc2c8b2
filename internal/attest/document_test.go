package attest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ibshafique/base-images/internal/pipeline"
)

func nested(levels int) string {
	return `{"a":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1) + `}`
}

// members of an object.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"x%d":1`, i)
	}
	return b.String()
}

func TestDocumentsThatVerifiersReadDifferently(t *testing.T) {
	tests := map[string]struct {
		document string
		refused  bool
	}{
		"an object":                             {`{"a":{"b":[1,-2.5e3,true,null,"c"]},"b":{}}`, false},
		"white space around":                    {" \t\r\n{}\n", false},
		"nothing":                               {"", true},
		"only white space":                      {"\n", true},
		"an array":                              {`[{}]`, true},
		"a string":                              {`"{}"`, true},
		"null":                                  {`null`, true},
		"text":                                  {`SPDXVersion: SPDX-2.3`, true},
		"cut off":                               {`{"a":`, true},
		"a second document":                     {`{}{}`, true},
		"something after it":                    {`{} x`, true},
		"a trailing comma":                      {`{"a":1,}`, true},
		"a byte order mark":                     {"\ufeff{}", true},
		"Latin 1":                               {"{\"a\":\"\xe9\"}", true},
		"one name twice":                        {`{"a":1,"a":2}`, true},
		"one name twice, once escaped":          {`{"a":1,"\u0061":2}`, true},
		"one name twice, deep inside":           {`{"x":[{"y":{"a":1,"b":2,"a":3}}]}`, true},
		"one name twice, far apart":             {`{"a":1` + members(manyNames*2) + `,"a":2}`, true},
		"names of a large object once more":     {`{"a":{"b":1` + members(manyNames*2) + `},"c":{"b":1` + members(manyNames*2) + `},"d":{"x1":1}}`, false},
		"a name of the object around, after":    {`{"a":{"b":1},"b":{"a":1}}`, false},
		"a name twice around an object":         {`{"a":{"b":1},"b":1,"a":1}`, true},
		"a colon in a string":                   {`{"a":"b\":","c":["a:","a:"],"d" : "a"}`, false},
		"one name twice, before spaces":         {"{\"a\" \r\n\t:1,\"a\":1}", true},
		"one name in two objects":               {`{"a":{"a":1},"b":[{"a":1},{"a":2}]}`, false},
		"strings that come twice in an array":   {`{"a":["b","b"]}`, false},
		"as deep as may be":                     {nested(maxDepth), false},
		"a level too deep":                      {nested(maxDepth + 1), true},
		"endlessly deep":                        {nested(1_000_000), true},
		"a number of a billion digits":          {`{"a":1e1000000000}`, true},
		"a number that is not small":            {`{"a":123456789012345678901234567890}`, false},
		"a character in two halves":             {`{"a":"\ud83d\ude00"}`, false},
		"the first half of a character":         {`{"a":"\ud83d"}`, true},
		"the first half, and another character": {`{"a":"\ud83d\u0041"}`, true},
		"the first half, and a line break":      {`{"a":"\ud83d\n"}`, true},
		"the second half of a character":        {`{"a":"\\\uDE00"}`, true},
		"halves in a name":                      {`{"\udead":1}`, true},
		"a backslash before a u":                {`{"a":"\\ud83d"}`, false},
		"a NUL":                                 {`{"a":"\u0000"}`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := checked("it", []byte(tt.document))
			if (err != nil) != tt.refused {
				t.Fatalf("got %v", err)
			}
			if f, ok := errors.AsType[*pipeline.Terminal](err); tt.refused && (!ok || f.Reason != pipeline.ReasonReportInvalid) {
				t.Errorf("the fault is %#v", err)
			}
			if err == nil {
				readable(t, []byte(tt.document))
			}
		})
	}
}

// readable: what is accepted can be read by the strictest reader that verifiers use.
func readable(t *testing.T, document []byte) {
	t.Helper()
	if err := protojson.Unmarshal(document, &structpb.Struct{}); err != nil {
		t.Errorf("accepted, and verifiers say: %v", err)
	}
}

func FuzzWhatIsAcceptedCanBeRead(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":1,"a":2}`, `{"a":"\ud83d"}`, `{"a":"\\\ud83d\ude00"}`, `{"a":1e999}`, nested(maxDepth), `{"a":[{"b":null}]}`, "{\"a\" :1,\"\\u0061\"\n:[2,{}]}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		if check(document) == nil {
			readable(t, document)
		}
	})
}

func TestEveryStatementOfADocumentIsChecked(t *testing.T) {
	makers := map[string]func([]byte) (pipeline.Statement, error){
		"SPDX":       func(raw []byte) (pipeline.Statement, error) { return SPDX(platform(), raw) },
		"CycloneDX":  func(raw []byte) (pipeline.Statement, error) { return CycloneDX(platform(), raw) },
		"TestResult": func(raw []byte) (pipeline.Statement, error) { return TestResult(platform(), raw) },
		"Grype":      func(raw []byte) (pipeline.Statement, error) { return Vulnerabilities(scanOf(Grype, raw)) },
		"Trivy":      func(raw []byte) (pipeline.Statement, error) { return Vulnerabilities(scanOf(Trivy, raw)) },
	}
	good := map[string]string{
		"SPDX": spdx, "CycloneDX": `{"bomFormat":"CycloneDX"}`, "TestResult": testResult,
		"Grype": `{"descriptor":{"name":"grype"}}`, "Trivy": `{"SchemaVersion":2}`,
	}
	large := `{"x":"` + strings.Repeat("x", maxDocument) + `"}`
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			if _, err := make([]byte(good[name])); err != nil {
				t.Errorf("a good one: %v", err)
			}
			for other, document := range good {
				if other != name {
					refused(t, "what belongs to "+other, pipeline.ReasonReportInvalid, make, document)
				}
			}
			refused(t, "a name that comes twice", pipeline.ReasonReportInvalid, make, strings.TrimSuffix(good[name], "}")+`,"x":1,"x":2}`)
			refused(t, "an array", pipeline.ReasonReportInvalid, make, "["+good[name]+"]")
			refused(t, "an empty object", pipeline.ReasonReportInvalid, make, "{}")
			refused(t, "one that is too large", pipeline.ReasonAttestationTooLarge, make, large)
		})
	}
}

func refused(t *testing.T, what, reason string, statement func([]byte) (pipeline.Statement, error), document string) {
	t.Helper()
	st, err := statement([]byte(document))
	if f, ok := errors.AsType[*pipeline.Terminal](err); !ok || f.Reason != reason || st.Payload != nil {
		t.Errorf("%s: got %.100s, %v", what, st.Payload, err)
	}
}

func TestVersionsThatAreNone(t *testing.T) {
	tests := map[string]struct {
		report  string
		refused bool
	}{
		"a version of Grype that is a book":  {`{"descriptor":{"name":"grype","version":"` + strings.Repeat("9", maxVersion+1) + `"}}`, false},
		"a version of Grype that is a list":  {`{"descriptor":{"name":"grype","version":[]}}`, true},
		"a descriptor that is not an object": {`{"descriptor":"grype"}`, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			st, err := Vulnerabilities(scanOf(Grype, []byte(tt.report)))
			if (err != nil) != tt.refused {
				t.Fatal(err)
			}
			if err == nil && !strings.Contains(string(st.Payload), `"version":"",`) {
				t.Errorf("got %s", st.Payload)
			}
		})
	}
}
