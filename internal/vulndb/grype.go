package vulndb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
)

const (
	maxListing  = 1 << 20
	grypeDB     = "vulnerability.db"
	sqliteMagic = "SQLite format 3\x00"
)

// listed is what is known of an archive before it is there.
type listed struct {
	location string
	// checksum as sha256:…, and built, are empty if nobody says so.
	checksum string
	built    time.Time
}

// list asks the listing where the archive is, if the location is that of a listing.
func (d *database) list(ctx context.Context) (listed, error) {
	at, err := url.Parse(d.location)
	if err != nil || at.Scheme != "https" && at.Scheme != "http" || path.Ext(at.Path) != ".json" {
		return listed{location: d.location}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.limits.Registry.RequestTimeout.Std())
	defer cancel()
	body, err := d.get(ctx, d.location)
	if err != nil {
		return listed{}, err
	}
	defer func() { _ = body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(body, maxListing+1))
	if err != nil {
		return listed{}, err
	}
	if len(raw) > maxListing {
		return listed{}, invalidf("it has more than %d bytes", maxListing)
	}
	return parseListing(at, raw)
}

var sha256Sum = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// parseListing reads what grype calls a latest document: one archive, by a path beside the listing.
func parseListing(at *url.URL, raw []byte) (listed, error) {
	var doc struct {
		Path, Checksum string
		Built          time.Time
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return listed{}, invalidf("it can't be read: %w", err)
	}
	switch {
	case !fs.ValidPath(doc.Path) || strings.Contains(doc.Path, "://"):
		return listed{}, invalidf("its path %.100q is not one beside it", doc.Path)
	case !sha256Sum.MatchString(doc.Checksum):
		return listed{}, invalidf("its checksum %.100q is not sha256:… in lower case", doc.Checksum)
	case doc.Built.IsZero():
		return listed{}, invalidf("it does not say when the database was built")
	}
	archive := *at
	archive.Path, archive.RawPath = path.Join(path.Dir(at.Path), doc.Path), ""
	return listed{location: archive.String(), checksum: doc.Checksum, built: doc.Built}, nil
}

// checkGrype looks into an archive. One with xz is left to Grype.
func (d *database) checkGrype(archive string) error {
	found := false
	err := d.walk(archive, func(name string, content io.Reader) error {
		if path.Base(name) != grypeDB {
			return nil
		}
		head := make([]byte, len(sqliteMagic))
		_, err := io.ReadFull(content, head)
		if err != nil || !bytes.Equal(head, []byte(sqliteMagic)) {
			return invalidf("its %s is no database of SQLite", grypeDB)
		}
		found = true
		return nil
	})
	if errors.Is(err, errXZ) {
		return nil
	}
	if err == nil && !found {
		return invalidf("it has no %s", grypeDB)
	}
	return err
}
