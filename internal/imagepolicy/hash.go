package imagepolicy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// judged is everything of a policy that the verdict on an image depends on, what runtime rules are told about it included.
type judged struct {
	Kind string `json:"kind"`
	// Authorities in the terms of the kind.
	Authorities any `json:"authorities"`
	// Keys in PEM that the kind refers to.
	Keys []string `json:"keys,omitempty"`
	// Facts are looked for: without runtime rules nobody asks for them.
	Facts bool `json:"facts,omitempty"`
	// Shells are looked for, in an attestation.
	Shells bool `json:"shells,omitempty"`
}

func (j judged) hash() string {
	// What is marshalled are types of APIs, which came from JSON.
	raw, err := json.Marshal(j)
	if err != nil {
		raw = fmt.Appendf(nil, "%#v", j)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func (c *compiler) hash() string {
	// Names of the object are in commands that reproduce a finding.
	type native struct {
		Name         string                         `json:"name,omitempty"`
		Authority    v1alpha1.AuthorityType         `json:"authority"`
		Identities   []v1alpha1.SigningIdentity     `json:"identities,omitempty"`
		Key          *v1alpha1.SigningKey           `json:"key,omitempty"`
		Attestations []v1alpha1.RequiredAttestation `json:"attestations,omitempty"`
	}
	authorities := native{Authority: c.spec.Authority, Identities: c.spec.Identities, Key: c.spec.Key, Attestations: c.spec.Attestations}
	if c.spec.Key != nil {
		authorities.Name = c.in.Object.Name
	}
	j := judged{Kind: KindImageAdmissionPolicy, Authorities: authorities, Keys: []string{string(c.in.PublicKey)}}
	if r := c.policy.Runtime; r != nil {
		j.Facts, j.Shells = true, r.Parameters.NoImageShells
	}
	return j.hash()
}

// unreadyHash is that of no other policy: it judges nothing.
func unreadyHash(o *v1alpha1.ImageAdmissionPolicy) string {
	return judged{Kind: "NotReady", Authorities: string(o.UID) + "/" + strconv.FormatInt(o.Generation, 10)}.hash()
}

func itoa(i int) string { return strconv.Itoa(i) }
