package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// crd is what the table needs of a CustomResourceDefinition.
type crd struct {
	Spec struct {
		Scope string
		Names struct {
			Kind       string
			ShortNames []string
		}
		Versions []struct {
			Schema struct {
				OpenAPIV3Schema struct{ Description string }
			}
		}
	}
}

func kinds(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "basewright.dev_*.yaml"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("no kinds below %s (%w)", dir, err)
	}
	slices.Sort(files)
	var b strings.Builder
	b.WriteString("| kind | short | scope | what it is |\n|---|---|---|---|\n")
	for _, file := range files {
		row, err := kind(file)
		if err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
		b.WriteString(row)
	}
	return b.String(), nil
}

// kind is the row of one. Its page has to be there.
func kind(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var c crd
	if err := yaml.Unmarshal(raw, &c); err != nil {
		return "", err
	}
	page := "docs/" + strings.ToLower(c.Spec.Names.Kind) + ".md"
	if _, err := os.Stat(page); err != nil {
		return "", fmt.Errorf("the kind has no page: %w", err)
	}
	if len(c.Spec.Versions) != 1 {
		return "", fmt.Errorf("it has %d versions, of which one has to be chosen", len(c.Spec.Versions))
	}
	what, _, _ := strings.Cut(strings.Join(strings.Fields(c.Spec.Versions[0].Schema.OpenAPIV3Schema.Description), " "), ". ")
	return fmt.Sprintf("| [%s](%s) | `%s` | %s | %s |\n", c.Spec.Names.Kind, page, strings.Join(c.Spec.Names.ShortNames, "`, `"), c.Spec.Scope, strings.TrimSuffix(what, ".")), nil
}
