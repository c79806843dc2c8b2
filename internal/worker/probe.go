package worker

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// ProbesDir is where the worker's image has the probe of every platform. They are compressed: what is for another
// machine would not pass as a program of an image.
const ProbesDir = "/probes"

// maxProbe bounds the probe's program, which has about 4 MB.
const maxProbe = 32 << 20

// InstallProbe puts the probe of a platform into a volume, executable by every user: the image that is tested runs as
// its own.
func InstallProbe(probes string, platform pipeline.Platform, to string) (err error) {
	name := "probe-" + platform.OS + "-" + platform.Architecture + ".gz"
	in, err := os.Open(filepath.Join(probes, name))
	if err != nil {
		return pipeline.Terminalf(pipeline.ReasonProbeFailed, "opening the probe: %w; images.worker of the operator's configuration must be of the operator's version", err)
	}
	defer func() { _ = in.Close() }()
	plain, err := gzip.NewReader(in)
	if err != nil {
		return pipeline.Terminalf(pipeline.ReasonProbeFailed, "reading the probe %s: %w", name, err)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o555)
	if err != nil {
		return pipeline.Transientf(pipeline.ReasonProbeFailed, "writing the probe: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	n, err := io.Copy(out, io.LimitReader(plain, maxProbe+1))
	if err != nil {
		return pipeline.Transientf(pipeline.ReasonProbeFailed, "writing the probe: %w", err)
	}
	if n > maxProbe {
		return pipeline.Terminalf(pipeline.ReasonProbeFailed, "the probe %s has more than %d bytes", name, maxProbe)
	}
	// Whatever the umask has taken away.
	return out.Chmod(0o555)
}
