package codescanning

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Limits of GitHub
// (https://docs.github.com/en/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning).
// Of more than 5,000 results it shows the worst 5,000.
const (
	maxCompressed = 10_000_000
	maxRuns       = 20
	maxResults    = 25_000
	// maxSARIF is ours: it is held several times over while it is rewritten.
	maxSARIF = 32 << 20
)

// Parts of SARIF 2.1.0 that are looked at (https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html). What is not
// is passed on as it is.
type (
	fields   = map[string]json.RawMessage
	location struct {
		Physical struct {
			Artifact artifact        `json:"artifactLocation"`
			Region   json.RawMessage `json:"region,omitempty"`
		} `json:"physicalLocation"`
		Message json.RawMessage `json:"message,omitempty"`
	}
	artifact struct {
		URI    string `json:"uri"`
		BaseID string `json:"uriBaseId,omitempty"`
	}
)

// compressed is the SARIF that GitHub gets: with the category of the analysis, without which a second upload for a commit
// would replace the first one; with alerts that point to a file of the repository; and with the fingerprints by which
// GitHub knows an alert again.
func compressed(r Request) ([]byte, error) {
	if len(r.SARIF) > maxSARIF {
		return nil, refused("Trivy's findings have %d bytes, at most %d are uploaded: update the packages that have the most, or leave out spec.scan.github", len(r.SARIF), maxSARIF)
	}
	rewritten, err := rewrite(r)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compressing SARIF: %w", err)
	}
	if err := json.NewEncoder(w).Encode(rewritten); err != nil {
		return nil, fmt.Errorf("compressing SARIF: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compressing SARIF: %w", err)
	}
	if out.Len() > maxCompressed {
		return nil, tooLarge(out.Len())
	}
	return out.Bytes(), nil
}

func tooLarge(size int) error {
	return refused("Trivy's findings have %d bytes, GitHub takes %d when they are compressed: update the packages that have the most, or leave out spec.scan.github", size, maxCompressed)
}

// rewrite leaves encoding to the caller, which needs no copy of the whole.
func rewrite(r Request) (any, error) {
	var log fields
	if err := json.Unmarshal(r.SARIF, &log); err != nil {
		return nil, notSARIF(err)
	}
	var version string
	if err := json.Unmarshal(log["version"], &version); err != nil || version != "2.1.0" {
		return nil, notSARIF(fmt.Errorf("its version is %q", text(string(log["version"]))))
	}
	var runs []fields
	if err := json.Unmarshal(log["runs"], &runs); err != nil {
		return nil, notSARIF(err)
	}
	if len(runs) == 0 || len(runs) > maxRuns {
		return nil, notSARIF(fmt.Errorf("it has %d runs, GitHub takes 1 to %d", len(runs), maxRuns))
	}
	delete(log, "runs") // One copy less to hold.
	for _, run := range runs {
		if err := r.rewriteRun(run); err != nil {
			return nil, err
		}
	}
	rewritten := map[string]any{"runs": runs}
	for name, raw := range log {
		rewritten[name] = raw
	}
	return rewritten, nil
}

func notSARIF(err error) error {
	return pipeline.Terminalf(pipeline.ReasonReportInvalid, "Trivy's findings are not SARIF that GitHub takes: %w: request a new build", err)
}

func (r Request) rewriteRun(run fields) error {
	var results []fields
	if err := json.Unmarshal(run["results"], &results); err != nil {
		return notSARIF(err)
	}
	delete(run, "results")
	if len(results) > maxResults {
		return refused("Trivy has %d findings, GitHub takes %d: update the packages that have the most, or leave out spec.scan.github", len(results), maxResults)
	}
	for i := range results {
		if results[i] == nil {
			return notSARIF(fmt.Errorf("results[%d] is null", i))
		}
		if err := r.rewriteResult(results[i]); err != nil {
			return err
		}
	}
	if results == nil {
		results = []fields{}
	}
	run["results"] = encode(results)
	// GitHub takes what is before the last slash for the category.
	run["automationDetails"] = encode(map[string]string{"id": r.Category + "/"})
	return nil
}

func (r Request) rewriteResult(result fields) error {
	var locations []location
	if raw, ok := result["locations"]; ok {
		if err := json.Unmarshal(raw, &locations); err != nil {
			return notSARIF(err)
		}
	}
	if _, ok := result["partialFingerprints"]; !ok {
		result["partialFingerprints"] = encode(map[string]string{"primaryLocationLineHash": fingerprint(result, locations)})
	}
	if r.Path == "" || len(locations) == 0 {
		return nil
	}
	for i := range locations {
		locations[i].Physical.Artifact = artifact{URI: r.Path}
	}
	result["locations"] = encode(locations)
	return nil
}

// fingerprint stays the same for a vulnerability of a package, whatever its version: Trivy names the package in the first
// line of the message.
func fingerprint(result fields, locations []location) string {
	var message struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(result["message"], &message) // Without a message it is still the same each time.
	first, _, _ := strings.Cut(message.Text, "\n")
	at := ""
	if len(locations) > 0 {
		at = locations[0].Physical.Artifact.URI
	}
	sum := sha256.Sum256([]byte(string(result["ruleId"]) + "\x00" + at + "\x00" + first))
	return fmt.Sprintf("%x:1", sum[:8])
}

// encode encodes what was decoded before.
func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic("encoding what was decoded: " + err.Error()) // Unreachable.
	}
	return raw
}
