package limits

import (
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Bytes is a size. In JSON it is a Kubernetes quantity, "256Mi" or 268435456.
type Bytes int64

// Quantity is b as Kubernetes writes it.
func (b Bytes) Quantity() resource.Quantity {
	return *resource.NewQuantity(int64(b), resource.BinarySI)
}

func (b Bytes) String() string { q := b.Quantity(); return q.String() }

// MarshalJSON writes a quantity.
func (b Bytes) MarshalJSON() ([]byte, error) { return json.Marshal(b.String()) }

// UnmarshalJSON reads a quantity. Whether it makes sense where it stands is for the reader to say.
func (b *Bytes) UnmarshalJSON(raw []byte) error {
	var q resource.Quantity
	if err := json.Unmarshal(raw, &q); err != nil {
		return fmt.Errorf("%s is not a size such as \"256Mi\"", raw)
	}
	n, whole := q.AsInt64()
	if !whole {
		return fmt.Errorf("%s is not a whole number of bytes", raw)
	}
	*b = Bytes(n)
	return nil
}

// Duration is a time span. In JSON it is a Go duration, "1m30s".
type Duration time.Duration

// Std is d as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes a Go duration.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a Go duration. Whether it makes sense where it stands is for the reader to say.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("%s is not a duration in quotes such as \"5m\"", raw)
	}
	parsed, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%s is not a duration such as \"5m\"", raw)
	}
	*d = Duration(parsed)
	return nil
}
