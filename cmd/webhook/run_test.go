package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

func TestParse(t *testing.T) {
	var out bytes.Buffer
	o, err := parse(nil, &out)
	if err != nil || o.configFile != "/etc/basewright/config.yaml" || o.port != 9443 || o.metricsAddress != ":8080" || o.healthAddress != ":8081" ||
		o.namespace != "basewright-system" || o.certificates != rotate || o.certDir != "" || o.drain != 10*time.Second {
		t.Errorf("defaults: got %+v, %v", o, err)
	}
	o, err = parse([]string{"--config=x", "--webhook-port=1", "--metrics-bind-address=0", "--health-probe-bind-address=:1", "--namespace=a",
		"--certificates=mounted", "--cert-dir=/certs", "--drain=0s", "--zap-log-level=debug"}, &out)
	if err != nil || o.configFile != "x" || o.port != 1 || o.metricsAddress != "0" || o.healthAddress != ":1" || o.namespace != "a" ||
		o.certificates != mounted || o.certDir != "/certs" || o.drain != 0 {
		t.Errorf("flags: got %+v, %v", o, err)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for desc, tt := range map[string]struct {
		args []string
		says string
	}{
		"an unknown flag":                       {[]string{"--leader-elect"}, "flag provided but not defined: -leader-elect"},
		"an extra argument":                     {[]string{"start"}, `unexpected argument "start"`},
		"no port":                               {[]string{"--webhook-port=0"}, "--webhook-port 0 must be between 1 and 65535"},
		"another source of certificates":        {[]string{"--certificates=files"}, `--certificates "files" must be rotate or mounted`},
		"mounted certificates without a place":  {[]string{"--certificates=mounted"}, "--cert-dir is required with --certificates=mounted"},
		"a place for certificates that rotate":  {[]string{"--cert-dir=/certs"}, "--cert-dir is not used with --certificates=rotate: leave it out"},
		"a drain that ends before it begins":    {[]string{"--drain=-1s"}, "--drain -1s must be between 0s and 5m"},
		"a drain that is longer than any grace": {[]string{"--drain=1h"}, "--drain 1h0m0s must be between 0s and 5m"},
	} {
		t.Run(desc, func(t *testing.T) {
			if _, err := parse(tt.args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	if _, err := parse([]string{"--help"}, &bytes.Buffer{}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
	if err := run(t.Context(), []string{"--help"}); err != nil {
		t.Errorf("got %v", err)
	}
}

// A setting that is wrong stops the webhook before it looks for a cluster.
func TestRunRefusesItsConfiguration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := run(t.Context(), []string{"--config=" + path}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte("apiVersion: config.basewright.dev/v1alpha1\nkind: OperatorConfiguration\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"--config=" + path}); err == nil || !strings.Contains(err.Error(), path+": line 2: kind") {
		t.Errorf("got %v", err)
	}
}

func TestEveryReplicaServes(t *testing.T) {
	o := managerOptions(&options{}, &server{}, runtime.NewScheme())
	if o.LeaderElection || o.WebhookServer == nil || *o.GracefulShutdownTimeout <= closeTimeout {
		t.Errorf("got %+v", o)
	}
}

func TestSingleRequestsEnd(t *testing.T) {
	asked := make(chan time.Duration, 10)
	config := &rest.Config{Host: "http://127.0.0.1:1", WrapTransport: func(rt http.RoundTripper) http.RoundTripper {
		return transport(func(req *http.Request) (*http.Response, error) {
			deadline, _ := req.Context().Deadline()
			asked <- time.Until(deadline)
			return nil, errors.New("away")
		})
	}}
	c, err := newClient(config, client.Options{Scheme: clientgoscheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "default"}, &corev1.Namespace{}); err == nil {
		t.Error("nobody is there, and there is an answer")
	}
	if left := <-asked; left <= 0 || left > requestTimeout {
		t.Errorf("a request may take %s", left)
	}
	if config.Timeout != 0 {
		t.Error("informers have a timeout too")
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// fakeManager has what certificates need of a manager.
type fakeManager struct {
	manager.Manager
	added int
}

func (m *fakeManager) Add(manager.Runnable) error { m.added++; return nil }

func TestMountedCertificates(t *testing.T) {
	dir := t.TempDir()
	mgr, certs := &fakeManager{}, &certificates{}
	if certs.check(nil) == nil {
		t.Error("they are there before they are set up")
	}
	o := &options{certificates: mounted, certDir: dir}
	if err := certs.setUp(mgr, o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	write(t, dir)
	if err := certs.setUp(mgr, o); err != nil || mgr.added != 1 {
		t.Fatalf("got %v, %d watches", err, mgr.added)
	}
	pair, err := certs.get(nil)
	if err != nil || certs.check(nil) != nil {
		t.Fatal(err)
	}
	if got := testutil.ToFloat64(certs.expiry()); got != float64(pair.Leaf.NotAfter.Unix()) {
		t.Errorf("it ends at %v", got)
	}
}

func TestWithoutACertificateItsEndIsUnknown(t *testing.T) {
	if got := testutil.ToFloat64((&certificates{}).expiry()); got != 0 {
		t.Errorf("got %v", got)
	}
	none := &certificates{source: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }}
	if got := testutil.ToFloat64(none.expiry()); got != 0 {
		t.Errorf("got %v", got)
	}
}

// write has the certificate of a stand-in, as files.
func write(t *testing.T, dir string) {
	t.Helper()
	pair, _ := standIn(t)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhyItIsNotReadyIsToldOnce(t *testing.T) {
	var told []string
	log := funcr.New(func(_, line string) { told = append(told, line) }, funcr.Options{})
	var failure error
	check := logged(log, "certificate", func(*http.Request) error { return failure })
	for _, failure = range []error{errDraining, errDraining, nil, nil, errDraining} {
		if err := check(nil); !errors.Is(err, failure) {
			t.Errorf("got %v", err)
		}
	}
	if len(told) != 2 || !strings.Contains(told[0], errDraining.Error()) {
		t.Errorf("told %q", told)
	}
}
