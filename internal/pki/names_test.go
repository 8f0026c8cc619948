package pki

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// long makes a DNS name of exactly this many characters.
func long(characters int) string {
	name := strings.Repeat(strings.Repeat("a", 63)+".", characters/64)
	return name + strings.Repeat("b", characters-len(name))
}

// nameTest is a value with what its check must say; "" for nothing.
type nameTest struct {
	name, value, want string
}

func runNameTests(t *testing.T, check func(string) string, tests []nameTest) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			has := check(test.value)
			if (test.want == "") != (has == "") || !strings.Contains(has, test.want) {
				t.Errorf("%.100q: %q, want %q", test.value, has, test.want)
			}
			if len(has) > 600 {
				t.Errorf("%d characters about one name", len(has))
			}
		})
	}
}

func TestCheckDNSName(t *testing.T) {
	runNameTests(t, checkDNSName, []nameTest{
		{"one label", "localhost", ""},
		{"several labels", "hello.shop.svc.cluster.local", ""},
		{"one character", "a", ""},
		{"digits and hyphens inside", "a-1.2b--c.d", ""},
		{"hyphens where IDNA has its prefix", "my--svc.shop.svc", ""},
		{"a label of digits that isn't the last one", "1.2.3.example", ""},
		{"a wildcard", "*.example.com", ""},
		{"a wildcard in a namespace", "*.shop.svc", ""},
		{"IDN in its xn-- form", "xn--mnchen-3ya.example", ""},
		{"the longest label", strings.Repeat("a", 63) + ".example", ""},
		{"the longest name", long(253), ""},

		{"empty", "", "is empty: remove it"},
		{"too long a label", strings.Repeat("a", 64) + ".example", "has 64 characters, which may be no more than 63"},
		{"too long a name", long(254), "has 254 characters: a DNS name has no more than 253"},
		{"10 KiB", strings.Repeat("a", 10240), "has 10240 characters"},
		{"an IPv4 address", "10.0.0.1", "is an IP address: write it into ipAddresses"},
		{"an IPv6 address", "fd00::1", "is an IP address: write it into ipAddresses"},
		{"what a browser takes for an IP address", "010.0.0.1", "would be read as an IP address"},
		{"digits alone", "123", "would be read as an IP address: its last label must have a letter"},
		{"upper case", "Example.com", `write label "Example" in lower case`},
		{"underscore", "_dmarc.example.com", `label "_dmarc" may only have letters, digits and '-'`},
		{"trailing dot", "example.com.", "ends with a dot: remove it"},
		{"leading dot", ".example.com", "a label is empty"},
		{"two dots", "a..b", "a label is empty"},
		{"a hyphen first", "-a.example", `label "-a" begins or ends with '-'`},
		{"a hyphen last", "a-.example", `label "a-" begins or ends with '-'`},
		{"not ASCII", "münchen.example", `write label "münchen" in its xn-- form`},
		{"a port", "example.com:443", `label "com:443" may only have`},
		{"a URL", "https://example.com", `may only have letters`},
		{"a space", "a b", `label "a b" may only have`},
		{"a newline", "a\nb", `label "a\nb" may only have`},
		{"a NUL", "a\x00b", `label "a\x00b" may only have`},
		{"an escape sequence", "\x1b[31m", `"\x1b[31m"`},
		{"not UTF-8", "a\xffb", "isn't a DNS name"},
		{"a bare wildcard", "*", `"*" must be the whole first label`},
		{"a wildcard over one label", "*.com", "is too wide"},
		{"a wildcard inside a label", "a*.example.com", `"*" must be the whole first label`},
		{"a wildcard in the middle", "a.*.example.com", `"*" must be the whole first label`},
		{"two wildcards", "*.*.example.com", `"*" must be the whole first label`},
		{"a wildcard over an empty label", "*..com", "a label is empty"},
		{"IDN that can't be decoded", "xn--a.example", `label "xn--a" isn't the xn-- form of any name`},
		{"IDN without any letter", "xn--.example", "begins or ends with '-'"},
		{"IDN of ASCII only", "xn--abc-.example", "begins or ends with '-'"},
	})
}

func TestPunycode(t *testing.T) {
	for encoded, want := range map[string]string{
		"mnchen-3ya":                       "münchen",
		"tda":                              "ü",
		"bcher-kva":                        "bücher",
		"wgv71a":                           "日本",
		"egbpdaj6bu4bxfgehfvwxn":           "ليهمابتكلموشعربي؟",            // RFC 3492, section 7.1 (A)
		"ihqwcrb4cv8a8dqg056pqjye":         "他们为什么不说中文",                    // (B)
		"4dbcagdahymbxekheh6e0a7fei0b":     "למההםפשוטלאמדבריםעברית",       // (D)
		"b1abfaaepdrnnbgefbadotcwatmq2g4l": "почемужеонинеговорятпорусски", // (G)
		"989aomsvi5e83db1d2a355cv1e0vak1dwrv93d5xbh15a0dt30a5jpsd879ccm6fea98c": "세계의모든사람들이한국어를이해한다면얼마나좋을까", // (F)
	} {
		has, ok := decodePunycode(encoded)
		if !ok || string(has) != want {
			t.Errorf("%s: %q %t, want %q", encoded, string(has), ok, want)
		}
	}
}

func TestPunycodeThatIsNoName(t *testing.T) {
	for name, encoded := range map[string]string{
		"nothing":                      "",
		"no delimiter but ASCII":       "a",
		"delimiter first":              "-00b",
		"unfinished number":            "mnchen-3",
		"a character that is no digit": "mnchen-3y_",
		"upper case":                   "mnchen-3YA",
		"a number that doesn't fit":    "99999999999999",
		"beyond Unicode":               "dn32h",
		"a capital letter":             "mnchen-psa", // Ü
		"a combining mark":             "e-xbb",
		"a control character":          "a-jva\x00",
		"a symbol":                     "a-n3p", // a♥
	} {
		t.Run(name, func(t *testing.T) {
			if isPunycodeLabel(encoded) {
				decoded, _ := decodePunycode(encoded)
				t.Errorf("%q was taken, it is %q", encoded, string(decoded))
			}
		})
	}
}

func TestPunycodeNeverPanics(t *testing.T) {
	digits := rapid.StringMatching(`[a-z0-9-]{0,59}`)
	rapid.Check(t, func(t *rapid.T) {
		encoded := digits.Draw(t, "encoded")
		decoded, ok := decodePunycode(encoded)
		if ok && len(decoded) > len(encoded) {
			t.Fatalf("%q became longer: %q", encoded, string(decoded))
		}
	})
}

func TestCheckIPAddress(t *testing.T) {
	runNameTests(t, checkIPAddress, []nameTest{
		{"IPv4", "10.0.0.1", ""},
		{"IPv6", "fd00::1", ""},
		{"loopback", "::1", ""},
		{"unspecified", "0.0.0.0", ""},

		{"empty", "", "isn't an IP address: write one such as"},
		{"a DNS name", "localhost", "isn't an IP address"},
		{"a network", "10.0.0.0/8", "isn't an IP address"},
		{"leading zeros", "010.0.0.1", "isn't an IP address"},
		{"three parts", "10.0.1", "isn't an IP address"},
		{"a port", "10.0.0.1:80", "isn't an IP address"},
		{"brackets", "[::1]", "isn't an IP address"},
		{"upper case", "FD00::1", "isn't in its canonical form: write fd00::1"},
		{"zeros that can go", "0:0:0:0:0:0:0:1", "isn't in its canonical form: write ::1"},
		{"a zone", "fe80::1%eth0", "has a zone"},
		{"IPv4 in IPv6", "::ffff:10.0.0.1", "is an IPv4 address written as IPv6: write 10.0.0.1"},
		{"a newline", "10.0.0.1\n", `"10.0.0.1\n" isn't an IP address`},
	})
}

func TestCheckURI(t *testing.T) {
	runNameTests(t, checkURI, []nameTest{
		{"SPIFFE", "spiffe://example.com/ns/shop/sa/cart", ""},
		{"SPIFFE with all its characters", "spiffe://my_td-1.example/A-z_0.9/x", ""},
		{"SPIFFE with an IP address", "spiffe://10.0.0.1/x", ""},
		{"HTTPS", "https://example.com", ""},
		{"HTTPS with everything", "https://example.com:8443/a/b?c=d#e", ""},
		{"HTTPS with an IPv4 address", "https://10.0.0.1/", ""},
		{"HTTPS with an IPv6 address", "https://[fd00::1]:8443/", ""},
		{"percent-encoded", "https://example.com/a%20b", ""},
		{"the longest one", "https://example.com/" + strings.Repeat("a", 2028), ""},

		{"empty", "", "isn't an absolute URI with a host"},
		{"too long", "https://example.com/" + strings.Repeat("a", 2029), "has 2049 characters"},
		{"relative", "/a/b", "isn't an absolute URI with a host"},
		{"without a scheme", "example.com/a", "isn't an absolute URI with a host"},
		{"without a host", "file:///etc/passwd", "isn't an absolute URI with a host"},
		{"a URN", "urn:uuid:0", "isn't an absolute URI with a host"},
		{"can't be parsed", "https://example.com/%zz", "isn't an absolute URI with a host"},
		{"not ASCII", "https://example.com/ü", "write them percent-encoded"},
		{"a space", "https://example.com/a b", "write them percent-encoded"},
		{"a newline", "https://example.com/\n", "write them percent-encoded"},
		{"a DEL", "https://example.com/\x7f", "write them percent-encoded"},
		{"upper-case scheme", "HTTPS://example.com/", `isn't in its normal form: write "https://example.com/"`},
		{"upper-case host", "https://Example.com/", `write label "Example" in lower case`},
		{"one label for a host", "https://localhost/", "its host has one label only"},
		{"a wildcard for a host", "https://*.example.com/", `label "*" may only have`},
		{"a host that ends with a dot", "https://example.com./", "ends with a dot"},
		{"an IPv6 address in another form", "https://[FD00::1]/", "has a host that isn't a canonical IP address"},
		{"an IPv4 address in IPv6", "https://[::ffff:10.0.0.1]/", "has a host that isn't a canonical IP address"},
		{"an empty port", "https://example.com:/", "has a port that isn't a number up to 65535"},
		{"too high a port", "https://example.com:65536/", "has a port that isn't a number up to 65535"},
		{"a port with zeros", "https://example.com:0080/", "has a port that isn't a number up to 65535"},
		{"a user", "https://user@example.com/", "has a user name: remove what precedes the '@'"},

		{"a host that is too long", "https://" + long(254) + "/", "its host \"a"},
		{"SPIFFE with too long a trust domain", "spiffe://" + long(254) + "/a", "isn't a lower-case domain name"},
		{"SPIFFE without a path", "spiffe://example.com", "is the trust domain alone"},
		{"SPIFFE with an empty path", "spiffe://example.com/", "is the trust domain alone"},
		{"SPIFFE with a trailing slash", "spiffe://example.com/a/", "has an empty, '.' or '..' segment"},
		{"SPIFFE with an empty segment", "spiffe://example.com/a//b", "has an empty, '.' or '..' segment"},
		{"SPIFFE that climbs", "spiffe://example.com/ns/a/../b", "has an empty, '.' or '..' segment"},
		{"SPIFFE that stays", "spiffe://example.com/./b", "has an empty, '.' or '..' segment"},
		{"SPIFFE with an encoded slash", "spiffe://example.com/a%2fb", "has a character in its path"},
		{"SPIFFE with another character", "spiffe://example.com/a+b", "has a character in its path"},
		{"SPIFFE with a port", "spiffe://example.com:80/a", "has a port, which a SPIFFE ID can't have"},
		{"SPIFFE with an empty port", "spiffe://example.com:/a", "has a port, which a SPIFFE ID can't have"},
		{"SPIFFE with a query", "spiffe://example.com/a?b", "has a query or a fragment"},
		{"SPIFFE with an empty query", "spiffe://example.com/a?", "has a query or a fragment"},
		{"SPIFFE with a fragment", "spiffe://example.com/a#b", "has a query or a fragment"},
		{"SPIFFE with a user", "spiffe://user@example.com/a", "has a user name"},
		{"SPIFFE in upper case", "spiffe://Example.com/a", `its trust domain "Example.com" isn't a lower-case domain name`},
		{"SPIFFE with one label", "spiffe://cluster/a", "use a full domain name, such as cluster.local"},
	})
}

func TestPasswordsInURIsAreNotShown(t *testing.T) {
	if message := checkURI("https://user:secret@example.com/"); strings.Contains(message, "secret") || message == "" {
		t.Error(message)
	}
}

func TestCheckEmailAddress(t *testing.T) {
	runNameTests(t, checkEmailAddress, []nameTest{
		{"plain", "hello@example.com", ""},
		{"dots and more", "a.b+c_d=e@mail.example.com", ""},
		{"upper case before the @", "Hello@example.com", ""},
		{"host of one label", "root@localhost", ""},
		{"the longest local part", strings.Repeat("a", 64) + "@example.com", ""},

		{"empty", "", "isn't an e-mail address"},
		{"no @", "hello", "isn't an e-mail address: write local@domain"},
		{"nothing before it", "@example.com", "isn't an e-mail address"},
		{"nothing behind it", "hello@", "a label is empty"},
		{"two of them", "a@b@c", "its domain"},
		{"a display name", "Hello <hello@example.com>", "without a display name"},
		{"quotes", `"a b"@example.com`, "isn't an e-mail address"},
		{"dot first", ".a@example.com", "isn't an e-mail address"},
		{"dot last", "a.@example.com", "isn't an e-mail address"},
		{"two dots", "a..b@example.com", "isn't an e-mail address"},
		{"a space", "a b@example.com", "isn't an e-mail address"},
		{"a newline at the end", "a@example.com\n", "its domain"},
		{"a newline before it", "a\n@example.com", "isn't an e-mail address"},
		{"not ASCII", "jürgen@example.com", "in ASCII"},
		{"domain not ASCII", "a@münchen.example", "in its xn-- form"},
		{"domain in upper case", "a@Example.com", "in lower case"},
		{"an IP address", "a@10.0.0.1", "would be read as an IP address"},
		{"a wildcard", "a@*.example.com", "may only have"},
		{"too long before the @", strings.Repeat("a", 65) + "@example.com", "there may be no more than 254, and 64 before"},
		{"too long", "a@" + long(253), "has 255 characters"},
	})
}

func TestCheckCountry(t *testing.T) {
	runNameTests(t, checkCountry, []nameTest{
		{"two capitals", "DE", ""},
		{"lower case", "de", "isn't two upper-case letters"},
		{"three letters", "DEU", "isn't two upper-case letters"},
		{"a name", "Germany", "write an ISO 3166 code, such as DE"},
		{"empty", "", "isn't two upper-case letters"},
		{"two bytes of one letter", "ü", "isn't two upper-case letters"},
		{"a digit", "D1", "isn't two upper-case letters"},
	})
}

func TestCheckIdentity(t *testing.T) {
	check := func(text string) string { return checkIdentity(text, 64) }
	runNameTests(t, check, []nameTest{
		{"plain", "hello", ""},
		{"spaces inside", "my  own ca", ""},
		{"not ASCII", "Jürgen Müller-Lüdenscheidt", ""},
		{"not Latin", "日本語", ""},
		{"what has a meaning elsewhere", `a=b, "c" <d> #e; +f\g & co`, ""},
		{"capitals with a tilde", "SÃO PAULO", ""},
		{"system somewhere else", "my-system:x", ""},
		{"the longest one", strings.Repeat("ü", 64), ""},

		{"empty", "", "is empty: remove it"},
		{"too long", strings.Repeat("ü", 65), "has 65 characters: there may be no more than 64"},
		{"10 KiB", strings.Repeat("x", 10240), "has 10240 characters"},
		{"a group of Kubernetes", "system:masters", `begins with "system:", to which Kubernetes gives rights`},
		{"in any case", "System:Masters", `begins with "system:"`},
		{"system: alone", "system:", `begins with "system:"`},
		{"a newline", "a\nReady: True", `"a\nReady: True" has a control`},
		{"an escape sequence", "\x1b[31m", "has a control"},
		{"a NUL", "a\x00b", "has a control"},
		{"C1", "a\u009bb", "has a control"},
		{"right to left", "a\u202eb", "has a control, format"},
		{"zero width", "a\u200bb", "has a control, format"},
		{"a line separator", "a\u2028b", "line-separating character"},
		{"a paragraph separator", "a\u2029b", "line-separating character"},
		{"private use", "a\ue000b", "has a control"},
		{"not UTF-8", "a\xffb", "isn't UTF-8"},
		{"the character for what isn't", "a\ufffdb", "isn't UTF-8"},
		{"a space first", " a", "begins or ends with a space"},
		{"a space last", "a ", "begins or ends with a space"},
		{"a no-break space last", "a\u00a0", "begins or ends with a space"},
		{"an HTML entity", "a &amp; b", "has an HTML entity"},
		{"a numeric HTML entity", "a&#38;b", "has an HTML entity"},
		{"UTF-8 read as Latin-1", "JÃ¼rgen", "is UTF-8 that was read as Latin-1"},
	})
}

func TestWhatTheChecksSayFitsOnOneLine(t *testing.T) {
	checks := []func(string) string{
		checkDNSName, checkIPAddress, checkURI, checkEmailAddress, checkCountry, checkDNSDomain, checkIPRange,
		checkEmailConstraint, checkURIDomain,
		func(text string) string { return checkIdentity(text, 64) },
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z@.:/*\x00-\x20]{0,300}`)).Draw(t, "text")
		for _, check := range checks {
			message := check(text)
			if printable(message) != message || len(message) > 2000 {
				t.Fatalf("%q: %q", text, message)
			}
		}
	})
}
