// Package admission has the policies that keep everybody but the operator from interfering with builds, as they are
// installed. The operator compares those of the cluster with them.
package admission

import "embed"

// Policies are the files with ValidatingAdmissionPolicies and their bindings.
//
//go:embed children.yaml names.yaml builds.yaml signer.yaml
var Policies embed.FS
