package scan

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/openvex/go-vex/pkg/vex"
	packageurl "github.com/package-url/packageurl-go"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Bounds of VEX documents. Whoever writes them may be somebody else than who pays for reading them.
const (
	maxDocuments     = 64
	maxDocumentBytes = 1 << 20
	maxStatements    = 10_000
	// maxComparisons of a statement with a package, in one judgement.
	maxComparisons = 1_000_000
)

// VEX is what OpenVEX documents say (https://github.com/openvex/spec/blob/main/OPENVEX-SPEC.md). nil says nothing.
type VEX struct {
	// statements by nameKey of name and aliases of the vulnerability, the newest first.
	statements map[string][]statement
}

type statement struct {
	vex.Statement
	time time.Time
}

// ParseVEX reads OpenVEX documents, which are the values of a ConfigMap. A document that can't be read is a Terminal
// that names its key: it might be the one that says that an image is affected after all.
func ParseVEX(documents map[string][]byte) (*VEX, error) {
	total, parsed, all := 0, &VEX{statements: map[string][]statement{}}, 0
	if len(documents) > maxDocuments {
		return nil, vexInvalid("", "there are %d keys, at most %d are read: put several statements into one document", len(documents), maxDocuments)
	}
	for _, key := range slices.Sorted(maps.Keys(documents)) {
		if total += len(documents[key]); total > maxDocumentBytes {
			return nil, vexInvalid(key, "the documents have more than %d bytes together: leave out statements on what the image does not contain", maxDocumentBytes)
		}
		doc, err := vex.Parse(documents[key])
		if err != nil {
			return nil, vexInvalid(key, "%w: write an OpenVEX document in JSON", err)
		}
		if all += len(doc.Statements); all > maxStatements {
			return nil, vexInvalid(key, "the documents have more than %d statements together: leave out those on what the image does not contain", maxStatements)
		}
		if err := parsed.add(key, doc); err != nil {
			return nil, err
		}
	}
	for name, of := range parsed.statements {
		parsed.statements[name] = newestFirst(of)
	}
	return parsed, nil
}

func vexInvalid(key, format string, args ...any) error {
	where := "spec.scan.vexRef: "
	if key != "" {
		where += "key " + text(key, maxName) + ": "
	}
	return pipeline.Terminalf(pipeline.ReasonVEXInvalid, strings.ReplaceAll(where, "%", "%%")+format, args...)
}

func (x *VEX) add(key string, doc *vex.VEX) error {
	if doc.Context != vex.ContextLocator() {
		return vexInvalid(key, "@context is %q, %q is read", text(doc.Context, maxName), vex.ContextLocator())
	}
	if len(doc.Statements) == 0 { // More likely a slip of the pen than a document that says nothing.
		return vexInvalid(key, "it has no statements: write at least one under \"statements\"")
	}
	for i, s := range doc.Statements {
		at := cmp.Or(timeOf(s.Timestamp), timeOf(doc.Timestamp))
		names := vulnerabilityNames(s.Vulnerability)
		switch err := s.Validate(); {
		case err != nil:
			return vexInvalid(key, "statements[%d]: %s", i, text(err.Error(), 2*maxName))
		case len(names) == 0:
			return vexInvalid(key, "statements[%d]: vulnerability has no name", i)
		case len(s.Products) == 0:
			return vexInvalid(key, "statements[%d]: products is empty: name the image or its packages by package URLs", i)
		case at.IsZero():
			return vexInvalid(key, "statements[%d]: neither it nor the document has a timestamp", i)
		}
		for _, name := range names {
			x.statements[name] = append(x.statements[name], statement{s, at})
		}
	}
	return nil
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func vulnerabilityNames(v vex.Vulnerability) []string {
	var names []string
	for _, name := range append(v.Aliases, v.Name) {
		if name != "" {
			names = add(names, nameKey(string(name)))
		}
	}
	return names
}

// nameKey is an id in one case: as in waivers, it does not matter.
func nameKey(id string) string { return strings.ToLower(id) }

// newestFirst sorts statements. Of two from the same moment, that which rules nothing out is first.
func newestFirst(of []statement) []statement {
	slices.SortStableFunc(of, func(a, b statement) int {
		return cmp.Or(b.time.Compare(a.time), cmp.Compare(rank(a), rank(b)))
	})
	return of
}

func rank(s statement) int {
	if s.rulesOut() {
		return 1
	}
	return 0
}

func (s statement) rulesOut() bool {
	return s.Status == vex.StatusNotAffected || s.Status == vex.StatusFixed
}

// comparison of packages with statements, of which there is a bounded number.
type comparison struct {
	*VEX
	left int
}

// rulesOutEach reports whether each of several lists of ids is ruled out.
func (c *comparison) rulesOutEach(names [][]string, image, pkg []string) bool {
	return !slices.ContainsFunc(names, func(ids []string) bool { return !c.rulesOut(ids, image, pkg) })
}

// rulesOut reports whether the newest statement about a vulnerability of a package in an image says that it is not
// affected, or fixed. image and pkg are the names by which the two may be known.
func (c *comparison) rulesOut(ids, image, pkg []string) bool {
	if c.VEX == nil {
		return false
	}
	var found []statement
	for _, id := range ids {
		if s := c.newest(id, image, pkg); s != nil {
			found = append(found, *s)
		}
	}
	return len(found) > 0 && newestFirst(found)[0].rulesOut()
}

func (c *comparison) newest(id string, image, pkg []string) *statement {
	of := c.statements[nameKey(id)]
	for i := range of {
		if c.about(&of[i], image, pkg) {
			return &of[i]
		}
	}
	return nil
}

// about reports whether a statement is about the package: as the product, or as part of the image, which is the product.
func (c *comparison) about(s *statement, image, pkg []string) bool {
	for i := range s.Products {
		p := &s.Products[i]
		for _, name := range pkg {
			if c.left--; c.left >= 0 && p.Matches(name, "") {
				return true
			}
		}
		for _, of := range image {
			for _, name := range pkg {
				if c.left--; c.left >= 0 && p.Matches(of, name) {
					return true
				}
			}
		}
	}
	return false
}

// imageNames are the names by which a VEX document may call the image of a platform: its repository, with and without
// digest, and its package URL (https://github.com/package-url/purl-spec/blob/main/types-doc/oci-definition.md).
func imageNames(repository, architecture string, digests ...string) []string {
	names := []string{repository}
	for _, digest := range digests {
		if digest == "" {
			continue
		}
		purl := packageurl.NewPackageURL(packageurl.TypeOCI, "", strings.ToLower(path.Base(repository)), digest,
			packageurl.QualifiersFromMap(map[string]string{"repository_url": repository, "arch": architecture}), "")
		names = append(names, repository+"@"+digest, purl.ToString())
	}
	return names
}

// packageNames are a package URL, and the same one with the epoch of its version where the other scanner puts it:
// Syft has it in the version, Trivy beside it.
func packageNames(purl string) []string {
	if purl == "" {
		return nil
	}
	p, err := packageurl.FromString(purl)
	if err != nil {
		return nil
	}
	names, qualifiers := []string{purl}, p.Qualifiers.Map()
	if epoch, version, ok := strings.Cut(p.Version, ":"); ok {
		qualifiers["epoch"], p.Version = epoch, version
	} else if epoch, ok := qualifiers["epoch"]; ok {
		p.Version = epoch + ":" + p.Version
		delete(qualifiers, "epoch")
	} else {
		return names
	}
	p.Qualifiers = packageurl.QualifiersFromMap(qualifiers)
	return append(names, p.ToString())
}
