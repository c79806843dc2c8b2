package scan

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const openvex = `"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.org/1","author":"a","version":1,"timestamp":"2026-01-01T00:00:00Z"`

// statementOf is a statement in JSON.
func statementOf(vulnerability, status, more string, products ...string) string {
	reason := map[string]string{"not_affected": `,"justification":"vulnerable_code_not_in_execute_path"`, "affected": `,"action_statement":"update"`}[status]
	return fmt.Sprintf(`{"vulnerability":{"name":%q},"status":%q%s%s,"products":[%s]}`, vulnerability, status, reason, more, strings.Join(products, ","))
}

func documentOf(statements ...string) string {
	return "{" + openvex + `,"statements":[` + strings.Join(statements, ",") + "]}"
}

func product(id string) string { return fmt.Sprintf(`{"@id":%q}`, id) }

func part(id string, of ...string) string {
	var subs []string
	for _, s := range of {
		subs = append(subs, product(s))
	}
	return fmt.Sprintf(`{"@id":%q,"subcomponents":[%s]}`, id, strings.Join(subs, ","))
}

func at(when string) string { return fmt.Sprintf(`,"timestamp":%q`, when) }

const (
	busybox = "pkg:deb/debian/busybox-static"
	syft    = "pkg:deb/debian/busybox-static@1%3A1.35.0-4?arch=amd64"
	theirs  = "pkg:deb/debian/busybox-static@1.35.0-4?epoch=1"
	oci     = "pkg:oci/wolfi"
)

func judgeWith(t *testing.T, in GateInput, documents ...string) Verdict {
	t.Helper()
	raw := map[string][]byte{}
	for i, d := range documents {
		raw[fmt.Sprintf("%d.json", i)] = []byte(d)
	}
	parsed, err := ParseVEX(raw)
	if err != nil {
		t.Fatal(err)
	}
	in.VEX = parsed
	return Judge(in)
}

func TestVEX(t *testing.T) {
	both := []Vulnerability{vulnerability(Grype, cve, Critical, "2"), vulnerability(Trivy, cve, Critical, "2")}
	no := func(products ...string) string { return documentOf(statementOf(cve, "not_affected", "", products...)) }
	image := oci + "@" + strings.ReplaceAll(digestAMD64, ":", "%3A") + "?repository_url=" + repository
	tests := map[string]struct {
		documents []string
		out       bool
	}{
		"a package without a version":                 {[]string{no(product(busybox))}, true},
		"a package with its version, as Syft has it":  {[]string{no(product(syft))}, true},
		"a package with its version, as Trivy has it": {[]string{no(product(theirs))}, true},
		"a package with a qualifier that Grype's has": {[]string{no(product(busybox + "?distro=debian-12"))}, true},
		"a package with a qualifier of nobody":        {[]string{no(product(busybox + "?distro=debian-13"))}, false},
		"another version":                             {[]string{no(product(busybox + "@1%3A1.36"))}, false},
		"another package":                             {[]string{no(product("pkg:deb/debian/busybox"))}, false},
		"another kind of package":                     {[]string{no(product("pkg:apk/alpine/busybox-static"))}, false},
		"a name that is no package URL":               {[]string{no(product("busybox-static"))}, false},
		"an identifier of the product":                {[]string{no(fmt.Sprintf(`{"@id":"x","identifiers":{"purl":%q}}`, busybox))}, true},
		"fixed":                                       {[]string{documentOf(statementOf(cve, "fixed", "", product(busybox)))}, true},
		"affected":                                    {[]string{documentOf(statementOf(cve, "affected", "", product(busybox)))}, false},
		"under investigation":                         {[]string{documentOf(statementOf(cve, "under_investigation", "", product(busybox)))}, false},
		"another vulnerability":                       {[]string{documentOf(statementOf("CVE-1", "fixed", "", product(busybox)))}, false},
		"an alias of the vulnerability":               {[]string{documentOf(statementOf("ALIAS-1", "fixed", "", product(busybox)))}, true},
		"a statement with it as an alias":             {[]string{documentOf(fmt.Sprintf(`{"vulnerability":{"name":"X-1","aliases":[%q]},"status":"fixed","products":[%s]}`, cve, product(busybox)))}, true},
		"the image":                                   {[]string{no(product(image))}, true},
		"the image by its index":                      {[]string{no(product(oci + "@" + strings.ReplaceAll(digestARM64, ":", "%3A")))}, true},
		"the image by its name":                       {[]string{no(product(oci))}, true},
		"the image by its repository":                 {[]string{no(product(repository))}, true},
		"the image by its repository and digest":      {[]string{no(product(repository + "@" + digestAMD64))}, true},
		"the image on its architecture":               {[]string{no(product(oci + "?arch=amd64"))}, true},
		"the image on another architecture":           {[]string{no(product(oci + "?arch=arm64"))}, false},
		"an image of another repository":              {[]string{no(product(oci + "?repository_url=registry.example/evil/wolfi"))}, false},
		"an image with another digest":                {[]string{no(product(oci + "@sha256%3A" + strings.Repeat("c", 64)))}, false},
		"an image with another name":                  {[]string{no(product("pkg:oci/alpine"))}, false},
		"the package in the image":                    {[]string{no(part(image, busybox))}, true},
		"another package in the image":                {[]string{no(part(image, "pkg:deb/debian/zlib1g"))}, false},
		"the package in another image":                {[]string{no(part("pkg:oci/alpine", busybox))}, false},
		"the package in another package":              {[]string{no(part("pkg:deb/debian/zlib1g", busybox))}, false},
		"one of several products":                     {[]string{no(product("pkg:oci/alpine"), product(busybox))}, true},
		"the newer one says that it is affected":      {[]string{documentOf(statementOf(cve, "fixed", at("2026-02-01T00:00:00Z"), product(busybox)), statementOf(cve, "affected", at("2026-03-01T00:00:00Z"), product(busybox)))}, false},
		"the newer one says that it is fixed":         {[]string{documentOf(statementOf(cve, "fixed", at("2026-03-01T00:00:00Z"), product(busybox)), statementOf(cve, "affected", at("2026-02-01T00:00:00Z"), product(busybox)))}, true},
		"the newer one is in another document":        {[]string{documentOf(statementOf(cve, "fixed", "", product(busybox))), documentOf(statementOf(cve, "affected", at("2026-03-01T00:00:00Z"), product(image)))}, false},
		"the newer one has another name for it":       {[]string{documentOf(statementOf(cve, "fixed", "", product(busybox)), statementOf("ALIAS-1", "affected", at("2026-03-01T00:00:00Z"), product(busybox)))}, false},
		"the newer one is about something else":       {[]string{documentOf(statementOf(cve, "fixed", "", product(busybox)), statementOf(cve, "affected", at("2026-03-01T00:00:00Z"), product("pkg:deb/debian/zlib1g")))}, true},
		"two of the same moment: affected counts":     {[]string{documentOf(statementOf(cve, "fixed", "", product(busybox)), statementOf(cve, "affected", "", product(busybox)))}, false},
		"two of the same moment, the other way round": {[]string{documentOf(statementOf(cve, "affected", "", product(busybox)), statementOf(cve, "fixed", "", product(busybox)))}, false},
		"a time in another zone":                      {[]string{documentOf(statementOf(cve, "fixed", at("2026-03-01T02:00:00+02:00"), product(busybox)), statementOf(cve, "affected", at("2026-03-01T01:00:00Z"), product(busybox)))}, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			in := gate(platform("linux/amd64", both...))
			in.Index = digestARM64
			in.Platforms[0].Grype.Vulnerabilities[0].Aliases = []string{"ALIAS-1"}
			v := judgeWith(t, in, tt.documents...)
			if out := len(v.RuledOut) == 1; out != tt.out || (v.Err() == nil) != tt.out || v.Result().VEX > 0 != tt.out {
				t.Errorf("ruled out: %t, %v", out, v.Err())
			}
		})
	}
}

func TestVEXMayRuleOutOnePlatformOnly(t *testing.T) {
	in := gate(platform("linux/amd64", vulnerability(Grype, cve, Critical, "2")), platform("linux/arm64", vulnerability(Trivy, cve, Medium, "2")))
	v := judgeWith(t, in, documentOf(statementOf(cve, "not_affected", "", product(oci+"?arch=amd64"))))
	if len(v.RuledOut) != 0 || len(v.Findings) != 1 || v.Err() != nil || v.Findings[0].Severity != Medium || len(v.OnlyTrivy) != 1 {
		t.Errorf("got %+v, %v", v.Findings, v.Err())
	}
}

// The same version of a library may be there twice, built for two architectures.
func TestVEXMustRuleOutEachPackage(t *testing.T) {
	other := of(vulnerability(Grype, cve, Critical, "2"), func(v *Vulnerability) { v.PURL = strings.Replace(v.PURL, "amd64", "i386", 1) })
	in := gate(platform("linux/amd64", vulnerability(Grype, cve, Critical, "2"), other))
	for statement, out := range map[string]bool{busybox: true, busybox + "?arch=amd64": false, busybox + "?arch=i386": false} {
		if v := judgeWith(t, in, documentOf(statementOf(cve, "not_affected", "", product(statement)))); (len(v.RuledOut) == 1) != out {
			t.Errorf("%s: ruled out %v", statement, v.RuledOut)
		}
	}
}

func TestVEXIsBeforeWaivers(t *testing.T) {
	in := withPolicy(gate(platform("linux/amd64", vulnerability(Grype, cve, Critical, "2"))), waivers(waiver(cve, "", time.Hour)))
	v := judgeWith(t, in, documentOf(statementOf(cve, "fixed", "", product(busybox))))
	if r := v.Result(); r.Waived != 0 || r.VEX != 1 || len(v.Unused) != 1 || !strings.HasSuffix(v.Message(), "; 1 ruled out by VEX; nothing needs the waiver of "+cve) {
		t.Errorf("got %+v, %s", r, v.Message())
	}
}

func TestVEXThatCannotBeReadIsRefused(t *testing.T) {
	whole := documentOf(statementOf(cve, "fixed", "", product(busybox)))
	tests := map[string]struct{ document, says string }{
		"nothing":              {"", "key a.json: "},
		"no JSON":              {"affected: no", "key a.json: "},
		"an array":             {"[]", "key a.json: "},
		"null":                 {"null", `key a.json: @context is "", "https://openvex.dev/ns/v0.2.0" is read`},
		"something behind it":  {whole + whole, "key a.json: "},
		"another format":       {`{"bomFormat":"CycloneDX"}`, `key a.json: @context is ""`},
		"another version":      {strings.Replace(whole, "v0.2.0", "v0.0.1", 1), `key a.json: @context is "https://openvex.dev/ns/v0.0.1"`},
		"an unknown status":    {strings.Replace(whole, `"fixed"`, `"fine"`, 1), `key a.json: statements[0]: invalid status value "fine"`},
		"no justification":     {strings.Replace(whole, `"fixed"`, `"not_affected"`, 1), "key a.json: statements[0]: either justification or impact statement"},
		"no vulnerability":     {strings.Replace(whole, `"name"`, `"nome"`, 1), "key a.json: statements[0]: vulnerability has no name"},
		"no statements":        {strings.Replace(whole, `"statements"`, `"statments"`, 1), "key a.json: it has no statements"},
		"no products":          {documentOf(statementOf(cve, "fixed", "")), "key a.json: statements[0]: products is empty"},
		"no time":              {strings.Replace(whole, `"timestamp"`, `"time"`, 1), "key a.json: statements[0]: neither it nor the document has a timestamp"},
		"a time that is none":  {strings.Replace(whole, "2026-01-01", "today", 1), "key a.json: "},
		"characters of a kind": {strings.Replace(whole, `"fixed"`, `"%s\u0000\n"`, 1), "key a.json: statements[0]: invalid status value"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, err := ParseVEX(map[string][]byte{"a.json": []byte(tt.document)})
			wantTerminal(t, err, pipeline.ReasonVEXInvalid, false)
			if !strings.Contains(err.Error(), "spec.scan.vexRef: "+tt.says) || strings.ContainsAny(err.Error(), "\n\x00") || strings.Contains(err.Error(), "%!") {
				t.Errorf("got %q", err)
			}
		})
	}
}

func TestVEXIsBounded(t *testing.T) {
	one := statementOf(cve, "fixed", "", product("x"))
	many := func(n int) string { return documentOf(strings.TrimSuffix(strings.Repeat(one+",", n), ",")) }
	short := func(n int) []byte {
		raw, err := json.Marshal(map[string]any{"@context": "https://openvex.dev/ns/v0.2.0", "timestamp": now, "statements": make([]struct{}, n)})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	documents := func(n int) map[string][]byte {
		all := map[string][]byte{}
		for i := range n {
			all[fmt.Sprint(i)] = []byte(documentOf(one))
		}
		return all
	}
	for desc, tt := range map[string]struct {
		documents map[string][]byte
		says      string
	}{
		"too many documents":  {documents(maxDocuments + 1), "there are 65 keys, at most 64 are read"},
		"too many bytes":      {map[string][]byte{"a": []byte(many(1)), "b": []byte(strings.Repeat(" ", maxDocumentBytes))}, "key b: the documents have more than 1048576 bytes together"},
		"too many statements": {map[string][]byte{"a": short(maxStatements + 1)}, "key a: the documents have more than 10000 statements together"},
	} {
		t.Run(desc, func(t *testing.T) {
			_, err := ParseVEX(tt.documents)
			wantTerminal(t, err, pipeline.ReasonVEXInvalid, false)
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := ParseVEX(documents(maxDocuments)); err != nil {
		t.Error(err)
	}
}

// Statements that match nothing, about a vulnerability that is everywhere, must not keep the operator busy.
func TestVEXThatTakesTooLongIsRefused(t *testing.T) {
	var found []Vulnerability
	for i := range 400 {
		found = append(found, of(vulnerability(Grype, cve, Critical, "2"), func(v *Vulnerability) { v.Version = fmt.Sprint(i) }))
	}
	one := statementOf(cve, "fixed", "", product("pkg:x"))
	v := judgeWith(t, gate(platform("linux/amd64", found...)), documentOf(strings.TrimSuffix(strings.Repeat(one+",", 5000), ",")))
	wantTerminal(t, v.Err(), pipeline.ReasonVEXInvalid, false)
}

func TestWithoutVEXNothingIsRuledOut(t *testing.T) {
	parsed, err := ParseVEX(nil)
	if err != nil {
		t.Fatal(err)
	}
	in := gate(platform("linux/amd64", vulnerability(Grype, cve, Critical, "2")))
	in.VEX = parsed
	if v := Judge(in); v.Err() == nil || v.Reason() != v1alpha1.ReasonSucceeded {
		t.Errorf("got %v, %s", v.Err(), v.Reason())
	}
}
