package pki

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"
)

const walkThrough = "req -new -x509 -nodes -days 365 -subj '/CN=my-ca' -keyout ca.key -out ca.crt"

// A CA as openssl makes it must work as it comes out.
func TestCAsOfOpensslWork(t *testing.T) {
	newKey := func(key string) string {
		return "req -new -x509 -nodes -subj '/CN=my-ca' -keyout ca.key -out ca.crt -newkey " + key
	}
	for name, lines := range map[string][]string{
		"the walk-through":   {walkThrough},
		"RSA 3072, SHA-512":  {newKey("rsa:3072 -sha512")},
		"RSA-PSS signature":  {newKey("rsa:2048 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest")},
		"EC P-256":           {newKey("ec -pkeyopt ec_paramgen_curve:P-256")},
		"EC P-384":           {newKey("ec -pkeyopt ec_paramgen_curve:P-384")},
		"EC P-521":           {newKey("ec -pkeyopt ec_paramgen_curve:P-521")},
		"Ed25519":            {newKey("ed25519")},
		"a key in PKCS #1":   {walkThrough, "rsa -in ca.key -traditional -out ca.key"},
		"a key in SEC 1":     {newKey("ec -pkeyopt ec_paramgen_curve:P-256"), "ec -in ca.key -out ca.key"},
		"with text":          {walkThrough, "x509 -in ca.crt -text -out ca.crt"},
		"with keyUsage":      {walkThrough + " -addext keyUsage=critical,keyCertSign,cRLSign"},
		"with a path length": {walkThrough + " -addext basicConstraints=critical,CA:TRUE,pathlen:0"},
		"with extKeyUsage":   {walkThrough + " -addext extendedKeyUsage=serverAuth,clientAuth"},
		"with other extensions": {
			walkThrough + " -addext nsComment=made-by-hand -addext subjectAltName=DNS:ca.example.com",
		},
		"with a long subject": {
			strings.Replace(walkThrough, "/CN=my-ca", "/C=DE/ST=Bayern/L=München/O=Example & Sons/OU=IT/CN=my-ca", 1) + " -utf8",
		},
		"parameters before the key": {
			"ecparam -name prime256v1 -genkey -out ca.key", "req -new -x509 -subj '/CN=my-ca' -key ca.key -out ca.crt",
		},
		"constraints": {
			walkThrough + " -addext 'nameConstraints=critical,permitted;DNS:localhost,permitted;DNS:example.com'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t)
			for _, line := range lines {
				w.run(line)
			}
			// openssl takes the machine's time.
			now := time.Now()
			authority, err := ImportAuthority(w.read("ca.crt"), w.read("ca.key"), nil, now)
			wantNoError(t, err)
			wantWorks(t, w, authority, now)
			certificates, key, roots, err := authority.Encode()
			wantNoError(t, err)
			again, err := LoadAuthority(certificates, key, roots)
			wantNoError(t, err)
			wantSameAuthority(t, authority, again)
		})
	}
}

// wantWorks issues a leaf and lets openssl look at it.
func wantWorks(t testing.TB, w workshop, authority *Authority, now time.Time) {
	t.Helper()
	issuer := authority.Issuer()
	request := requestFor(t, Names{Subject: Subject{CommonName: "localhost"}, DNSNames: []string{"localhost"}}, bothUsages...)
	validity := issuer.LeafValidity(now, time.Hour)
	leaf, err := authority.Sign(request, keyFor(t, "leaf", KeyECDSAP256).Public(), validity, issuer.Bundle())
	wantNoError(t, err)
	if !issuer.Issued(leaf) {
		t.Error("the leaf isn't its own")
	}
	w.write("leaf.pem", EncodeCertificates(leaf))
	w.write("roots.pem", issuer.Bundle().PEM())
	untrusted := ""
	if sent := issuer.Sent(); len(sent) > 0 {
		w.write("sent.pem", EncodeCertificates(sent...))
		untrusted = "-untrusted sent.pem "
	}
	for _, purpose := range []string{"sslserver -verify_hostname localhost", "sslclient"} {
		w.run("verify -CAfile roots.pem -purpose " + purpose + " " + untrusted + "leaf.pem")
	}
}

func TestIntermediatesOfOpensslWork(t *testing.T) {
	w := newWorkshop(t)
	w.run("req -new -x509 -nodes -subj /CN=root -keyout root.key -out root.crt -newkey ec -pkeyopt ec_paramgen_curve:P-256")
	w.run("req -new -nodes -subj /CN=my-ca -keyout ca.key -out ca.csr -newkey rsa:2048")
	w.write("ca.ext", []byte("basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\nauthorityKeyIdentifier=keyid\n"))
	w.run("x509 -req -in ca.csr -CA root.crt -CAkey root.key -CAcreateserial -extfile ca.ext -out ca.crt")
	now := time.Now()
	for name, test := range map[string]struct{ certificates, roots []byte }{
		"the root in ca.crt":             {w.read("ca.crt"), w.read("root.crt")},
		"the root at the end of tls.crt": {join(w.read("ca.crt"), w.read("root.crt")), nil},
		"the root in both":               {join(w.read("ca.crt"), w.read("root.crt")), w.read("root.crt")},
	} {
		t.Run(name, func(t *testing.T) {
			authority, err := ImportAuthority(test.certificates, w.read("ca.key"), test.roots, now)
			wantNoError(t, err)
			if n := len(authority.Issuer().Sent()); n != 1 {
				t.Errorf("%d certificates are sent", n)
			}
			wantWorks(t, w, authority, now)
		})
	}
	_, err := ImportAuthority(w.read("ca.crt"), w.read("ca.key"), nil, now)
	wantImportError(t, err, "tls.crt", "append the certificates above it up to the root, or put the root into ca.crt")
}

func TestTheWalkThroughByHandWorksWithOurs(t *testing.T) {
	// A server whose certificate came from the same CA by hand, and a client of ours.
	w := newWorkshop(t)
	w.run(walkThrough)
	w.run("genrsa -out server.key 2048")
	w.run("req -new -key server.key -subj /CN=localhost -out server.csr")
	w.write("server.ext", []byte("subjectAltName=DNS:localhost\n"))
	w.run("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile server.ext -out server.crt")
	server, err := tls.X509KeyPair(w.read("server.crt"), w.read("server.key"))
	wantNoError(t, err)
	now := time.Now()
	authority, err := ImportAuthority(w.read("ca.crt"), w.read("ca.key"), nil, now)
	wantNoError(t, err)
	issuer := authority.Issuer()
	request := requestFor(t, Names{Subject: Subject{CommonName: "my-client"}}, UsageClient)
	validity := issuer.LeafValidity(now, time.Hour)
	leaf, err := authority.Sign(request, keyFor(t, "table", KeyECDSAP256).Public(), validity, issuer.Bundle())
	wantNoError(t, err)
	client := credential(t, issuer, leaf, KeyECDSAP256)
	fromServer, fromClient := handshakeAt(t, now, server, client, issuer.Bundle(), "localhost", tls.VersionTLS13)
	if fromServer != nil || fromClient != nil {
		t.Errorf("server: %v, client: %v", fromServer, fromClient)
	}
}

func TestImportRefusesWhatOpensslCanMakeWrong(t *testing.T) {
	sign := "x509 -req -in ca.csr -signkey ca.key -days 365 -out ca.crt"
	request := "req -new -nodes -subj /CN=my-ca -keyout ca.key -out ca.csr -newkey rsa:2048"
	for name, test := range map[string]struct {
		lines     []string
		key, want string
	}{
		"SHA-1": {
			[]string{walkThrough + " -sha1"},
			"tls.crt",
			`certificate 1 ("CN=my-ca") has a signature that verifiers refuse (SHA1-RSA)`,
		},
		"MD5": {[]string{walkThrough + " -md5"}, "tls.crt", "sign it with SHA-256 or better"},
		"RSA-PSS with the longest salt": {
			[]string{walkThrough + " -sigopt rsa_padding_mode:pss"}, "tls.crt", "has a signature of an algorithm or with parameters",
		},
		"RSA 1024": {
			[]string{walkThrough + " -newkey rsa:1024"},
			"tls.key",
			"an RSA key of 1024 bits isn't supported: use one of ECDSAP256",
		},
		"P-224": {
			[]string{walkThrough + " -newkey ec -pkeyopt ec_paramgen_curve:secp224r1"},
			"tls.key",
			"an ECDSA key on curve P-224 isn't supported",
		},
		"secp256k1": {
			[]string{walkThrough + " -newkey ec -pkeyopt ec_paramgen_curve:secp256k1"}, "tls.crt", "not a certificate",
		},
		"Ed448": {
			[]string{walkThrough + " -newkey ed448"}, "tls.key", "holds no private key of a supported algorithm",
		},
		"an encrypted key": {
			[]string{strings.Replace(walkThrough, "-nodes", "-passout pass:secret", 1)},
			"tls.key",
			`is encrypted with a password: decrypt it first, with "openssl pkey -in tls.key -out decrypted.key"`,
		},
		"CA:FALSE": {
			[]string{walkThrough + " -addext basicConstraints=CA:FALSE"},
			"tls.crt",
			"isn't a CA's: its basicConstraints say CA:FALSE; import the CA that signed it",
		},
		"version 1": {[]string{request, sign}, "tls.crt", "is of X.509 version 1, which can't say that it is a CA's"},
		"keyUsage": {
			[]string{walkThrough + " -addext keyUsage=digitalSignature"},
			"tls.crt",
			"may not sign certificates: its keyUsage lacks keyCertSign",
		},
		"extKeyUsage": {
			[]string{walkThrough + " -addext extendedKeyUsage=codeSigning"},
			"tls.crt",
			"has an extKeyUsage with neither serverAuth nor clientAuth",
		},
		"constraints on directories": {
			[]string{walkThrough + " -addext 'nameConstraints=permitted;dirName:dir' -config dir.cnf"},
			"tls.crt",
			"has nameConstraints on other things than DNS names",
		},
		"a name of Kubernetes": {
			[]string{strings.Replace(walkThrough, "/CN=my-ca", "/O=system:masters/CN=my-ca", 1)},
			"tls.crt",
			`has "system:masters" in its subject: Kubernetes gives rights to names that begin with "system:"`,
		},
		"no name": {
			[]string{strings.Replace(walkThrough, "/CN=my-ca", "/", 1)},
			"tls.crt",
			"has an empty subject: a CA needs a name",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t)
			w.write("dir.cnf", []byte(
				"[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\nbasicConstraints=CA:TRUE\n[dir]\nO=x\n"))
			for _, line := range test.lines {
				w.run(line)
			}
			_, err := ImportAuthority(w.read("ca.crt"), w.read("ca.key"), nil, time.Now())
			wantImportError(t, err, test.key, test.want)
			wantNoKeyIn(t, err.Error(), w.read("ca.key"))
		})
	}
}
