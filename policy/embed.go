// Package policy holds the rules for Dockerfiles that every build has to pass.
package policy

import _ "embed"

// Base is base.rego: package main, for the embedded OPA and for stock conftest alike.
//
//go:embed base.rego
var Base string
