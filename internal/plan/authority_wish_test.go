package plan_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func TestAnAuthorityWishHasEveryDefault(t *testing.T) {
	got := authorityWish(t, v1alpha1.MTLSAuthoritySpec{})
	want := pki.AuthorityFields{
		Subject: pki.Subject{CommonName: "my-ca"}, KeyType: pki.KeyECDSAP256, Duration: 8760 * time.Hour, Generation: 1,
	}
	if diff := cmp.Diff(want, got.Fields); diff != "" {
		t.Error(diff)
	}
	if got.ImportedSecret != "" {
		t.Errorf("it imports %q", got.ImportedSecret)
	}
}

func TestAnAuthorityWishIsWhatTheSpecSays(t *testing.T) {
	got := authorityWish(t, v1alpha1.MTLSAuthoritySpec{
		CommonName:    "Shop Root",
		Subject:       &v1alpha1.Subject{Organizations: []v1alpha1.Text{"Shop"}},
		PrivateKey:    &v1alpha1.AuthorityPrivateKey{Type: "RSA4096"},
		Duration:      "1h",
		MaxPathLength: new(int32(2)),
		NameConstraints: &v1alpha1.NameConstraints{
			Permitted: &v1alpha1.NameConstraintSet{DNSDomains: []string{"example.com"}, IPRanges: []string{"10.0.0.0/8"}},
			Excluded:  &v1alpha1.NameConstraintSet{EmailAddresses: []string{".example.com"}, URIDomains: []string{"example.org"}},
		},
		MaxLeafDuration: "24h",
	})
	if diff := cmp.Diff(pki.AuthorityFields{
		Subject: pki.Subject{
			CommonName: "Shop Root", Organizations: []string{"Shop"}, OrganizationalUnits: []string{},
			Countries: []string{}, Provinces: []string{}, Localities: []string{},
		},
		KeyType: pki.KeyRSA4096, Duration: time.Hour, MaxPathLength: 2, Generation: 1,
		NameConstraints: pki.NameConstraints{
			Permitted: pki.NameConstraintSet{DNSDomains: []string{"example.com"}, IPRanges: []string{"10.0.0.0/8"}},
			Excluded:  pki.NameConstraintSet{EmailAddresses: []string{".example.com"}, URIDomains: []string{"example.org"}},
		},
	}, got.Fields); diff != "" {
		t.Error(diff)
	}
}

func TestAnImportedAuthorityHasNoFieldsOfItsOwn(t *testing.T) {
	got := authorityWish(t, v1alpha1.MTLSAuthoritySpec{Imported: &v1alpha1.Imported{SecretName: "corp-ca"}})
	if got.ImportedSecret != "corp-ca" {
		t.Errorf("it imports %q, want corp-ca", got.ImportedSecret)
	}
	if diff := cmp.Diff(pki.AuthorityFields{}, got.Fields); diff != "" {
		t.Error(diff)
	}
}

func TestAnAuthorityWishIsRefused(t *testing.T) {
	badSelector := &v1alpha1.AllowedNamespaces{From: v1alpha1.FromSelector, Selector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Near"}},
	}}
	for sentence, c := range map[string]struct {
		spec v1alpha1.MTLSAuthoritySpec
		want map[string]string
	}{
		"with a duration that is none": {v1alpha1.MTLSAuthoritySpec{Duration: "1y"}, map[string]string{"duration": "2160h or 1h30m"}},
		"with less than an hour": {
			v1alpha1.MTLSAuthoritySpec{Duration: "59m59s"}, map[string]string{"duration": "at least 1h"},
		},
		"with a longest leaf that is none": {
			v1alpha1.MTLSAuthoritySpec{MaxLeafDuration: "long"}, map[string]string{"maxLeafDuration": "2160h or 1h30m"},
		},
		"with an unknown type of key": {
			v1alpha1.MTLSAuthoritySpec{PrivateKey: &v1alpha1.AuthorityPrivateKey{Type: "DSA"}},
			map[string]string{"privateKey.type": "use one of"},
		},
		"with a name that has rights": {
			v1alpha1.MTLSAuthoritySpec{CommonName: "System:x"}, map[string]string{"commonName": "choose another"},
		},
		"with a selector that cannot be read": {
			v1alpha1.MTLSAuthoritySpec{AllowedNamespaces: badSelector}, map[string]string{"allowedNamespaces.selector": `"Near"`},
		},
		"with a selector that cannot be read, imported": {
			v1alpha1.MTLSAuthoritySpec{AllowedNamespaces: badSelector, Imported: &v1alpha1.Imported{SecretName: "x"}},
			map[string]string{"allowedNamespaces.selector": `"Near"`},
		},
		"with a renewal that is none": {
			v1alpha1.MTLSAuthoritySpec{RenewBefore: "soon"}, map[string]string{"renewBefore": "2160h or 1h30m"},
		},
		"with a propagation delay that is none": {
			delays("soon"), map[string]string{"rotation.propagationDelay": "2160h or 1h30m"},
		},
		"with less time than kubelet takes": {
			delays("89s"), map[string]string{"rotation.propagationDelay": "is 89s: must be at least 1m30s, which kubelet may take"},
		},
		"with less time than kubelet takes, imported": {
			v1alpha1.MTLSAuthoritySpec{
				Imported: &v1alpha1.Imported{SecretName: "x"}, Rotation: &v1alpha1.RotationSettings{PropagationDelay: "0s"},
			}, map[string]string{"rotation.propagationDelay": "is 0s: must be at least 1m30s"},
		},
		"with a life too short for a rotation": {
			v1alpha1.MTLSAuthoritySpec{Duration: "1h", Rotation: &v1alpha1.RotationSettings{PropagationDelay: "5m1s"}},
			map[string]string{"duration": "leaves 20m0s for a rotation, which needs 20m4s, four times rotation.propagationDelay"},
		},
		"with a renewal too late for a rotation": {
			v1alpha1.MTLSAuthoritySpec{RenewBefore: "19m59s"},
			map[string]string{"renewBefore": "leaves 19m59s for a rotation, which needs 20m0s"},
		},
		"with a selector for the roots that cannot be read": {
			v1alpha1.MTLSAuthoritySpec{TrustBundle: &v1alpha1.TrustBundle{ConfigMap: &v1alpha1.TrustBundleConfigMap{
				Name: "x", NamespaceSelector: badSelector.Selector,
			}}}, map[string]string{"trustBundle.configMap.namespaceSelector": `"Near"`},
		},
		"with a selector of authorities that cannot be read": {
			v1alpha1.MTLSAuthoritySpec{AllowedAuthorities: badSelector}, map[string]string{"allowedAuthorities.selector": `"Near"`},
		},
		"with everything wrong, telling it all": {
			v1alpha1.MTLSAuthoritySpec{
				Duration: "1y", MaxLeafDuration: "1y", AllowedNamespaces: badSelector, MaxPathLength: new(int32(9)),
				Subject: &v1alpha1.Subject{Countries: []v1alpha1.Text{"Germany"}},
			},
			map[string]string{
				"duration": "", "maxLeafDuration": "", "allowedNamespaces.selector": "", "maxPathLength": "", "subject.countries[0]": "",
			},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			wish, err := plan.NewAuthorityWish(authority(c.spec), leastDelay)
			wantFields(t, err, c.want)
			if wish.Hash != "" {
				t.Errorf("a wish comes with the error: %+v", wish)
			}
		})
	}
}

func delays(delay v1alpha1.Duration) v1alpha1.MTLSAuthoritySpec {
	return v1alpha1.MTLSAuthoritySpec{Rotation: &v1alpha1.RotationSettings{PropagationDelay: delay}}
}

func TestTheRotationOfAWish(t *testing.T) {
	parent := &v1alpha1.SignedBy{Name: "root"}
	for sentence, c := range map[string]struct {
		spec        v1alpha1.MTLSAuthoritySpec
		delay       time.Duration
		renewBefore time.Duration
		signedBy    string
	}{
		"by default":                 {v1alpha1.MTLSAuthoritySpec{}, 5 * time.Minute, 0, "/"},
		"with an empty setting":      {delays(""), 5 * time.Minute, 0, "/"},
		"with the shortest delay":    {delays("90s"), 90 * time.Second, 0, "/"},
		"with just enough of a life": {v1alpha1.MTLSAuthoritySpec{Duration: "1h"}, 5 * time.Minute, 0, "/"},
		"with just enough before":    {v1alpha1.MTLSAuthoritySpec{RenewBefore: "20m"}, 5 * time.Minute, 20 * time.Minute, "/"},
		"with more than a life":      {v1alpha1.MTLSAuthoritySpec{RenewBefore: "9000h"}, 5 * time.Minute, 9000 * time.Hour, "/"},
		"under another authority":    {v1alpha1.MTLSAuthoritySpec{SignedBy: parent}, 5 * time.Minute, 0, "pki/root"},
		"under another authority, elsewhere": {
			v1alpha1.MTLSAuthoritySpec{SignedBy: &v1alpha1.SignedBy{Namespace: "shop", Name: "root"}}, 5 * time.Minute, 0, "shop/root",
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			got := authorityWish(t, c.spec)
			if got.PropagationDelay != c.delay || got.RenewBefore != c.renewBefore || got.SignedBy.String() != c.signedBy {
				t.Errorf("delay %s, renewBefore %s, signed by %s", got.PropagationDelay, got.RenewBefore, got.SignedBy)
			}
		})
	}
}

// A rotation that is under way goes on at its pace while the spec is wrong.
func TestAWrongWishHasAPropagationDelay(t *testing.T) {
	for text, want := range map[v1alpha1.Duration]time.Duration{
		"10m": 10 * time.Minute, "": 5 * time.Minute, "soon": 5 * time.Minute, "1s": 5 * time.Minute,
	} {
		spec := delays(text)
		spec.Duration = "1y"
		got, err := plan.NewAuthorityWish(authority(spec), leastDelay)
		if err == nil || got.PropagationDelay != want {
			t.Errorf("with %q it is %s, want %s: %v", text, got.PropagationDelay, want, err)
		}
	}
}

// To write out the namespace that is meant anyway doesn't ask for another CA.
func TestTheNamespaceOfAParentIsItsOwnWhenUnset(t *testing.T) {
	hash := func(namespace string) string {
		return authorityWish(t, v1alpha1.MTLSAuthoritySpec{SignedBy: &v1alpha1.SignedBy{Name: "root", Namespace: namespace}}).Hash
	}
	if hash("") != hash("pki") || hash("") == hash("shop") {
		t.Errorf("unset %s, its own %s, another %s", hash(""), hash("pki"), hash("shop"))
	}
	spec := &v1alpha1.SignedBy{Name: "root", Namespace: "pki"}
	authorityWish(t, v1alpha1.MTLSAuthoritySpec{SignedBy: spec})
	if spec.Namespace != "pki" {
		t.Error("the spec was changed")
	}
}

// The hashes are recorded in clusters: a refactoring that changes one asks for a new CA in each of them. Beside each is
// what it is the SHA-256 of.
func TestTheHashOfASpecIsForEver(t *testing.T) {
	constraints := &v1alpha1.NameConstraints{
		Permitted: &v1alpha1.NameConstraintSet{DNSDomains: []string{"example.com"}, IPRanges: []string{"10.0.0.0/8"}},
		Excluded:  &v1alpha1.NameConstraintSet{EmailAddresses: []string{"example.com"}, URIDomains: []string{".example.com"}},
	}
	subject := &v1alpha1.Subject{
		Organizations: []v1alpha1.Text{"Shop", "Müller & Co"}, OrganizationalUnits: []v1alpha1.Text{"Web"},
		Countries: []v1alpha1.Text{"DE"}, Provinces: []v1alpha1.Text{"Hesse"}, Localities: []v1alpha1.Text{"Mainz"},
	}
	rsa := &v1alpha1.AuthorityPrivateKey{Type: "RSA4096"}
	for _, c := range []struct {
		spec v1alpha1.MTLSAuthoritySpec
		text string
		want string
	}{
		{
			v1alpha1.MTLSAuthoritySpec{},
			`{}`,
			"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
		},
		{
			v1alpha1.MTLSAuthoritySpec{Imported: &v1alpha1.Imported{SecretName: "corp-ca"}},
			`{"imported":true}`,
			"0537f0a38e6b84ba12ff2f1817b8c28c86591d04ff9787a11027c7b7c1397235",
		},
		{
			v1alpha1.MTLSAuthoritySpec{SignedBy: &v1alpha1.SignedBy{Name: "root"}},
			`{"signedBy":{"name":"root"}}`,
			"2b96d5cc717cb51bf658b21a1db2cbb0fc2528603f092a7c0fcca58a4e5fc558",
		},
		{
			v1alpha1.MTLSAuthoritySpec{CommonName: "<a&b>"},
			`{"commonName":"\u003ca\u0026b\u003e"}`,
			"a61ef0f7b5af2b57fb426c0265cedad764cabfd39edbb9564bf47b62c4e48741",
		},
		{
			v1alpha1.MTLSAuthoritySpec{PrivateKey: rsa},
			`{"privateKey":{"type":"RSA4096"}}`,
			"a53d3a76da1c49a408863e76be54348b06cd5d15aa689cb47cb7ae8aae3103c3",
		},
		{
			v1alpha1.MTLSAuthoritySpec{MaxPathLength: new(int32(0))},
			`{"maxPathLength":0}`,
			"680c686478b5344594d34ec6e42d059df3a44131254b05f1917166b2a33e6d5a",
		},
		{
			v1alpha1.MTLSAuthoritySpec{Subject: subject},
			`{"subject":{"organizations":["Shop","Müller \u0026 Co"],` +
				`"organizationalUnits":["Web"],"countries":["DE"],"provinces":["Hesse"],"localities":["Mainz"]}}`,
			"fbb08a07a0b372447c4515f2a59b3b6c244f6b527feafdf02097cb782cb101be",
		},
		{
			v1alpha1.MTLSAuthoritySpec{NameConstraints: constraints},
			`{"nameConstraints":{"permitted":{"dnsDomains":["example.com"],` +
				`"ipRanges":["10.0.0.0/8"]},"excluded":{"emailAddresses":["example.com"],"uriDomains":[".example.com"]}}}`,
			"da6c69f66a27578d550ffbd1079aa7940b431c65625b22e6185978bfa56feb17",
		},
	} {
		if got := authorityWish(t, c.spec).Hash; got != "v1:"+c.want {
			t.Errorf("%s has hash\n%s, want\nv1:%s", c.text, got, c.want)
		}
	}
}

// Every field of the spec is either part of the hash or not: a new one must be decided on here.
func TestWhichFieldsAskForAnotherCA(t *testing.T) {
	type sample struct {
		value any
		asks  bool
	}
	samples := map[string]sample{
		"SelfSigned":         {&v1alpha1.SelfSigned{}, false}, // it is what no choice means
		"Imported":           {&v1alpha1.Imported{SecretName: "x"}, true},
		"CommonName":         {"x", true},
		"Subject":            {&v1alpha1.Subject{Localities: []v1alpha1.Text{"Mainz"}}, true},
		"PrivateKey":         {&v1alpha1.AuthorityPrivateKey{Type: v1alpha1.KeyTypeDefault}, true}, // unset is not its default
		"Duration":           {v1alpha1.Duration("8760h"), false},
		"MaxPathLength":      {new(int32(0)), true},
		"NameConstraints":    {&v1alpha1.NameConstraints{Excluded: &v1alpha1.NameConstraintSet{DNSDomains: []string{"x"}}}, true},
		"AllowedNamespaces":  {&v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}, false},
		"AllowedNames":       {[]string{"x"}, false},
		"MaxLeafDuration":    {v1alpha1.Duration("24h"), false},
		"SignedBy":           {&v1alpha1.SignedBy{Name: "x"}, true},
		"RenewBefore":        {v1alpha1.Duration("720h"), false},
		"Rotation":           {&v1alpha1.RotationSettings{PropagationDelay: "10m"}, false},
		"TrustBundle":        {&v1alpha1.TrustBundle{ConfigMap: &v1alpha1.TrustBundleConfigMap{Name: "x"}}, false},
		"AllowedAuthorities": {&v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}, false},
	}
	unset := authorityWish(t, v1alpha1.MTLSAuthoritySpec{}).Hash
	seen := map[string]string{unset: "an empty spec"}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[v1alpha1.MTLSAuthoritySpec]()) {
		sample, known := samples[field.Name]
		if !known {
			t.Errorf("is another CA asked for when %s changes? Add it to the table", field.Name)
			continue
		}
		spec := v1alpha1.MTLSAuthoritySpec{}
		reflect.ValueOf(&spec).Elem().FieldByName(field.Name).Set(reflect.ValueOf(sample.value))
		hash := authorityWish(t, spec).Hash
		if asks := hash != unset; asks != sample.asks {
			t.Errorf("%s asks for another CA: %t, want %t", field.Name, asks, sample.asks)
		}
		if twin, double := seen[hash]; double && sample.asks {
			t.Errorf("%s has the hash of %s", field.Name, twin)
		}
		seen[hash] = fmt.Sprintf("a spec with %s", field.Name)
	}
	other := authorityWish(t, v1alpha1.MTLSAuthoritySpec{Imported: &v1alpha1.Imported{SecretName: "y"}}).Hash
	if seen[other] != "a spec with Imported" {
		t.Error("another name of the Secret to import asks for another CA, whatever is in it")
	}
}
