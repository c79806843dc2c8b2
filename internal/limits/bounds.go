package limits

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Maximum has the hard maximum of every limit. It is far above what images need, and low enough that a slip of the
// pen, such as 256Gi for the size of a manifest, is told before it fills a node.
func Maximum() Limits {
	return Limits{
		Source: Source{
			Bytes: 4 << 30, FileBytes: 4 << 30, ReferenceBytes: 512 << 20, ExpandedBytes: 64 << 30,
			Objects: 10_000_000, Files: 1_000_000, Depth: 256,
			ConnectTimeout: Duration(5 * time.Minute), Timeout: Duration(time.Hour),
			StallTimeout: Duration(time.Hour), StallBytes: 64 << 20, RetryAfter: Duration(24 * time.Hour), Parallel: 32,
		},
		Registry: Registry{
			ManifestBytes: 64 << 20, ImageBytes: 64 << 30, Layers: 4096, Entries: 10_000_000, Ratio: 10_000,
			ConnectTimeout: Duration(5 * time.Minute), RequestTimeout: Duration(10 * time.Minute),
			StallTimeout: Duration(time.Hour), StallBytes: 64 << 20,
			Tries: 10, RetryAfter: Duration(24 * time.Hour), RequestsPerHost: 100,
		},
		Build: Build{
			WorkspaceBytes: 64 << 30, LayoutBytes: 256 << 30, MessageBytes: 4 << 10, MessageLines: 100,
			ResolveTimeout: Duration(time.Hour), PassTimeout: Duration(2 * time.Hour),
		},
		Scan: Scan{
			DatabaseBytes: 16 << 30, ExpandedBytes: 64 << 30, ReportBytes: 256 << 20, Matches: 1_000_000,
			VolumeBytes: 256 << 30, DownloadTimeout: Duration(time.Hour),
		},
		Signatures: Signatures{StatementBytes: 64 << 20, Tried: 1024, Referrers: 16384, RequestTimeout: Duration(5 * time.Minute)},
	}
}

// Validate reports every limit that is not positive or above its hard maximum, by the names of its section and of
// itself in JSON. Limits that were left out are to be filled in before: zero is refused.
func (l Limits) Validate(report func(section, field, problem string)) {
	validate(l, Maximum(), report)
}

// validate compares two structs of sections.
func validate(l, most any, report func(section, field, problem string)) {
	set, bounds := reflect.ValueOf(l), reflect.ValueOf(most)
	for i := range set.NumField() {
		section := jsonName(set.Type().Field(i))
		for j := range set.Field(i).NumField() {
			if problem := exceeds(set.Field(i).Field(j), bounds.Field(i).Field(j)); problem != "" {
				report(section, jsonName(set.Field(i).Type().Field(j)), problem)
			}
		}
	}
}

func exceeds(value, most reflect.Value) string {
	switch {
	case value.Int() <= 0:
		return fmt.Sprintf("%v must be more than 0", value)
	case value.Int() > most.Int():
		return fmt.Sprintf("%v is more than the hard maximum of %v", value, most)
	}
	return ""
}

func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
