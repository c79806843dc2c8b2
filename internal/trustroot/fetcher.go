package trustroot

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// maxAnswer of a TUF repository. Metadata has bounds of its own below it, while a target's is what targets.json says.
const maxAnswer = 8 << 20

// fetcher makes the requests of one refresh. TUF's interface hands no context on.
type fetcher struct {
	ctx  context.Context
	http *http.Client
}

// DownloadFile is of TUF's interface of fetchers. That a file is not there (404) is an answer, by which TUF knows the
// last root.
func (f *fetcher) DownloadFile(url string, most int64, _ time.Duration) ([]byte, error) {
	req, err := http.NewRequestWithContext(f.ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "basewright")
	resp, err := f.http.Do(req)
	if err != nil {
		return nil, f.failed(err)
	}
	defer func() { _ = resp.Body.Close() }() // Nothing was sent.
	if resp.StatusCode != http.StatusOK {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: resp.StatusCode, URL: url}
	}
	most = min(most, maxAnswer)
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err != nil {
		return nil, f.failed(err)
	}
	if int64(len(data)) > most {
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s has more than %d bytes", url, most)}
	}
	return data, nil
}

// failed says that the time was up where the network error only says that something has ended.
func (f *fetcher) failed(err error) error {
	if cause := context.Cause(f.ctx); cause != nil {
		return cause
	}
	return err
}
