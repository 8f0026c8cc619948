package pki

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestNewRequestNamesTheField(t *testing.T) {
	server, client := []Usage{UsageServer}, []Usage{UsageClient}
	for name, test := range map[string]struct {
		names       Names
		usages      []Usage
		field, want string
	}{
		"no name": {
			Names{Subject: Subject{Organizations: []string{"o"}}},
			client,
			"commonName", "no name at all: give at least one of commonName, dnsNames, ipAddresses, uris and emailAddresses",
		},
		"a server with a common name only": {
			Names{Subject: Subject{CommonName: "hello"}},
			server,
			"dnsNames", "a server needs at least one of dnsNames, ipAddresses and uris",
		},
		"a server with an e-mail address only": {
			Names{EmailAddresses: []string{"a@example.com"}}, server, "dnsNames", "a server needs at least one of",
		},
		"no usage": {Names{DNSNames: []string{"a"}}, nil, "usages", "none given: write Server, Client or both"},
		"unknown usage": {
			Names{DNSNames: []string{"a"}}, []Usage{UsageClient, "Peer"}, "usages[1]", `"Peer" isn't known`,
		},
		"usage as in X.509": {
			Names{DNSNames: []string{"a"}}, []Usage{"serverAuth"}, "usages[0]", "write Server or Client",
		},
		"usage twice": {
			Names{DNSNames: []string{"a"}}, []Usage{UsageClient, UsageClient}, "usages[1]", "is there twice: remove one",
		},
		"common name": {
			Names{Subject: Subject{CommonName: "system:admin"}}, client, "commonName", "Kubernetes gives rights",
		},
		"organization": {
			Names{Subject: Subject{CommonName: "a", Organizations: []string{"b", "system:masters"}}},
			client,
			"subject.organizations[1]", "Kubernetes gives rights",
		},
		"organization too long": {
			Names{Subject: Subject{CommonName: "a", Organizations: []string{strings.Repeat("x", 65)}}},
			client,
			"subject.organizations[0]", "has 65 characters: there may be no more than 64",
		},
		"organizational unit": {
			Names{Subject: Subject{CommonName: "a", OrganizationalUnits: []string{"system:nodes"}}},
			client,
			"subject.organizationalUnits[0]", "Kubernetes gives rights",
		},
		"organizational unit too long": {
			Names{Subject: Subject{CommonName: "a", OrganizationalUnits: []string{strings.Repeat("x", 65)}}},
			client,
			"subject.organizationalUnits[0]", "there may be no more than 64",
		},
		"country": {
			Names{Subject: Subject{CommonName: "a", Countries: []string{"DE", "Denmark"}}},
			client,
			"subject.countries[1]", "write an ISO 3166 code",
		},
		"province too long": {
			Names{Subject: Subject{CommonName: "a", Provinces: []string{strings.Repeat("x", 129)}}},
			client,
			"subject.provinces[0]", "there may be no more than 128",
		},
		"locality empty": {
			Names{Subject: Subject{CommonName: "a", Localities: []string{""}}},
			client,
			"subject.localities[0]", "is empty: remove it",
		},
		"an organization twice": {
			Names{Subject: Subject{CommonName: "a", Organizations: []string{"b", "b"}}},
			client,
			"subject.organizations[1]", `"b" is there twice: remove one`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewRequest(test.names, test.usages)
			wantField(t, err, test.field, test.want)
		})
	}
}

func TestNewRequestNamesTheName(t *testing.T) {
	server, client := []Usage{UsageServer}, []Usage{UsageClient}
	for name, test := range map[string]struct {
		names       Names
		usages      []Usage
		field, want string
	}{
		"DNS name":       {Names{DNSNames: []string{"a", "b_c"}}, server, "dnsNames[1]", `label "b_c"`},
		"DNS name twice": {Names{DNSNames: []string{"a", "b", "a"}}, server, "dnsNames[2]", `"a" is there twice`},
		"IP address":     {Names{IPAddresses: []string{"10.0.0.256"}}, server, "ipAddresses[0]", "isn't an IP address"},
		"IP address twice": {
			Names{IPAddresses: []string{"::1", "::1"}}, server, "ipAddresses[1]", "is there twice",
		},
		"URI":       {Names{URIs: []string{"https://example.com", "x"}}, client, "uris[1]", "isn't an absolute URI"},
		"URI twice": {Names{URIs: []string{"https://a.bc", "https://a.bc"}}, client, "uris[1]", "is there twice"},
		"e-mail address": {
			Names{EmailAddresses: []string{"a"}}, client, "emailAddresses[0]", "isn't an e-mail address",
		},
		"e-mail address twice": {
			Names{EmailAddresses: []string{"a@b", "A@b"}}, client, "emailAddresses[1]", "is there twice",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewRequest(test.names, test.usages)
			wantField(t, err, test.field, test.want)
		})
	}
}

func TestNewRequestTellsEverythingAtOnce(t *testing.T) {
	_, err := NewRequest(Names{
		Subject:     Subject{CommonName: "system:x", Countries: []string{"x"}},
		DNSNames:    []string{"_", "ok", "_"},
		IPAddresses: []string{"x"},
		URIs:        []string{"x"},
	}, []Usage{"x"})
	var wrong FieldErrors
	if !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	var fields []string
	for _, one := range wrong {
		fields = append(fields, one.Field)
		wantText(t, err, one.Error())
	}
	want := []string{
		"usages[0]", "commonName", "subject.countries[0]", "dnsNames[0]", "dnsNames[2]", "dnsNames[2]", "ipAddresses[0]", "uris[0]",
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Error(diff)
	}
	wantText(t, err, "isn't an IP address: write one such as 10.0.0.1 or fd00::1; uris[0]: ")
}

func TestAnEmptyCommonNameIsNone(t *testing.T) {
	request := requestFor(t, Names{URIs: []string{"spiffe://example.com/a"}}, UsageClient)
	leaf := issue(t, root(t), request, keyFor(t, "leaf", KeyECDSAP256).Public())
	if SubjectText(leaf) != "" {
		t.Error(SubjectText(leaf))
	}
}

func TestARequestCanNotBeChangedFromOutside(t *testing.T) {
	names := Names{
		Subject:     Subject{"c", []string{"o"}, []string{"u"}, []string{"DE"}, []string{"p"}, []string{"l"}},
		DNSNames:    []string{"a"},
		IPAddresses: []string{"10.0.0.1"}, URIs: []string{"https://example.com"}, EmailAddresses: []string{"a@b"},
	}
	usages := []Usage{UsageServer, UsageClient}
	request := requestFor(t, names, usages...)
	want := names.clone()
	spoil := func(n Names) {
		for _, list := range [][]string{
			n.Subject.Organizations, n.Subject.OrganizationalUnits, n.Subject.Countries, n.Subject.Provinces,
			n.Subject.Localities, n.DNSNames, n.IPAddresses, n.URIs, n.EmailAddresses,
		} {
			list[0] = "spoiled"
		}
	}
	spoil(names)
	spoil(request.Names())
	usages[0] = "spoiled"
	request.Usages()[0] = "spoiled"
	if diff := cmp.Diff(want, request.Names()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Usage{UsageClient, UsageServer}, request.Usages()); diff != "" {
		t.Error(diff)
	}
}

func TestSubjectsHaveOneValuePerRDN(t *testing.T) {
	request := requestFor(t, Names{Subject: Subject{
		CommonName: "c", Organizations: []string{"z", "a"}, OrganizationalUnits: []string{"u"},
		Countries: []string{"DE"}, Provinces: []string{"p"}, Localities: []string{"l"},
	}}, UsageClient)
	leaf := issue(t, root(t), request, keyFor(t, "leaf", KeyECDSAP256).Public())
	if has, want := SubjectText(leaf), "CN=c,OU=u,O=a,O=z,L=l,ST=p,C=DE"; has != want {
		t.Errorf("%s, want %s", has, want)
	}
	if diff := cmp.Diff([]string{"z", "a"}, leaf.Subject.Organization); diff != "" {
		t.Error(diff)
	}
}

// acceptableNames are names of which each passes its check: what is left to be found out is whether it was right.
func acceptableNames() *rapid.Generator[Names] {
	label := rapid.OneOf(
		rapid.StringMatching(`[a-z0-9]{1,4}`), rapid.StringMatching(`[a-z0-9]([a-z0-9_-]{0,4}[a-z0-9])?`), rapid.Just("xn--tda"),
	)
	host := rapid.Map(rapid.SliceOfN(label, 2, 5), func(labels []string) string { return strings.Join(labels, ".") })
	dns := rapid.OneOf(label, host, rapid.Map(host, func(h string) string { return "*." + h }))
	ip := rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 4, 4), func(b []byte) string { return net.IP(b).String() }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 16, 16), func(b []byte) string { return net.IP(b).String() }),
	)
	uri := rapid.Custom(func(t *rapid.T) string {
		scheme := rapid.SampledFrom([]string{"spiffe://", "https://", "x-y://"}).Draw(t, "scheme")
		path := rapid.OneOf(rapid.StringMatching(`(/[A-Za-z0-9._-]{1,6}){1,3}`), rapid.StringMatching(`(:[0-9]{1,4})?/[!-~]{0,6}`))
		return scheme + host.Draw(t, "host") + path.Draw(t, "path")
	})
	email := rapid.Custom(func(t *rapid.T) string {
		return rapid.StringMatching(`[!#-'*+/-9A-Z^-~.-]{1,8}`).Draw(t, "local") + "@" + host.Draw(t, "host")
	})
	text := rapid.OneOf(rapid.StringMatching(`[!-~]([ -~]{0,18}[!-~])?`), rapid.StringN(1, 4, -1), rapid.Just("Jürgen"))
	check := func(of *rapid.Generator[string], check func(string) string) *rapid.Generator[string] {
		return of.Filter(func(value string) bool { return check(value) == "" })
	}
	dns, ip, uri = check(dns, checkDNSName), check(ip, checkIPAddress), check(uri, checkURI)
	email = check(email, checkEmailAddress)
	text = check(text, func(value string) string { return checkIdentity(value, maxCommonName) })
	some := func(of *rapid.Generator[string]) *rapid.Generator[[]string] {
		return rapid.SliceOfNDistinct(of, 0, 2, strings.ToLower)
	}
	return rapid.Custom(func(t *rapid.T) Names {
		return Names{
			Subject: Subject{
				CommonName:    text.Draw(t, "commonName"),
				Organizations: some(text).Draw(t, "organizations"),
				Countries:     some(rapid.SampledFrom([]string{"DE", "FR"})).Draw(t, "countries"),
				Localities:    some(text).Draw(t, "localities"),
			},
			DNSNames:       some(dns).Draw(t, "dnsNames"),
			IPAddresses:    some(ip).Draw(t, "ipAddresses"),
			URIs:           some(uri).Draw(t, "uris"),
			EmailAddresses: some(email).Draw(t, "emailAddresses"),
		}
	})
}

func TestWhatNewRequestAcceptsCanBeSigned(t *testing.T) {
	authority, key := root(t), keyFor(t, "leaf", KeyECDSAP256).Public()
	names := acceptableNames()
	usages := rapid.SampledFrom([][]Usage{{UsageServer}, {UsageClient}, bothUsages})
	rapid.Check(t, func(t *rapid.T) {
		wanted, usage := names.Draw(t, "names"), usages.Draw(t, "usages")
		if slices.Contains(usage, UsageServer) {
			wanted.DNSNames = append(wanted.DNSNames, "server.example") // which a server needs
		}
		request, err := NewRequest(wanted, usage)
		if err != nil {
			t.Fatalf("%q: %v", wanted, err)
		}
		issuer := authority.Issuer()
		leaf, err := authority.Sign(request, key, issuer.LeafValidity(noon, 1e12), issuer.Bundle())
		if err != nil {
			t.Fatalf("%q: %v", wanted, err)
		}
		if diff := cmp.Diff(wanted, request.Names()); diff != "" {
			t.Fatal(diff)
		}
		if difference := request.Difference(leaf, KeyECDSAP256); difference != "" {
			t.Fatal(difference)
		}
	})
}

func FuzzNewRequest(f *testing.F) {
	f.Add("hello", "Example", "localhost", "10.0.0.1", "spiffe://example.com/a", "a@example.com", "DE")
	f.Add("", "", "*.example.com", "", "", "", "")
	f.Add("system:admin", "system:masters", "xn--tda.example", "fd00::1", "https://[fd00::1]:80/a?b#c", "a@[::1]", "")
	f.Add("a\nb", "\u202e", "a..b", "::ffff:1.2.3.4", "spiffe://x/..", "\"a b\"@c", "zz")
	f.Fuzz(func(t *testing.T, commonName, organization, dns, ip, uri, email, country string) {
		names := Names{Subject: Subject{CommonName: commonName}}
		for list, value := range map[*[]string]string{
			&names.Subject.Organizations: organization, &names.Subject.Countries: country,
			&names.DNSNames: dns, &names.IPAddresses: ip, &names.URIs: uri, &names.EmailAddresses: email,
		} {
			if value != "" {
				*list = []string{value}
			}
		}
		request, err := NewRequest(names, []Usage{UsageClient})
		if err != nil {
			if text := err.Error(); printable(text) != text {
				t.Fatalf("%q can't be shown on a terminal", text)
			}
			return
		}
		if strings.HasPrefix(strings.ToLower(commonName), "system:") {
			t.Fatalf("%q was accepted", commonName)
		}
		leaf := issue(t, root(t), request, keyFor(t, "leaf", KeyECDSAP256).Public())
		if difference := request.Difference(leaf, KeyECDSAP256); difference != "" {
			t.Fatal(difference)
		}
	})
}
