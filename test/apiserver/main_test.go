//go:build apiserver

// Package apiserver holds the tests that need a real apiserver: what it refuses, fills in and shows.
package apiserver

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// One apiserver with our kinds serves all tests of this package. Each test takes a namespace of its own.
var (
	cfg    *rest.Config
	k8s    client.Client
	scheme = runtime.NewScheme()
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return 1, errors.New("KUBEBUILDER_ASSETS does not name the directory of kube-apiserver and etcd: run make test-api, which builds them")
	}
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return 1, err
	}
	env := &envtest.Environment{
		Scheme:                scheme,
		CRDDirectoryPaths:     []string{"../../config/crd"},
		ErrorIfCRDPathMissing: true,
		UseExistingCluster:    new(false),
	}
	defer func() {
		if stopped := env.Stop(); stopped != nil {
			code, err = 1, errors.Join(err, fmt.Errorf("stopping the apiserver: %w", stopped))
		}
	}()
	if cfg, err = env.Start(); err != nil {
		return 1, fmt.Errorf("starting the apiserver: %w", err)
	}
	// The tests are not to wait for a client that throttles itself.
	cfg.QPS = -1
	if k8s, err = client.New(cfg, client.Options{Scheme: scheme}); err != nil {
		return 1, fmt.Errorf("making a client: %w", err)
	}
	return m.Run(), nil
}
