package trustroot

import _ "embed"

// publicGood is the trust root of Sigstore's public good instance, with which the operator starts: public keys and
// certificates, as released in the module github.com/sigstore/sigstore (pkg/tuf/repository/targets/trusted_root.json),
// which does not export them. A test fails when the version of that module in go.mod has another one: copy it then. What
// has changed since then comes over TUF.
//
//go:embed public-good/trusted_root.json
var publicGood []byte
