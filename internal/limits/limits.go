// Package limits holds the bounds of everything that is read from outside: sizes, counts and times, with
// their defaults and hard maxima. They are the section "limits" of the operator's configuration, and are handed to build pods.
package limits

import (
	"cmp"
	"time"
)

// Limits of one installation. Zero fields have their defaults, see WithDefaults.
type Limits struct {
	// Source bounds git repositories and build contexts.
	Source Source `json:"source,omitzero"`
	// Registry bounds what registries are asked and what they answer.
	Registry Registry `json:"registry,omitzero"`
	// Build bounds build pods and the passes over builds.
	Build Build `json:"build,omitzero"`
	// Scan bounds vulnerability databases and reports.
	Scan Scan `json:"scan,omitzero"`
	// Signatures bounds signatures and attestations.
	Signatures Signatures `json:"signatures,omitzero"`
}

// Source bounds git repositories and build contexts.
type Source struct {
	// Bytes is the most that is read from a git server for one fetch, and the largest context. Default: 256Mi; at most 4Gi.
	Bytes Bytes `json:"bytes,omitzero"`
	// FileBytes is the largest single file. Default: 64Mi; at most 4Gi.
	FileBytes Bytes `json:"fileBytes,omitzero"`
	// ReferenceBytes is the largest list of references. Default: 32Mi, about 400,000 of them; at most 512Mi.
	ReferenceBytes Bytes `json:"referenceBytes,omitzero"`
	// ExpandedBytes are all objects of a fetch, decompressed. Default: 4Gi; at most 64Gi.
	ExpandedBytes Bytes `json:"expandedBytes,omitzero"`
	// Objects of a fetch. Default: 500000; at most 10000000.
	Objects int `json:"objects,omitzero"`
	// Files, links and directories of a context. Default: 20000; at most 1000000.
	Files int `json:"files,omitzero"`
	// Depth of directories of a context. Default: 64; at most 256.
	Depth int `json:"depth,omitzero"`
	// ConnectTimeout of a connection to a git server, with its handshake. Default: 30s; at most 5m.
	ConnectTimeout Duration `json:"connectTimeout,omitzero"`
	// Timeout of everything about one source together. Default: 5m; at most 1h.
	Timeout Duration `json:"timeout,omitzero"`
	// StallTimeout ends a listing of references or the reading of objects that brings less than StallBytes in this time,
	// once it has begun; it has to begin within four times as long. Default: 30s; at most 1h.
	StallTimeout Duration `json:"stallTimeout,omitzero"`
	// StallBytes is what a git server must send in each StallTimeout. Default: 64Ki; at most 64Mi.
	StallBytes Bytes `json:"stallBytes,omitzero"`
	// RetryAfter is the longest pause that a git server can ask for. Default: 1h; at most 24h.
	RetryAfter Duration `json:"retryAfter,omitzero"`
	// Parallel is how many repositories the operator reads at a time; one tenant, all but one of them. Default: 2; at most 32.
	Parallel int `json:"parallel,omitzero"`
}

// Registry bounds what registries are asked and what they answer.
type Registry struct {
	// ManifestBytes of one manifest, index or image config. Default: 4Mi, the size that the distribution
	// specification asks registries to accept; at most 64Mi.
	ManifestBytes Bytes `json:"manifestBytes,omitzero"`
	// ImageBytes of all layers of one image, compressed and, when read, decompressed. Default: 4Gi; at most 64Gi.
	ImageBytes Bytes `json:"imageBytes,omitzero"`
	// Layers of one image. Default: 512; at most 4096.
	Layers int `json:"layers,omitzero"`
	// Entries of all layers' archives of one image. Default: 500000; at most 10000000.
	Entries int `json:"entries,omitzero"`
	// Ratio of decompressed to compressed bytes of one layer, looked at after its first 64 MiB. Default: 300; at most 10000.
	Ratio int `json:"ratio,omitzero"`
	// ConnectTimeout of a connection. Default: 5s; at most 5m.
	ConnectTimeout Duration `json:"connectTimeout,omitzero"`
	// RequestTimeout of an operation on one manifest, retries included. Default: 30s; at most 10m.
	RequestTimeout Duration `json:"requestTimeout,omitzero"`
	// StallTimeout ends the download of a layer that brings less than StallBytes in this time. Default: 1m; at most 1h.
	StallTimeout Duration `json:"stallTimeout,omitzero"`
	// StallBytes is what a layer must bring in each StallTimeout. Default: 256Ki; at most 64Mi.
	StallBytes Bytes `json:"stallBytes,omitzero"`
	// Tries of one request. Default: 3; at most 10.
	Tries int `json:"tries,omitzero"`
	// RetryAfter is the longest pause that a registry can ask for. Default: 1h; at most 24h.
	RetryAfter Duration `json:"retryAfter,omitzero"`
	// RequestsPerHost are under way at the same time, from one process to one host. One of them is left to requests that
	// send something, such as an upload that reads from a download; with 1 there may be one of each. Default: 8; at most 100.
	RequestsPerHost int `json:"requestsPerHost,omitzero"`
}

// Build bounds build pods and the passes over builds.
type Build struct {
	// WorkspaceBytes of the volume with the context. Default: 2Gi; at most 64Gi.
	WorkspaceBytes Bytes `json:"workspaceBytes,omitzero"`
	// LayoutBytes of the volume with the image that was built. Default: 8Gi; at most 256Gi.
	LayoutBytes Bytes `json:"layoutBytes,omitzero"`
	// MessageBytes of a container's last words that are shown. Default: 1Ki; at most 4Ki.
	MessageBytes Bytes `json:"messageBytes,omitzero"`
	// MessageLines of a container's last words that are shown. Default: 10; at most 100.
	MessageLines int `json:"messageLines,omitzero"`
	// ResolveTimeout of resolving the inputs of one BaseImage. Default: 10m; at most 1h.
	ResolveTimeout Duration `json:"resolveTimeout,omitzero"`
	// PassTimeout of one pass over a build, such as checking its images. Default: 15m; at most 2h.
	PassTimeout Duration `json:"passTimeout,omitzero"`
}

// Scan bounds vulnerability databases and reports.
type Scan struct {
	// DatabaseBytes of one vulnerability database, compressed. Default: 1Gi; at most 16Gi.
	DatabaseBytes Bytes `json:"databaseBytes,omitzero"`
	// ExpandedBytes of one vulnerability database, decompressed. Default: 8Gi; at most 64Gi.
	ExpandedBytes Bytes `json:"expandedBytes,omitzero"`
	// ReportBytes of one report. Default: 32Mi; at most 256Mi.
	ReportBytes Bytes `json:"reportBytes,omitzero"`
	// Matches are vulnerabilities of one report. Default: 50000; at most 1000000.
	Matches int `json:"matches,omitzero"`
	// VolumeBytes of each of the volumes of a scan: images, databases and reports. Default: 16Gi; at most 256Gi.
	VolumeBytes Bytes `json:"volumeBytes,omitzero"`
	// DownloadTimeout of one vulnerability database. Default: 10m; at most 1h.
	DownloadTimeout Duration `json:"downloadTimeout,omitzero"`
}

// Signatures bounds what is signed, and what is read of signatures and attestations.
type Signatures struct {
	// StatementBytes of one attestation, before it is encoded. Four times as much is kept of all that are valid, of one
	// predicate type, digest and format. Default: 16Mi; at most 64Mi.
	StatementBytes Bytes `json:"statementBytes,omitzero"`
	// Tried is how many signatures, or attestations of one predicate type, are verified of one digest and format before
	// it counts as not signed. Default: 64; at most 1024.
	Tried int `json:"tried,omitzero"`
	// Referrers of one digest that are looked at, the newest of those that do not say that they are something else.
	// Default: 1024; at most 16384.
	Referrers int `json:"referrers,omitzero"`
	// RequestTimeout of one request to Fulcio, Rekor or the timestamp authority. Default: 30s; at most 5m.
	RequestTimeout Duration `json:"requestTimeout,omitzero"`
}

// WithDefaults fills in zero fields.
func (l Signatures) WithDefaults() Signatures {
	return Signatures{
		StatementBytes: cmp.Or(l.StatementBytes, 16<<20),
		Tried:          cmp.Or(l.Tried, 64),
		Referrers:      cmp.Or(l.Referrers, 1024),
		RequestTimeout: cmp.Or(l.RequestTimeout, Duration(30*time.Second)),
	}
}

// WithDefaults fills in zero fields.
func (l Scan) WithDefaults() Scan {
	return Scan{
		DatabaseBytes:   cmp.Or(l.DatabaseBytes, 1<<30),
		ExpandedBytes:   cmp.Or(l.ExpandedBytes, 8<<30),
		ReportBytes:     cmp.Or(l.ReportBytes, 32<<20),
		Matches:         cmp.Or(l.Matches, 50_000),
		VolumeBytes:     cmp.Or(l.VolumeBytes, 16<<30),
		DownloadTimeout: cmp.Or(l.DownloadTimeout, Duration(10*time.Minute)),
	}
}

// WithDefaults fills in zero fields.
func (l Limits) WithDefaults() Limits {
	return Limits{Source: l.Source.WithDefaults(), Registry: l.Registry.WithDefaults(), Build: l.Build.WithDefaults(), Scan: l.Scan.WithDefaults(), Signatures: l.Signatures.WithDefaults()}
}

// WithDefaults fills in zero fields.
func (l Source) WithDefaults() Source {
	return Source{
		Bytes:          cmp.Or(l.Bytes, 256<<20),
		FileBytes:      cmp.Or(l.FileBytes, 64<<20),
		ReferenceBytes: cmp.Or(l.ReferenceBytes, 32<<20),
		ExpandedBytes:  cmp.Or(l.ExpandedBytes, 4<<30),
		Objects:        cmp.Or(l.Objects, 500_000),
		Files:          cmp.Or(l.Files, 20_000),
		Depth:          cmp.Or(l.Depth, 64),
		ConnectTimeout: cmp.Or(l.ConnectTimeout, Duration(30*time.Second)),
		Timeout:        cmp.Or(l.Timeout, Duration(5*time.Minute)),
		StallTimeout:   cmp.Or(l.StallTimeout, Duration(30*time.Second)),
		StallBytes:     cmp.Or(l.StallBytes, 64<<10),
		RetryAfter:     cmp.Or(l.RetryAfter, Duration(time.Hour)),
		Parallel:       cmp.Or(l.Parallel, 2),
	}
}

// WithDefaults fills in zero fields.
func (l Registry) WithDefaults() Registry {
	return Registry{
		ManifestBytes:   cmp.Or(l.ManifestBytes, 4<<20),
		ImageBytes:      cmp.Or(l.ImageBytes, 4<<30),
		Layers:          cmp.Or(l.Layers, 512),
		Entries:         cmp.Or(l.Entries, 500_000),
		Ratio:           cmp.Or(l.Ratio, 300),
		ConnectTimeout:  cmp.Or(l.ConnectTimeout, Duration(5*time.Second)),
		RequestTimeout:  cmp.Or(l.RequestTimeout, Duration(30*time.Second)),
		StallTimeout:    cmp.Or(l.StallTimeout, Duration(time.Minute)),
		StallBytes:      cmp.Or(l.StallBytes, 256<<10),
		Tries:           cmp.Or(l.Tries, 3),
		RetryAfter:      cmp.Or(l.RetryAfter, Duration(time.Hour)),
		RequestsPerHost: cmp.Or(l.RequestsPerHost, 8),
	}
}

// WithDefaults fills in zero fields.
func (l Build) WithDefaults() Build {
	return Build{
		WorkspaceBytes: cmp.Or(l.WorkspaceBytes, 2<<30),
		LayoutBytes:    cmp.Or(l.LayoutBytes, 8<<30),
		MessageBytes:   cmp.Or(l.MessageBytes, 1<<10),
		MessageLines:   cmp.Or(l.MessageLines, 10),
		ResolveTimeout: cmp.Or(l.ResolveTimeout, Duration(10*time.Minute)),
		PassTimeout:    cmp.Or(l.PassTimeout, Duration(15*time.Minute)),
	}
}
