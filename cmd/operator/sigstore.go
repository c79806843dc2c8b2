package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/go-logr/logr"
	"github.com/google/go-containerregistry/pkg/name"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/ibshafique/base-images/controllers"
	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/sign"
	"github.com/ibshafique/base-images/internal/trustroot"
)

// everywhere runs on every replica, leader or not: who takes over has a trust root of today.
type everywhere struct{ root *trustroot.Root }

func (e everywhere) Start(ctx context.Context) error { return e.root.Run(ctx) }
func (e everywhere) NeedLeaderElection() bool        { return false }

// newSigning signs as the configured ServiceAccount, with the configured Sigstore.
func newSigning(mgr ctrl.Manager, cfg *config.Operator, client *http.Client, trust *trustroot.Root) (controllers.Signing, error) {
	account := types.NamespacedName{Namespace: cfg.Sigstore.ServiceAccount.Namespace, Name: cfg.Sigstore.ServiceAccount.Name}
	identity := controllers.NewSignerIdentity(mgr.GetClient(), account, cfg.Sigstore.Audience, clock.RealClock{})
	signer, err := sign.New(sign.Options{
		FulcioURL:    cfg.Sigstore.FulcioURL,
		RekorURL:     cfg.Sigstore.RekorURL,
		TimestampURL: cfg.Sigstore.TimestampURL,
		HTTP:         client,
		Token:        identity.Token,
		Material:     trust.Material,
		Formats:      cfg.Sigstore.Formats,
		Limits:       cfg.Limits.Signatures,
		Kept: func(ctx context.Context, artifact name.Digest, err error) {
			logr.FromContextOrDiscard(ctx).Info("The registry keeps an attestation that a newer build has replaced", "artifact", artifact.String(), "why", err.Error())
		},
	})
	if err != nil {
		return controllers.Signing{}, fmt.Errorf("making the signer: %w", err)
	}
	return controllers.Signing{Signer: signer, Identity: identity, TrustRoot: trust.Material}, nil
}

// revision that the program was built from: a tag, or a commit. The Makefile sets it.
var revision string

// version of the operator: its revision, or what the go command has stamped.
func version() string {
	info, ok := debug.ReadBuildInfo()
	switch {
	case revision != "":
		return revision
	case ok:
		return info.Main.Version
	}
	return "unknown"
}
