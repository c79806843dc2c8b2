package registry

import (
	"io"
	"net/http"

	"github.com/ibshafique/base-images/internal/stall"
)

// steady makes reading the body fail with a *stall.Error if it comes in drops.
func (a *answers) steady(resp *http.Response, what string) {
	body := resp.Body
	rule := stall.Rule{Bytes: a.limits.StallBytes, Within: a.limits.StallTimeout, Section: "registry"}
	// To close the body is the one thing that ends a Read that blocks.
	end := func() { _ = body.Close() }
	resp.Body = &steadyBody{ReadCloser: body, meter: stall.NewMeter(what, rule, stall.Clock{Now: a.now, Alarm: a.alarm}, end)}
}

type steadyBody struct {
	io.ReadCloser
	meter *stall.Meter
}

func (b *steadyBody) Read(p []byte) (int, error) { return b.meter.Read(b.ReadCloser, p) }
