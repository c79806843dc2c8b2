package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// maxDepth of objects and lists in a report.
	maxDepth = 128
	// maxFields of a report as a whole.
	maxFields = 1000
)

// reportKind is one of the files that scanners leave for a platform.
type reportKind struct {
	file, artifact string
	// digest is where that of the artifact belongs.
	digest func(*pipeline.ScanReports) *string
	// fields that tell the kind, and what their values look like; "{" and "[" are those of objects and lists.
	fields map[string]*regexp.Regexp
	// built is when the scanner's database was made. Nil: it has none.
	built func(descriptor json.RawMessage, noted built) (time.Time, error)
}

var (
	anObject = regexp.MustCompile(`^{$`)
	aList    = regexp.MustCompile(`^\[$`)
)

var reportKinds = []reportKind{
	// https://spdx.github.io/spdx-spec/v2.3/document-creation-information
	{file: pipeline.FileSPDX, artifact: pipeline.ArtifactSPDX, digest: func(r *pipeline.ScanReports) *string { return &r.SPDX },
		fields: map[string]*regexp.Regexp{"spdxVersion": regexp.MustCompile(`^SPDX-2\.\d+$`), "SPDXID": regexp.MustCompile(`^SPDXRef-DOCUMENT$`)}},
	// https://cyclonedx.org/docs/1.6/json
	{file: pipeline.FileCycloneDX, artifact: pipeline.ArtifactCycloneDX, digest: func(r *pipeline.ScanReports) *string { return &r.CycloneDX },
		fields: map[string]*regexp.Regexp{"bomFormat": regexp.MustCompile(`^CycloneDX$`), "specVersion": regexp.MustCompile(`^1\.\d+$`)}},
	{file: pipeline.FileGrype, artifact: pipeline.ArtifactGrype, digest: func(r *pipeline.ScanReports) *string { return &r.Grype },
		fields: map[string]*regexp.Regexp{"matches": aList, "descriptor": anObject}, built: grypeBuilt},
	{file: pipeline.FileTrivy, artifact: pipeline.ArtifactTrivy, digest: func(r *pipeline.ScanReports) *string { return &r.Trivy },
		fields: map[string]*regexp.Regexp{"SchemaVersion": regexp.MustCompile(`^2$`), "ArtifactType": regexp.MustCompile(`^container_image$`)}, built: trivyBuilt},
	// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
	{file: pipeline.FileSARIF, artifact: pipeline.ArtifactSARIF, digest: func(r *pipeline.ScanReports) *string { return &r.SARIF },
		fields: map[string]*regexp.Regexp{"version": regexp.MustCompile(`^2\.1\.0$`), "runs": aList}},
}

// check reads a report as far as is needed to tell that it is one, and to its end, and returns when the scanner's database
// was made; the zero time if it has none.
func (k reportKind) check(content io.Reader, noted built) (time.Time, error) {
	top, descriptor, err := readTop(json.NewDecoder(content))
	if err != nil {
		return time.Time{}, invalidReport("it is no JSON as scanners write it: %w", err)
	}
	for _, field := range slices.Sorted(maps.Keys(k.fields)) {
		if value := fmt.Sprint(top[field]); !k.fields[field].MatchString(value) {
			return time.Time{}, invalidReport("its %s is %.100q, which is not of this kind of report", field, value)
		}
	}
	if k.built == nil {
		return time.Time{}, nil
	}
	return k.built(descriptor, noted)
}

// grypeBuilt takes what Grype says of the database that it has used, before what the listing said.
func grypeBuilt(descriptor json.RawMessage, noted built) (time.Time, error) {
	var used struct {
		Name string
		DB   struct{ Status struct{ Built time.Time } }
	}
	if err := json.Unmarshal(descriptor, &used); err != nil {
		return time.Time{}, invalidReport("its descriptor can't be read: %w", err)
	}
	switch {
	case used.Name != "grype":
		return time.Time{}, invalidReport("it is by %.100q instead of grype", used.Name)
	case !used.DB.Status.Built.IsZero():
		return used.DB.Status.Built, nil
	case noted.Grype.IsZero():
		return time.Time{}, invalidReport("it does not say when its database was made")
	}
	return noted.Grype, nil
}

// trivyBuilt goes by the note: Trivy does not say it.
func trivyBuilt(_ json.RawMessage, noted built) (time.Time, error) {
	if noted.Trivy.IsZero() {
		return time.Time{}, errors.New("nothing says when Trivy's database was made")
	}
	return noted.Trivy, nil
}

// readTop reads the fields of an object: each with its value, or the first sign of it if that is an object or a list. Of
// the field descriptor, which is small, all is kept. It keeps nothing else: reports are large.
func readTop(d *json.Decoder) (top map[string]json.Token, descriptor json.RawMessage, err error) {
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, nil, errors.Join(errors.New("it is not an object"), err)
	}
	top = map[string]json.Token{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		field := name.(string) // Names are text.
		if _, twice := top[field]; twice || len(top) == maxFields {
			return nil, nil, fmt.Errorf("it has the field %.100q twice, or more than %d of them", field, maxFields)
		}
		if field == "descriptor" {
			top[field], err = json.Delim('{'), d.Decode(&descriptor)
		} else {
			top[field], err = skip(d)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if _, err := d.Token(); err != nil { // The end of the object.
		return nil, nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("something follows its end")
	}
	return top, descriptor, nil
}

// skip reads a value, and returns its first token.
func skip(d *json.Decoder) (first json.Token, err error) {
	first, err = d.Token()
	for depth := step(first); depth > 0 && err == nil; {
		var next json.Token
		next, err = d.Token()
		if depth += step(next); depth > maxDepth {
			return nil, fmt.Errorf("it is more than %d levels deep", maxDepth)
		}
	}
	return first, err
}

// step is how much deeper a token leads.
func step(t json.Token) int {
	switch t {
	case json.Delim('{'), json.Delim('['):
		return 1
	case json.Delim('}'), json.Delim(']'):
		return -1
	}
	return 0
}
