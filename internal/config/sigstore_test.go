package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore-go/pkg/tuf"
)

func TestSigstoreNamesValuesThatAreWrong(t *testing.T) {
	const yours = " is not of Sigstore's public good instance: set trustedRootFile or tuf.mirror to where the trust root of yours is"
	tests := map[string]struct {
		sigstore string
		want     []string
	}{
		"nothing at all": {"{fulcioURL: '', rekorURL: '', tuf: {mirror: ''}, formats: [], audience: '', serviceAccount: {namespace: '', name: ''}}", []string{
			"fulcioURL: is required",
			"timestampURL: is required if rekorURL is empty: without either, nothing says when an image was signed",
			"tuf.mirror: is required",
			"formats: must have Legacy, Bundle or both",
			"audience: is required",
			`serviceAccount.namespace: "" is not the name of a namespace`,
			`serviceAccount.name: "" is not the name of a ServiceAccount`}},
		"plain HTTP": {"{fulcioURL: 'http://fulcio.sigstore.dev', rekorURL: 'http://rekor.sigstore.dev', timestampURL: 'http://timestamp.sigstore.dev', tuf: {mirror: 'http://tuf.example'}}", []string{
			`fulcioURL: "http://fulcio.sigstore.dev" is not of the form https://host`,
			`rekorURL: "http://rekor.sigstore.dev" is not of the form https://host`,
			`timestampURL: "http://timestamp.sigstore.dev" is not of the form https://host/path`,
			`tuf.mirror: "http://tuf.example" is not of the form https://host/path`}},
		"credentials": {"{fulcioURL: 'https://user:secret@fulcio.sigstore.dev', tuf: {mirror: 'https://tuf.example?token=secret'}}", []string{
			"fulcioURL: has a user, a query or a fragment, which are not sent",
			"tuf.mirror: has a user, a query or a fragment, which are not sent"}},
		"services that the public trust root does not know": {"{fulcioURL: 'https://fulcio.example', rekorURL: 'https://rekor.sigstore.dev.example', timestampURL: 'https://evilsigstore.dev/timestamp'}", []string{
			`fulcioURL: "https://fulcio.example"` + yours, `rekorURL: "https://rekor.sigstore.dev.example"` + yours, `timestampURL: "https://evilsigstore.dev/timestamp"` + yours}},
		"the staging instance":     {"{fulcioURL: 'https://fulcio.sigstage.dev'}", []string{`fulcioURL: "https://fulcio.sigstage.dev"` + yours}},
		"a trust root from both":   {"{trustedRootFile: /a, tuf: {mirror: 'https://tuf.example'}}", []string{"tuf: must be left out if trustedRootFile is set: the trust root comes from one of them"}},
		"a file, and another root": {"{trustedRootFile: /a, tuf: {rootFile: /b}}", []string{"tuf: must be left out if trustedRootFile is set: the trust root comes from one of them"}},
		"a root of no repository":  {"{tuf: {rootFile: /b}}", []string{"tuf.mirror: must be that of the repository that rootFile belongs to"}},
		"files that are nowhere": {"{trustedRootFile: trusted_root.json}", []string{
			`trustedRootFile: "trusted_root.json" must be an absolute path in the container, such as /etc/sigstore/trusted_root.json`}},
		"a file that is none":      {`{trustedRootFile: "/a\0"}`, []string{`trustedRootFile: "/a\x00" is not the path of a file`}},
		"a file without end":       {"{tuf: {mirror: 'https://tuf.example', rootFile: /" + strings.Repeat("a", 4096) + "}}", []string{`tuf.rootFile: "/` + strings.Repeat("a", 199) + `"… is not the path of a file`}},
		"formats that are none":    {"{formats: [legacy, Bundle, Bundle]}", []string{`formats[0]: "legacy" must be Legacy or Bundle`, `formats[2]: "Bundle" is that of sigstore.formats[1], too`}},
		"an audience of two words": {"{audience: sig store}", []string{`audience: "sig store" has a space or what can't be printed`}},
		"an audience without end":  {"{audience: " + strings.Repeat("a", 257) + "}", []string{"audience: has 257 bytes, at most 256 are allowed"}},
		"an account that is none": {"{serviceAccount: {namespace: a.b, name: A}}", []string{
			`serviceAccount.namespace: "a.b" is not the name of a namespace`, `serviceAccount.name: "A" is not the name of a ServiceAccount`}},
		"a field that there is not": {"{fulcioUrl: 'https://fulcio.sigstore.dev'}", []string{"fulcioUrl: unknown field; did you mean sigstore.fulcioURL?"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			for i := range tt.want {
				tt.want[i] = "line 6: sigstore." + tt.want[i]
			}
			if diff := cmp.Diff(tt.want, problems(good+"sigstore: "+tt.sigstore)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSigstoresOfAllKinds(t *testing.T) {
	for desc, sigstore := range map[string]string{
		"the public good instance with its timestamps":   "{timestampURL: 'https://timestamp.sigstore.dev/api/v1/timestamp'}",
		"the public good instance without its log":       "{rekorURL: '', timestampURL: 'https://timestamp.sigstore.dev/api/v1/timestamp'}",
		"another log of the public good instance":        "{rekorURL: 'https://log2025-1.Rekor.Sigstore.dev'}",
		"a mirror of the public good instance":           "{tuf: {mirror: 'https://mirror.example/tuf'}}",
		"a private one, its trust root in a file":        "{fulcioURL: 'https://fulcio.example', rekorURL: 'https://10.0.0.1:3000', trustedRootFile: /etc/sigstore/trusted_root.json}",
		"a private one, its trust root in TUF":           "{fulcioURL: 'https://fulcio.example', tuf: {mirror: 'https://tuf.example', rootFile: /etc/sigstore/root.json}}",
		"a private one without a log":                    "{fulcioURL: 'https://fulcio.example', rekorURL: '', timestampURL: 'https://tsa.example', trustedRootFile: /a}",
		"one format, the longest audience":               "{formats: [Legacy], audience: " + strings.Repeat("a", 256) + "}",
		"an account with a dot, in another namespace":    "{serviceAccount: {namespace: signing, name: a.b}}",
		"what is left out, which has the default of all": "~",
	} {
		t.Run(desc, func(t *testing.T) {
			if got := problems(good + "sigstore: " + sigstore); got != nil {
				t.Error(got)
			}
		})
	}
}

func TestPublicGoodTUFIsSigstores(t *testing.T) {
	if PublicGoodTUF != tuf.DefaultMirror {
		t.Errorf("got %s, want %s", PublicGoodTUF, tuf.DefaultMirror)
	}
}

// One configuration must not change another.
func TestTheFormatsOfADefaultAreNotShared(t *testing.T) {
	Default().Sigstore.Formats[0] = "Changed"
	if got := Default().Sigstore.Formats[0]; got != "Legacy" {
		t.Errorf("got %s", got)
	}
}
