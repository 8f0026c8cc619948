package pki

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strings"
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

func TestMembersAreFoundByFingerprint(t *testing.T) {
	members := bundleMembers(t)
	b := NewBundle(members[:3]...)
	for i, c := range members {
		found, ok := b.Find(Fingerprint(c))
		if ok != (i < 3) || ok && !found.Equal(c) {
			t.Errorf("%d: %t", i, ok)
		}
	}
	if c, ok := (Bundle{}).Find(""); ok || c != nil {
		t.Error("something is in nothing")
	}
	if twice := NewBundle(members[0], members[0]); b.Len() != 3 || twice.Len() != 1 || (Bundle{}).Len() != 0 {
		t.Error("the numbers are wrong")
	}
}

func TestABundleIsInPEM(t *testing.T) {
	members := bundleMembers(t)
	two, other := NewBundle(members[:2]...), EncodeCertificates(members[2])
	whole := string(two.PEM())
	one := string(EncodeCertificates(members[0]))
	for name, test := range map[string]struct {
		data string
		want bool
	}{
		"itself":                      {whole, true},
		"the other order":             {string(EncodeCertificates(members[1], members[0])), true},
		"another certificate between": {one + string(other) + string(EncodeCertificates(members[1])), true},
		"text before it":              {"subject=CN = a\n" + whole, true},
		"nothing":                     {"", false},
		"one of two":                  {one, false},
		"one of two, twice":           {one + one, false},
		"another one":                 {string(other), false},
		"without the last newline":    {strings.TrimSuffix(whole, "\n"), false},
		"other line ends":             {strings.ReplaceAll(whole, "\n", "\r\n"), false},
		"a changed letter":            {strings.Replace(whole, "MII", "MIJ", 1), false},
		"not at the beginning of a line": {
			one + "# " + string(EncodeCertificates(members[1])), false,
		},
		"first in a comment, then as a block": {"# " + one + whole, true},
	} {
		t.Run(name, func(t *testing.T) {
			if two.In([]byte(test.data)) != test.want {
				t.Errorf("want %t", test.want)
			}
		})
	}
	if !(Bundle{}).In(nil) || !(Bundle{}).In(other) {
		t.Error("the empty set isn't in everything")
	}
}

func TestABundleIsInWhatHasItsMembers(t *testing.T) {
	members := bundleMembers(t)
	some := rapid.SliceOf(rapid.SampledFrom(members))
	rapid.Check(t, func(t *rapid.T) {
		b, written := NewBundle(some.Draw(t, "bundle")...), some.Draw(t, "written")
		want := true
		for _, c := range b.Certificates() {
			want = want && slices.Contains(written, c)
		}
		if b.In(EncodeCertificates(written...)) != want || !b.In(b.Union(NewBundle(written...)).PEM()) {
			t.Fatalf("want %t", want)
		}
	})
}

// Whatever a stranger writes: when a bundle is in it and it can be read at all, all members are read from it.
func FuzzBundleIn(f *testing.F) {
	b := root(f).issuer.roots
	f.Add(b.PEM(), []byte{})
	f.Add([]byte("# "), b.PEM())
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n"), []byte("-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, before, after []byte) {
		data := join(before, b.PEM(), after)
		read, err := ParseBundle(data)
		if b.In(data) && err == nil && read.Union(b).Len() != read.Len() {
			t.Errorf("%q doesn't hold it", data)
		}
	})
}
