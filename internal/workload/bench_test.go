package workload

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func BenchmarkDecode(b *testing.B) {
	raw := marshal(b, realistic())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(podKind, raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStandardDecode is what there is to compare with.
func BenchmarkStandardDecode(b *testing.B) {
	raw := marshal(b, realistic())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := json.Unmarshal(raw, &corev1.Pod{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkImages(b *testing.B) {
	o := decoded(b, podKind, realistic())
	b.ReportAllocs()
	for b.Loop() {
		o.Images()
	}
}

func BenchmarkPin(b *testing.B) {
	o := decoded(b, podKind, realistic())
	pins := map[string]string{}
	for _, image := range o.Images() {
		pins[image.Pointer] = image.Reference + "@sha256:0"
	}
	b.ReportAllocs()
	for b.Loop() {
		o.Pin(pins)
	}
}
