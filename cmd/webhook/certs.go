package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"github.com/ibshafique/base-images/webhook"
)

// certificates are those of either source, once it is set up. The zero value has none.
type certificates struct {
	source certificateSource
	// ready says why the source can't be served with; nil if it always can.
	ready func(*http.Request) error
}

// setUp has them come from where the options say.
func (c *certificates) setUp(mgr ctrl.Manager, o *options) error {
	if o.certificates == rotate {
		rotated, err := webhook.SetUpCertificates(mgr, o.namespace, clock.RealClock{})
		if err != nil {
			return err
		}
		c.source, c.ready = rotated.GetCertificate, rotated.Check
		return nil
	}
	watched, err := certwatcher.New(filepath.Join(o.certDir, "tls.crt"), filepath.Join(o.certDir, "tls.key"))
	if err != nil {
		return fmt.Errorf("reading the certificate in --cert-dir: %w", err)
	}
	c.source = watched.GetCertificate
	if err := mgr.Add(watched); err != nil {
		return fmt.Errorf("adding the watch of --cert-dir: %w", err)
	}
	return nil
}

// get is a certificateSource.
func (c *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.source == nil {
		return nil, errors.New("certificates are not set up")
	}
	return c.source(hello)
}

// check is a healthz.Checker.
func (c *certificates) check(req *http.Request) error {
	if _, err := c.get(nil); err != nil || c.ready == nil {
		return err
	}
	return c.ready(req)
}

// expiry is a metric, 0 while there is no certificate.
func (c *certificates) expiry() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "basewright", Name: "webhook_certificate_expiry_timestamp_seconds",
		Help: "When the certificate ends that the webhook serves with, in seconds since 1970.",
	}, func() float64 {
		pair, err := c.get(nil)
		if err != nil || pair == nil || pair.Leaf == nil {
			return 0
		}
		return float64(pair.Leaf.NotAfter.UnixNano()) / float64(time.Second)
	})
}
