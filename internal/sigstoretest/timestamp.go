package sigstoretest

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"net/http"
	"time"

	"github.com/digitorus/timestamp"
)

// Timestamp is a timestamp authority (RFC 3161).
type Timestamp struct {
	Service
	root, leaf *authority
}

func newTimestamp() *Timestamp {
	t := &Timestamp{root: newCA("timestamp root", nil)}
	t.leaf = newTimestampLeaf(t.root)
	return t
}

// newTimestampLeaf has the purpose of timestamps alone, marked as critical, as RFC 3161, section 2.3 asks for.
func newTimestampLeaf(root *authority) *authority {
	purpose := must(asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}))
	return newAuthority("timestamps", root, x509.Certificate{
		KeyUsage:        x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: purpose}},
	})
}

func (t *Timestamp) serve(w http.ResponseWriter, r *http.Request, fault Fault) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	request, err := timestamp.ParseRequest(raw)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	_, _ = w.Write(t.respond(request, fault))
}

// respond answers a request.
func (t *Timestamp) respond(request *timestamp.Request, fault Fault) []byte {
	leaf, imprint := t.leaf, request.HashedMessage
	switch fault {
	case OtherAuthority:
		leaf = newTimestampLeaf(newCA("timestamp root", nil))
	case OtherImprint:
		imprint = make([]byte, len(imprint))
	case TimestampRefused:
		return must(timestamp.CreateErrorResponse(timestamp.Rejection, timestamp.BadRequest))
	}
	stamp := timestamp.Timestamp{
		HashAlgorithm: request.HashAlgorithm, HashedMessage: imprint, Nonce: request.Nonce,
		Time: time.Now(), Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
		AddTSACertificate: request.Certificates,
	}
	return must(stamp.CreateResponseWithOpts(leaf.certificate, leaf.key, crypto.SHA256))
}
