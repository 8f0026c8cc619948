package plan_test

import (
	"testing"

	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// A restart with 10,000 certificates makes as many decisions to keep what there is.
func BenchmarkLeaf(b *testing.B) {
	in := running(b).in
	now := noon.Add(day)
	b.ReportAllocs()
	for b.Loop() {
		if p := plan.Leaf(in, now); p.Issue || p.DeliverTrust {
			b.Fatalf("it is to be kept: %+v", p)
		}
	}
}

// Every Secret that enters the cache is looked at, one after the other.
func BenchmarkObserveKey(b *testing.B) {
	data, hash := pair(b, pki.KeyRSA2048, pki.EncodingPKCS8)
	for sentence, written := range map[string]string{"with its hash": hash, "without a hash": ""} {
		b.Run(sentence, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := plan.ObserveKey(data, written); got != "PKCS8" {
					b.Fatalf("got %q", got)
				}
			}
		})
	}
}
