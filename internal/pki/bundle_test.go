package pki

import (
	"bytes"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// bundleMembers are roots of which two became valid in the same second.
func bundleMembers(t testing.TB) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for name, since := range map[string]time.Duration{"a": 0, "b": 0, "c": time.Hour, "d": 2 * time.Hour} {
		out = append(out, forge(t, nil, "bundle "+name, func(c *x509.Certificate) {
			c.NotBefore = noon.Add(since)
		}).certificate)
	}
	return out
}

func TestABundleIsASet(t *testing.T) {
	members := bundleMembers(t)
	some := rapid.SliceOf(rapid.SampledFrom(members))
	rapid.Check(t, func(t *rapid.T) {
		one, other := some.Draw(t, "one"), some.Draw(t, "other")
		a, b := NewBundle(one...), NewBundle(other...)
		union := a.Union(b)
		for _, same := range []Bundle{
			b.Union(a), union.Union(a), union.Union(Bundle{}), Bundle{}.Union(union),
			NewBundle(slices.Concat(other, one, other)...),
		} {
			if !bytes.Equal(same.PEM(), union.PEM()) || same.Hash() != union.Hash() {
				t.Fatal("the same set looks different")
			}
		}
		equal := bytes.Equal(a.PEM(), b.PEM())
		if equal != (a.Hash() == b.Hash()) {
			t.Fatalf("PEM equal: %t, hash equal: %t", equal, !equal)
		}
		for _, member := range members {
			want := slices.Contains(one, member)
			if a.Contains(member) != want || slices.Contains(a.Certificates(), member) != want {
				t.Fatal("not the members that were put in")
			}
			if union.Contains(member) != (want || b.Contains(member)) {
				t.Fatal("the union isn't one")
			}
		}
		if !a.Pool().Equal(NewBundle(a.Certificates()...).Pool()) {
			t.Fatal("the pools differ")
		}
	})
}

func TestABundleIsSortedByTimeAndThenByFingerprint(t *testing.T) {
	has := NewBundle(bundleMembers(t)...).Certificates()
	if len(has) != 4 {
		t.Fatalf("%d members", len(has))
	}
	for i, c := range has[1:] {
		before := has[i]
		if order := before.NotBefore.Compare(c.NotBefore); order > 0 || order == 0 && Fingerprint(before) > Fingerprint(c) {
			t.Errorf("%s comes before %s", SubjectText(before), SubjectText(c))
		}
	}
}

func TestABundleSurvivesPEM(t *testing.T) {
	b := NewBundle(bundleMembers(t)...)
	again, err := ParseBundle(join(b.PEM(), b.PEM()))
	wantNoError(t, err)
	if diff := cmp.Diff(string(b.PEM()), string(again.PEM())); diff != "" {
		t.Error(diff)
	}
	if !bytes.HasSuffix(b.PEM(), []byte("-----END CERTIFICATE-----\n")) {
		t.Error("no newline at the end")
	}
}

func TestParseBundleRefusesWhatParseCertificatesRefuses(t *testing.T) {
	for name, data := range map[string][]byte{
		"nothing": nil,
		"a key":   join(root(t).issuer.roots.PEM(), pairOf(root(t)).keyPEM(t)),
	} {
		if _, err := ParseBundle(data); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTheEmptyBundleTrustsNobody(t *testing.T) {
	var empty Bundle
	if len(empty.PEM()) != 0 || len(empty.Certificates()) != 0 || empty.Contains(root(t).issuer.certificate) {
		t.Error("it isn't empty")
	}
	if empty.Hash() != NewBundle().Hash() || empty.Hash() == root(t).issuer.roots.Hash() {
		t.Error("its hash isn't that of the empty set")
	}
	leaf := issue(t, root(t), hello(t), keyFor(t, "leaf", KeyECDSAP256).Public())
	// A nil pool would mean the roots of this machine.
	if empty.Pool() == nil {
		t.Fatal("its pool is nil")
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: empty.Pool(), CurrentTime: noon}); err == nil {
		t.Error("a leaf was trusted")
	}
}

func TestTheSliceOfCertificatesIsACopy(t *testing.T) {
	b := NewBundle(bundleMembers(t)...)
	hash := b.Hash()
	b.Certificates()[0] = nil
	if b.Hash() != hash || b.Certificates()[0] == nil {
		t.Error("the bundle changed")
	}
}
