package verify

import (
	"errors"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// stampOf is an authority whose timestamps say what they are of.
type stampOf struct{}

func (stampOf) Verify(stamp, content []byte) (*root.Timestamp, error) {
	if string(stamp) != "of "+string(content) {
		return nil, errors.New("it is of something else")
	}
	return &root.Timestamp{URI: "here"}, nil
}

type stampMaterial struct{ root.BaseTrustedMaterial }

func (*stampMaterial) TimestampingAuthorities() []root.TimestampingAuthority {
	return []root.TimestampingAuthority{stampOf{}}
}

func TestTimestampsOfEnvelopes(t *testing.T) {
	material := envelopeStamps{&stampMaterial{}, []byte("the envelope")}
	for stamp, good := range map[string]bool{"of the envelope": true, "of the signature": true, "of the Envelope": false, "": false} {
		authorities := material.TimestampingAuthorities()
		if len(authorities) != 1 {
			t.Fatalf("got %v", authorities)
		}
		at, err := authorities[0].Verify([]byte(stamp), []byte("the signature"))
		if (err == nil) != good || good && at.URI != "here" || !good && at != nil {
			t.Errorf("%q: got %v, %v", stamp, at, err)
		}
	}
}
