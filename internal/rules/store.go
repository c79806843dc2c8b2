package rules

import (
	"context"

	"github.com/open-policy-agent/opa/v1/storage"
)

// noData is the store of rules that are told nothing but their input: there is nothing in it, and nothing to lock.
type noData struct {
	storage.WritesNotSupported
	storage.PolicyNotSupported
	storage.TriggersNotSupported
}

// NewTransaction implements storage.Store.
func (noData) NewTransaction(context.Context, ...storage.TransactionParams) (storage.Transaction, error) {
	return noTransaction{}, nil
}

type noTransaction struct{}

// ID implements storage.Transaction.
func (noTransaction) ID() uint64 { return 0 }

// Read implements storage.Store.
func (noData) Read(context.Context, storage.Transaction, storage.Path) (any, error) {
	return nil, &storage.Error{Code: storage.NotFoundErr}
}

// Commit implements storage.Store.
func (noData) Commit(context.Context, storage.Transaction) error { return nil }

// Truncate implements storage.Store.
func (noData) Truncate(context.Context, storage.Transaction, storage.TransactionParams, storage.Iterator) error {
	return &storage.Error{Code: storage.WritesNotSupportedErr}
}

// Abort implements storage.Store.
func (noData) Abort(context.Context, storage.Transaction) {}
