package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	// emptyType is of a config that says nothing
	// (https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidance-for-an-empty-descriptor).
	emptyType = types.MediaType("application/vnd.oci.empty.v1+json")
	// titleAnnotation is the file name under which tools keep a layer.
	titleAnnotation = "org.opencontainers.image.title"
)

// Artifact is one document in a registry about an image
// (https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage).
type Artifact struct {
	// Type is the artifact type, and the media type of the content.
	Type string
	// Subject is the manifest that the document is about.
	Subject v1.Descriptor
	// Annotations of the artifact's manifest. They are part of its digest: a time in them makes it another artifact.
	Annotations map[string]string
	// Title is a file name for those who download it. Default: none.
	Title string
	// Content of the document. It is read more than once.
	Content Content
}

// Content is a document, for example a bytes.Reader, or an io.SectionReader of a file.
type Content interface {
	io.ReaderAt
	Size() int64
}

// PushArtifact writes a by digest, and sees to it that repo lists it among the referrers of its subject, which must be
// there already. What repo has is not sent again. Errors are classified, see Classify.
func (c *Client) PushArtifact(ctx context.Context, repo name.Repository, a Artifact) (name.Digest, error) {
	layer, err := newDocument(a)
	if err != nil {
		return name.Digest{}, reading("reading what is to be pushed as "+a.Type).outcome(ctx, err)
	}
	m, err := a.manifest(layer)
	if err != nil {
		return name.Digest{}, reading("encoding the manifest of "+a.Type).outcome(ctx, err)
	}
	ref := repo.Digest(m.Digest.String())
	_, err = c.Head(ctx, ref)
	if pipeline.IsTransient(err) || ctx.Err() != nil {
		return ref, err
	}
	there := err == nil // Who may write and not read is told so by what follows.
	if !there {
		err := c.uploadBlobs(ctx, repo, static.NewLayer([]byte("{}"), emptyType), layer)
		if err != nil {
			return ref, c.writing("pushing "+a.Type+" to "+RepositoryName(repo), repo).outcome(ctx, err)
		}
	}
	return ref, c.attach(ctx, ref, m, repo.Digest(a.Subject.Digest.String()), there)
}

// uploadBlobs asks the registry what it has. The Client's own pusher would not ask again for as long as it lives.
func (c *Client) uploadBlobs(ctx context.Context, repo name.Repository, blobs ...v1.Layer) error {
	pusher, err := remote.NewPusher(c.options...)
	if err != nil {
		return err
	}
	for _, blob := range blobs {
		if err := pusher.Upload(ctx, repo, blob); err != nil {
			return err
		}
	}
	return nil
}

func (a Artifact) manifest(layer *document) (Manifest, error) {
	config, err := partial.Descriptor(static.NewLayer([]byte("{}"), emptyType))
	if err != nil {
		return Manifest{}, err
	}
	content := v1.Descriptor{MediaType: layer.mediaType, Digest: layer.digest, Size: layer.content.Size()}
	if a.Title != "" {
		content.Annotations = map[string]string{titleAnnotation: a.Title}
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  a.Type,
		Config:        *config,
		Layers:        []v1.Descriptor{content},
		Subject:       &v1.Descriptor{MediaType: a.Subject.MediaType, Digest: a.Subject.Digest, Size: a.Subject.Size},
		Annotations:   a.Annotations,
	})
	if err != nil {
		return Manifest{}, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	return Manifest{Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size}, Raw: raw}, err
}

// document is the content of an Artifact as go-containerregistry uploads it.
type document struct {
	content   Content
	mediaType types.MediaType
	digest    v1.Hash
}

func newDocument(a Artifact) (*document, error) {
	d := &document{content: a.Content, mediaType: types.MediaType(a.Type)}
	var err error
	d.digest, _, err = v1.SHA256(d.reader())
	return d, err
}

func (d *document) reader() *io.SectionReader {
	return io.NewSectionReader(d.content, 0, d.content.Size())
}

func (d *document) Digest() (v1.Hash, error)             { return d.digest, nil }
func (d *document) DiffID() (v1.Hash, error)             { return d.digest, nil }
func (d *document) Size() (int64, error)                 { return d.content.Size(), nil }
func (d *document) MediaType() (types.MediaType, error)  { return d.mediaType, nil }
func (d *document) Compressed() (io.ReadCloser, error)   { return io.NopCloser(d.reader()), nil }
func (d *document) Uncompressed() (io.ReadCloser, error) { return d.Compressed() }

// ArtifactWant says what an artifact must be.
type ArtifactWant struct {
	// Type is its artifact type.
	Type string
	// Subject is the digest of the manifest that it must be about.
	Subject string
	// Limit is how many bytes it may have.
	Limit int64
}

// ReadArtifact reads an artifact whole, checked against its digests. One that is not what is wanted is Terminal with
// reason ReportInvalid, one with more than Limit bytes with reason ReportTooLarge. Other errors are classified, see
// Classify.
func (c *Client) ReadArtifact(ctx context.Context, ref name.Digest, want ArtifactWant) (Artifact, []byte, error) {
	doing := "reading report " + Name(ref)
	found, err := c.Manifest(ctx, ref)
	if err != nil {
		return Artifact{}, nil, err
	}
	m, err := want.parse(doing, found)
	if err != nil {
		return Artifact{}, nil, err
	}
	content, err := c.blob(ctx, doing, ref.Context(), m.Layers[0])
	if err != nil {
		return Artifact{}, nil, err
	}
	a := Artifact{Type: m.ArtifactType, Subject: *m.Subject, Annotations: m.Annotations, Title: m.Layers[0].Annotations[titleAnnotation]}
	a.Content = bytes.NewReader(content)
	return a, content, nil
}

// parse says of found what is not as wanted.
func (w ArtifactWant) parse(doing string, found Manifest) (*v1.Manifest, error) {
	invalid := func(format string, args ...any) error {
		return pipeline.Terminalf(pipeline.ReasonReportInvalid, doing+": "+format, args...)
	}
	m, err := v1.ParseManifest(bytes.NewReader(found.Raw))
	switch {
	case err != nil:
		return nil, invalid("its manifest is malformed: %w", err)
	case found.MediaType != types.OCIManifestSchema1:
		return nil, invalid("it is %s, not an artifact", found.MediaType)
	case m.ArtifactType != w.Type:
		return nil, invalid("it is of type %q instead of %q", clip(m.ArtifactType), w.Type)
	case m.Subject == nil || m.Subject.Digest.String() != w.Subject:
		return nil, invalid("it is not about %s", w.Subject)
	case len(m.Layers) != 1 || string(m.Layers[0].MediaType) != w.Type:
		return nil, invalid("it does not have exactly one layer of its type")
	case m.Layers[0].Digest == v1.Hash{}:
		return nil, invalid("its layer has no digest")
	}
	return m, w.fits(doing, m.Layers[0].Size)
}

func (w ArtifactWant) fits(doing string, size int64) error {
	switch {
	case size < 0:
		return pipeline.Terminalf(pipeline.ReasonReportInvalid, "%s: it says that it has %d bytes", doing, size)
	case size > w.Limit:
		return pipeline.Terminalf(pipeline.ReasonReportTooLarge, "%s: it has %d bytes, at most %d are read", doing, size, w.Limit)
	}
	return nil
}

// Blob reads a small blob of repo whole, checked against the size and the digest that desc says. One with more than limit
// bytes is Terminal with reason ImageTooLarge, and one without a digest with reason ImageInvalid; neither is asked for.
// Other errors are classified, see Classify.
func (c *Client) Blob(ctx context.Context, repo name.Repository, desc v1.Descriptor, limit int64) ([]byte, error) {
	doing := "reading blob " + desc.Digest.String() + " of " + RepositoryName(repo)
	switch {
	case desc.Digest == v1.Hash{}:
		return nil, pipeline.Terminalf(pipeline.ReasonImageInvalid, "reading a blob of %s: what lists it does not give its digest", RepositoryName(repo))
	case desc.Size < 0:
		return nil, pipeline.Terminalf(pipeline.ReasonImageInvalid, "%s: it says that it has %d bytes", doing, desc.Size)
	case desc.Size > limit:
		return nil, tooLarge(doing, "the blob", limit)
	}
	return c.blob(ctx, doing, repo, desc)
}

// blob reads a blob, which must have the size and the digest that desc says.
func (c *Client) blob(ctx context.Context, doing string, repo name.Repository, desc v1.Descriptor) ([]byte, error) {
	body, err := c.OpenBlob(ctx, repo.Digest(desc.Digest.String()))
	if err != nil {
		return nil, reading(doing).outcome(ctx, err)
	}
	defer func() { _ = body.Close() }()
	content := bytes.NewBuffer(make([]byte, 0, desc.Size+bytes.MinRead))
	// A byte more than it may have, and with it the end, at which the digest is compared.
	n, err := content.ReadFrom(io.LimitReader(body, desc.Size+1))
	switch {
	case err != nil:
		return nil, unreadable(ctx, doing, err)
	case n != desc.Size:
		return nil, pipeline.Terminalf(pipeline.ReasonReportInvalid, "%s: it does not have the %d bytes that its manifest says", doing, desc.Size)
	}
	return content.Bytes(), nil
}

// OpenBlob opens a blob for reading with ctx. Its digest is compared at its end, so what was read before is to be
// trusted after that only. At most Limits.ImageBytes come. Errors are raw, see Classify; bytes with another digest are an
// error without a type.
func (c *Client) OpenBlob(ctx context.Context, ref name.Digest) (io.ReadCloser, error) {
	layer, err := pulling(ctx, c, ref.Context(), func(p *remote.Puller) (v1.Layer, error) { return p.Layer(ctx, ref) })
	if err != nil {
		return nil, err
	}
	return layer.Compressed()
}

// unreadable classifies an error of a stream whose digest is checked at its end. One without a type is bytes that do not
// match: another read may.
func unreadable(ctx context.Context, doing string, err error) error {
	err = reading(doing).outcome(ctx, err)
	if isFault(err) || ctx.Err() != nil {
		return err
	}
	return &pipeline.Transient{Reason: pipeline.ReasonDigestMismatch, Err: err}
}
