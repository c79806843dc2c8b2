package verdict

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/ibshafique/base-images/internal/pipeline"
	"github.com/ibshafique/base-images/internal/registry"
	"github.com/ibshafique/base-images/internal/rules"
)

const (
	// configBytes of an image's config are read. A few KiB are usual.
	configBytes = 1 << 20
	// maxLabels are remembered of an image, and of each value labelBytes; all together take labelsBytes at most.
	maxLabels, labelBytes, labelsBytes = 256, 1 << 10, 16 << 10
)

// facts of an image: of an index, those on which all images agree that nodes can run.
func (r *request) facts(ctx context.Context, look func() (*image, error)) (rules.ImageFacts, error) {
	im, err := look()
	if err != nil {
		return rules.ImageFacts{}, err
	}
	if !im.index {
		return r.config(ctx, im)
	}
	pending := make([]func() (rules.ImageFacts, error), 0, len(im.children))
	for _, c := range im.children {
		pending = append(pending, beside(func() (rules.ImageFacts, error) {
			single, err := r.look(ctx, c.ref)
			if err != nil {
				return rules.ImageFacts{}, err
			}
			return r.config(ctx, single)
		}))
	}
	return agreed(pending)
}

func agreed(pending []func() (rules.ImageFacts, error)) (all rules.ImageFacts, failed error) {
	for i, wait := range pending {
		facts, err := wait()
		if failed == nil {
			failed = err
		}
		if i == 0 {
			all = facts
			continue
		}
		all = agree(all, facts)
	}
	if failed != nil {
		return rules.ImageFacts{}, failed
	}
	return all, nil
}

// agree has what both say. A user that they do not agree on is none that is known.
func agree(a, b rules.ImageFacts) rules.ImageFacts {
	out := rules.ImageFacts{Known: a.Known && b.Known, Labels: maps.Clone(a.Labels)}
	if a.User == b.User {
		out.User = a.User
	}
	maps.DeleteFunc(out.Labels, func(name, value string) bool { return b.Labels[name] != value })
	return out
}

// config of an image of one platform. It is read as container runtimes read it.
func (r *request) config(ctx context.Context, im *image) (rules.ImageFacts, error) {
	if im.index {
		return rules.ImageFacts{}, pipeline.Terminalf(pipeline.ReasonImageInvalid, "reading the manifest of %s: it is an index, where an image is listed", registry.Name(im.ref))
	}
	raw, err := r.source.Blob(ctx, im.ref.Context(), im.config, configBytes)
	if err != nil {
		return rules.ImageFacts{}, err
	}
	return factsOf(im.ref, raw)
}

func factsOf(ref name.Digest, raw []byte) (rules.ImageFacts, error) {
	var c struct {
		Config struct {
			User   string
			Labels map[string]string
		} `json:"config"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return rules.ImageFacts{}, pipeline.Terminalf(pipeline.ReasonImageInvalid, "reading the config of %s: %w", registry.Name(ref), err)
	}
	labels, fits := small(c.Config.Labels)
	if !fits || len(c.Config.User) > labelBytes {
		return rules.ImageFacts{}, pipeline.Terminalf(pipeline.ReasonImageTooLarge, "reading the config of %s: at most %d labels are remembered, of %d bytes together, and a user of %d bytes",
			registry.Name(ref), maxLabels, labelsBytes, labelBytes)
	}
	return rules.ImageFacts{Known: true, User: strings.Clone(c.Config.User), Labels: labels}, nil
}

// small are labels with values that are cut, without what they were read from.
func small(labels map[string]string) (map[string]string, bool) {
	if len(labels) == 0 {
		return nil, true
	}
	if len(labels) > maxLabels {
		return nil, false
	}
	out, bytes := make(map[string]string, len(labels)), 0
	for name, value := range labels {
		value = value[:min(len(value), labelBytes)]
		bytes += len(name) + len(value)
		out[strings.Clone(name)] = strings.ToValidUTF8(strings.Clone(value), "")
	}
	return out, bytes <= labelsBytes
}

// testResult is as much of a statement of pipeline.PredicateTestResult as tells of shells.
type testResult struct {
	Predicate struct {
		PassedTests, FailedTests []string
	}
}

// noShell is the test of internal/runtimetest that looks for shells.
const noShell = "no-shell"

// shellsOf says what a statement says of shells.
func shellsOf(statement []byte) rules.Shells {
	var r testResult
	if json.Unmarshal(statement, &r) != nil {
		return rules.ShellsUnknown
	}
	passed, failed := slices.Contains(r.Predicate.PassedTests, noShell), slices.Contains(r.Predicate.FailedTests, noShell)
	switch {
	case failed:
		return rules.ShellsFound
	case passed:
		return rules.ShellsNone
	}
	return rules.ShellsUnknown
}

// worst of what is said of the shells of two platforms.
func worst(a, b rules.Shells) rules.Shells {
	switch {
	case a == rules.ShellsFound || b == rules.ShellsFound:
		return rules.ShellsFound
	case a == rules.ShellsNone && b == rules.ShellsNone:
		return rules.ShellsNone
	}
	return rules.ShellsUnknown
}
