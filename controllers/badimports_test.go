package controllers

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"maps"
	"math/big"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

// badImports are all the ways to hand in something that isn't a CA to sign with.
func badImports(t *testing.T) map[string]badImport {
	t.Helper()
	all := badPairs(t)
	maps.Copy(all, badChains(t))
	maps.Copy(all, badCACertificates(t))
	return all
}

// badPairs are wrong before anybody looks at what the certificate says.
func badPairs(t *testing.T) map[string]badImport {
	t.Helper()
	ca, other := makeCA(t, "ca", nil, nil), makeCA(t, "other", nil, nil)
	crt, key := ca.certificatePEM(), ca.keyPEM()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(ca.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	encrypted := pem.EncodeToMemory(&pem.Block{
		Type: "EC PRIVATE KEY", Bytes: ca.keyDER(),
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"},
	})
	return map[string]badImport{
		"the key of another CA": {data: crtAndKey(crt, other.keyPEM()), says: "tls.key|isn't the key|CN=ca"},
		"no key": {
			data: map[string][]byte{"tls.crt": crt},
			says: "tls.key|missing|put the CA's private key",
		},
		"no certificate": {
			data: map[string][]byte{"tls.key": key},
			says: "tls.crt|missing|put the CA's certificate",
		},
		"an empty Secret":     {says: "tls.crt|missing|put the CA's certificate"},
		"keys of other tools": {data: map[string][]byte{"ca.crt": crt, "ca.key": key}, says: "tls.crt|missing"},
		"garbage": {
			data: crtAndKey([]byte("hello\x00\xff"), []byte("world")),
			says: "tls.crt|no PEM block",
		},
		"a garbage key": {data: crtAndKey(crt, []byte("world")), says: "tls.key|PEM"},
		"a megabyte of blanks": {
			data: crtAndKey(bytes.Repeat([]byte{'\n'}, 900<<10), key),
			says: "tls.crt|missing or empty",
		},
		"DER":                        {data: crtAndKey(ca.certificate.Raw, ca.keyDER()), says: "tls.crt|PEM"},
		"a certificate that was cut": {data: crtAndKey(crt[:len(crt)/2], key), says: "tls.crt|damaged|paste it again"},
		"a certificate that isn't one": {
			data: crtAndKey(block("CERTIFICATE", []byte("hello")), key),
			says: "tls.crt|not a certificate",
		},
		"a request for a certificate": {
			data: crtAndKey(block("CERTIFICATE REQUEST", []byte("x")), key),
			says: `tls.crt|"CERTIFICATE REQUEST"`,
		},
		"words behind a certificate": {
			data: crtAndKey(append(bytes.Clone(crt), "the end"...), key),
			says: "tls.crt|remove it",
		},
		"the key among the certificates": {
			data: crtAndKey(append(bytes.Clone(crt), key...), key),
			says: "tls.crt|private key|remove it",
		},
		"a key with a passphrase": {
			data: crtAndKey(crt, block("ENCRYPTED PRIVATE KEY", ca.keyDER())),
			says: "tls.key|encrypted",
		},
		"a key with a passphrase, old form": {data: crtAndKey(crt, encrypted), says: "tls.key|encrypted"},
		"a public key":                      {data: crtAndKey(crt, block("PUBLIC KEY", public)), says: "tls.key|PUBLIC KEY"},
		"two keys":                          {data: crtAndKey(crt, append(bytes.Clone(key), other.keyPEM()...)), says: "tls.key|"},
		"a key of RSA 1024":                 {data: makeCAWithKey(t, "weak", weak, nil, nil).secret(), says: "tls.key|1024|2048"},
		"a token of a ServiceAccount": {
			kind: corev1.SecretTypeServiceAccountToken, data: ca.secret(),
			says: "cannot be imported",
		},
		"the Secret of another authority": {kind: v1alpha1.AuthoritySecretType, data: ca.secret(), says: "cannot be imported"},
	}
}

// badChains are certificates that don't belong together, or not in this order.
func badChains(t *testing.T) map[string]badImport {
	t.Helper()
	root := makeCA(t, "root", nil, nil)
	middle := makeCA(t, "middle", root, nil)
	low := makeCA(t, "low", middle, nil)
	other := makeCA(t, "other", nil, nil)
	short := makeCA(t, "short", nil, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	ended := makeCA(t, "ended", nil, func(c *x509.Certificate) { c.NotAfter = start().Add(-time.Minute) })
	many := slices.Repeat([]*madeCA{root}, 80)
	withRoot := func(data map[string][]byte, root *madeCA) map[string][]byte {
		data[v1alpha1.BundleKey] = root.certificatePEM()
		return data
	}
	return map[string]badImport{
		"a chain that begins with the root": {
			data: crtAndKey(append(root.certificatePEM(), middle.certificatePEM()...), middle.keyPEM()),
			says: "tls.crt|CN=middle|must come first",
		},
		"a chain in disorder":        {data: low.secret(root, middle), says: "tls.crt|wasn't signed by|first"},
		"a chain without its middle": {data: low.secret(root), says: "tls.crt|wasn't signed by|CN=root"},
		"a chain without its root":   {data: low.secret(middle), says: "tls.crt|CN=middle|put the root into ca.crt"},
		"an intermediate alone":      {data: middle.secret(), says: "tls.crt|CN=middle|put the root into ca.crt"},
		"a chain with another root": {
			data: withRoot(middle.secret(), other),
			says: "ca.crt|didn't sign|put the right root",
		},
		"an intermediate as root":        {data: withRoot(low.secret(), middle), says: "ca.crt|CN=middle|isn't self-signed"},
		"something above a root":         {data: root.secret(other), says: "tls.crt|self-signed|remove"},
		"a certificate twice":            {data: low.secret(middle, middle, root), says: "tls.crt|the same as|remove it"},
		"80 certificates":                {data: root.secret(many...), says: "tls.crt|64"},
		"a root that allows no CA below": {data: makeCA(t, "low", short, nil).secret(short), says: "tls.crt|CN=short|pathLen"},
		"a root that ended": {
			data: makeCA(t, "low", ended, nil).secret(ended),
			says: "tls.crt|CN=ended|expired at",
		},
		"a root in ca.crt that ended": {
			data: withRoot(makeCA(t, "low", ended, nil).secret(), ended),
			says: "ca.crt|CN=ended|expired at",
		},
		"a ca.crt of garbage": {data: withGarbage(root.secret()), says: "ca.crt|PEM"},
	}
}

func withGarbage(data map[string][]byte) map[string][]byte {
	data[v1alpha1.BundleKey] = []byte("garbage")
	return data
}

// badCACertificates say of themselves that they cannot be a CA, or not one that we can be.
func badCACertificates(t *testing.T) map[string]badImport {
	t.Helper()
	changed := func(change func(*x509.Certificate)) map[string][]byte { return makeCA(t, "ca", nil, change).secret() }
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := makeCA(t, "leaf", makeCA(t, "root", nil, nil), func(c *x509.Certificate) {
		c.IsCA, c.ExtKeyUsage = false, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	strange := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}
	return map[string]badImport{
		"CA:FALSE": {
			data: changed(func(c *x509.Certificate) { c.IsCA = false }),
			says: "tls.crt|CA:FALSE|CA:TRUE",
		},
		"no basicConstraints": {
			data: changed(func(c *x509.Certificate) { c.BasicConstraintsValid = false }),
			says: "tls.crt|basicConstraints|CA:TRUE",
		},
		"a server's certificate": {data: leaf.secret(), says: "tls.crt|CN=leaf|isn't a CA's|import the CA that signed it"},
		"keyUsage without certSign": {
			data: changed(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }),
			says: "tls.crt|keyCertSign",
		},
		"an end in the past": {
			data: changed(func(c *x509.Certificate) { c.NotAfter = start().Add(-time.Minute) }),
			says: "tls.crt|expired at|renewed",
		},
		"a beginning to come": {
			data: changed(func(c *x509.Certificate) { c.NotBefore = start().Add(time.Hour) }),
			says: "tls.crt|isn't valid before|wait",
		},
		"a usage for code": {
			data: changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning} }),
			says: "tls.crt|extKeyUsage|serverAuth",
		},
		"a strange extension": {
			data: changed(func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{strange} }),
			says: "tls.crt|1.2.3|make one without it",
		},
		"no subject": {
			data: changed(func(c *x509.Certificate) { c.Subject = pkix.Name{} }),
			says: "tls.crt|empty subject",
		},
		"a subject with rights": {
			data: changed(func(c *x509.Certificate) { c.Subject.Organization = []string{"system:masters"} }),
			says: "tls.crt|system:|choose another name",
		},
		"a key of P-224": {data: makeCAWithKey(t, "ca", p224, nil, nil).secret(), says: "tls.key|"},
		"a serial number of 40 octets": {
			data: changed(func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 310) }),
			says: "tls.crt|serial number|no more than 20",
		},
		"a key identifier of 80 octets": {
			data: changed(func(c *x509.Certificate) { c.SubjectKeyId = make([]byte, 80) }),
			says: "tls.crt|key identifier|no more than 64",
		},
	}
}
