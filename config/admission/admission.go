// Package admission has the policies that keep everybody but the operator from interfering with builds, as they are
// installed. The operator compares those of the cluster with them.
package admission

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

//go:embed children.yaml names.yaml builds.yaml signer.yaml
var files embed.FS

// Guard is one policy and what puts it in force.
type Guard struct {
	Policy  admissionv1.ValidatingAdmissionPolicy
	Binding admissionv1.ValidatingAdmissionPolicyBinding
}

// Guards are those of all files, each of which has a policy and then its binding. They have all fields that the apiserver
// has defaults for.
func Guards() ([]Guard, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, err
	}
	guards := make([]Guard, len(names))
	for i, name := range names {
		if err := guards[i].read(name); err != nil {
			return nil, fmt.Errorf("reading the embedded %s: %w", name, err)
		}
	}
	return guards, nil
}

func (g *Guard) read(name string) error {
	file, err := files.Open(name)
	if err != nil {
		return err
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(file))
	for _, into := range []any{&g.Policy, &g.Binding} {
		document, err := documents.Read()
		if err != nil {
			return err
		}
		if err := yaml.UnmarshalStrict(document, into); err != nil {
			return err
		}
	}
	if _, err := documents.Read(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("there is more than a policy and its binding: %w", err)
	}
	return nil
}
