package probe

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	maxZone    = 1 << 20
	maxZoneZip = 8 << 20
)

// zoneDirectories are where programs look for time zones (time, zoneinfo_unix.go).
var zoneDirectories = []string{"/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"}

// zones that must load, with their offset in a summer: a file of another zone is found too.
var zones = []struct {
	name   string
	offset time.Duration
}{{"Europe/Berlin", 2 * time.Hour}, {"America/New_York", -4 * time.Hour}, {"Asia/Tokyo", 9 * time.Hour}, {"UTC", 0}}

var summer = time.Date(2024, time.July, 1, 12, 0, 0, 0, time.UTC)

const zonesFix = "copy complete time zones in, for example COPY --from=… /usr/share/zoneinfo, or take out what promises them"

// timeZones are promised by a directory of them, or by the environment.
func (m Machine) timeZones() Check {
	place, promise := m.zonePlace()
	if place == "" && promise == "" {
		return absent("no time zones, and the environment promises none")
	}
	if place == "" {
		return failed("%s promises time zones, and there are none in %s: %s", promise, zoneDirectories[0], zonesFix)
	}
	read := m.zoneReader(place)
	for _, zone := range zones {
		loaded, err := load(zone.name, read)
		if err != nil {
			return failed("time zone %s does not load from %s: %v; %s", zone.name, place, why(err), zonesFix)
		}
		if _, offset := summer.In(loaded).Zone(); time.Duration(offset)*time.Second != zone.offset {
			return failed("time zone %s of %s is another one: it is %s from UTC in summer, and not %s; %s", zone.name, place, time.Duration(offset)*time.Second, zone.offset, zonesFix)
		}
	}
	if own := m.ownZone(); own != "" {
		if _, err := load(own, read); err != nil {
			return failed("TZ says %s, which does not load from %s: %v; %s", own, place, why(err), zonesFix)
		}
	}
	return passed("%d time zones load from %s", len(zones), place)
}

// zonePlace is where the image has time zones, and what promises them besides.
func (m Machine) zonePlace() (place, promise string) {
	for _, name := range []string{"ZONEINFO", "TZDIR"} {
		if path := m.Getenv(name); path != "" {
			return path, name
		}
	}
	for _, dir := range zoneDirectories {
		if info, err := os.Stat(m.at(dir)); err == nil && info.IsDir() {
			return dir, dir
		}
	}
	if m.ownZone() != "" {
		return "", "TZ"
	}
	return "", ""
}

// ownZone is the zone that TZ names: Area/City, and not a rule such as CET-1CEST or UTC (tzset(3)).
func (m Machine) ownZone() string {
	name := strings.TrimPrefix(m.Getenv("TZ"), ":")
	if filepath.IsAbs(name) || !strings.Contains(name, "/") || !filepath.IsLocal(name) {
		return ""
	}
	return name
}

// load makes a zone of the image's data: time.LoadLocation would take other places' too.
func load(name string, read func(string) ([]byte, error)) (*time.Location, error) {
	data, err := read(name)
	if err != nil {
		return nil, err
	}
	return time.LoadLocationFromTZData(name, data)
}

// zoneReader reads zones from a directory, or from a zip file as Go has one.
func (m Machine) zoneReader(place string) func(string) ([]byte, error) {
	path := m.at(place)
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return func(name string) ([]byte, error) { return readZip(path, name) }
	}
	return func(name string) ([]byte, error) { return readRegular(filepath.Join(path, name), maxZone) }
}

func readZip(path, name string) ([]byte, error) {
	raw, err := readRegular(path, maxZoneZip)
	if err != nil {
		return nil, err
	}
	archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, err
	}
	f, err := archive.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxZone+1))
	if err == nil && len(data) > maxZone {
		return nil, errors.New("is too large")
	}
	return data, err
}
