package verify

import "testing"

func BenchmarkBundle(b *testing.B) {
	w := newWorld()
	s := offline(b, w, provenance)
	raw := newForge(w, otherDigest).with(func(f *forge) { f.predicate = provenance }).attest().bundle()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.bundle(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLegacySignature(b *testing.B) {
	w := newWorld()
	s := offline(b, w, "")
	good := newForge(w, otherDigest).simple()
	annotations := good.signatureLayer().Annotations
	b.ReportAllocs()
	for b.Loop() {
		if err := s.simpleOf(good.payload, annotations); err != nil {
			b.Fatal(err)
		}
	}
}
