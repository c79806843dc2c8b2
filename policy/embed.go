// Package policy holds the rules for Dockerfiles that every build has to pass, and those for pods.
package policy

import (
	"embed"
)

// Base is base.rego: package main, for the embedded OPA and for stock conftest alike.
//
//go:embed base.rego
var Base string

// Runtime has the modules of package basewright.runtime in the directory runtime, and their tests beside them.
//
//go:embed runtime/*.rego
var Runtime embed.FS
