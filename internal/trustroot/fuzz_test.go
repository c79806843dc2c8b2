package trustroot

import "testing"

// A trust root that is wrong, however it is, ends no process.
func FuzzParse(f *testing.F) {
	f.Add(publicGood)
	for _, hollow := range []string{
		`{}`, `{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "tlogs": [{}], "ctlogs": [{}], "certificateAuthorities": [{}], "timestampAuthorities": [{}]}`,
		`{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "certificateAuthorities": [{"certChain": {"certificates": [{}]}}]}`,
		`{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "timestampAuthorities": [{"certChain": {"certificates": [{}]}}]}`,
		`{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1", "tlogs": [{"hashAlgorithm": "SHA2_256", "publicKey": {"rawBytes": "AA=="}}]}`,
	} {
		f.Add([]byte(hollow))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parse(data, "it", noon)
		if (s == nil) == (err == nil) || s != nil && len(lacks(s.Material)) > 0 {
			t.Errorf("got %+v, %v", s, err)
		}
	})
}
