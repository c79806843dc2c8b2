package dockerfile

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
)

// byDigest matches what Rewrite may write into a Dockerfile.
var byDigest = regexp.MustCompile(`^[A-Za-z0-9\[][A-Za-z0-9._:/\[\]-]*@sha256:[0-9a-f]{64}$`)

// edit replaces content[start:end].
type edit struct {
	start, end int
	text       string
}

// Rewrite returns the Dockerfile with every external image of the stages that the
// target needs replaced by its pull reference. The keys of pulls are Image.Ref, the values
// repository@sha256:<hex>. A FROM that names a stage through a variable gets the stage's
// name, so that nothing is left to expand. All other bytes stay as they are, except that
// a reference that is split over lines becomes one word.
//
// An image without entry, a value that is not by digest and a result that does not need
// exactly the given pull references are errors.
func (f *File) Rewrite(pulls map[string]string) ([]byte, error) {
	edits, want, err := f.edits(pulls)
	if err != nil {
		return nil, err
	}
	out := apply(f.content, edits)
	if err := f.verify(out, want); err != nil {
		return nil, fmt.Errorf("pinning the images of the Dockerfile: %w", err)
	}
	return out, nil
}

// edits returns the replacements in order, and the images that the result must need.
func (f *File) edits(pulls map[string]string) (edits []edit, want []string, err error) {
	lines := newSource(f.content, f.escape)
	for _, s := range f.stages {
		for _, r := range s.refs {
			text, ok, err := r.replacement(pulls)
			if err != nil {
				return nil, nil, err
			}
			if !ok {
				continue
			}
			start, end, err := lines.locate(r)
			if err != nil {
				return nil, nil, err
			}
			edits = append(edits, edit{start: start, end: end, text: text})
			if r.external && !slices.Contains(want, pulls[r.ref]) {
				want = append(want, pulls[r.ref])
			}
		}
	}
	return edits, want, nil
}

// replacement returns what to write in place of r, if anything.
func (r *reference) replacement(pulls map[string]string) (string, bool, error) {
	if !r.external {
		return r.ref, r.kind == fromBase && r.stage.needed && !plain(r.written), nil
	}
	pull, ok := pulls[r.ref]
	if !ok {
		return "", false, fmt.Errorf("image %q of line %d has no pull reference", r.ref, r.node.StartLine)
	}
	if !byDigest.MatchString(pull) {
		return "", false, fmt.Errorf("pull reference %q of image %q is not repository@sha256:<hex>", pull, r.ref)
	}
	if r.kind == copyFrom {
		pull = copyFlag + pull
	}
	return pull, true, nil
}

// apply makes the replacements, which are in order and do not overlap.
func apply(content []byte, edits []edit) []byte {
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		out.Write(content[at:e.start])
		out.WriteString(e.text)
		at = e.end
	}
	out.Write(content[at:])
	return out.Bytes()
}

// verify reads the result as if it came from a user: it must need the wanted images and
// no other, on the same stages.
func (f *File) verify(out []byte, want []string) error {
	again, err := Parse(out, f.opts)
	if err != nil {
		return fmt.Errorf("reading the result: %w", err)
	}
	var got []string
	for _, image := range again.Images() {
		got = append(got, image.Ref)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the result needs %q instead of %q", got, want)
	}
	if len(again.stages) != len(f.stages) || again.target != f.target {
		return fmt.Errorf("the result has other stages: %q instead of %q", again.names(len(again.stages)), f.names(len(f.stages)))
	}
	return nil
}
