package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

func TestWhoIsAllowedIn(t *testing.T) {
	const uri = "spiffe://cluster.local/ns/shop/sa/web"
	everything := tlstest.Client("my-client")
	everything.DNSNames, everything.URIs = []string{"web.shop.svc"}, []string{uri}
	everything.Emails = []string{"web@example.org"}
	nameless := tlstest.Client("")

	for sentence, test := range map[string]struct {
		leaf    tlstest.Leaf
		allowed nameList
		greeted string // empty: forbidden
	}{
		"without a list every client of the CA is":       {everything, nil, "my-client"},
		"a client is by its common name":                 {everything, nameList{"my-client"}, "my-client"},
		"a client is by a DNS name":                      {everything, nameList{"web.shop.svc"}, "web.shop.svc"},
		"a client is by a URI":                           {everything, nameList{uri}, uri},
		"a client is by an email address":                {everything, nameList{"web@example.org"}, "web@example.org"},
		"one name of several is enough":                  {everything, nameList{"another", "web.shop.svc"}, "web.shop.svc"},
		"a client that isn't on the list is not":         {everything, nameList{"another"}, ""},
		"a part of a name is not":                        {everything, nameList{"my", "web.shop"}, ""},
		"a name in other letters is not":                 {everything, nameList{"My-Client"}, ""},
		"a certificate without names is not by any list": {nameless, nameList{"my-client"}, ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			f := start(t, setup{allowed: test.allowed})
			client := f.authority.Issue(t, test.leaf)
			got := get(t, oneShot(f.clientConfig(&client)), f.url)
			if test.greeted == "" {
				wantForbidden(t, got)
				return
			}
			greeted := got.Header.Get("X-Client")
			if got.StatusCode != http.StatusOK || got.body != "Hello World\n" || greeted != test.greeted {
				t.Errorf("got %s %q for client %q, want 200 for %q", got.Status, got.body, greeted, test.greeted)
			}
		})
	}
}

func wantForbidden(t *testing.T, got answer) {
	t.Helper()
	if got.StatusCode != http.StatusForbidden || got.Header.Get("X-Client") != "" {
		t.Errorf("got %s for client %q, want 403 for none", got.Status, got.Header.Get("X-Client"))
	}
	if !strings.Contains(got.body, "is not allowed in") || strings.Count(got.body, "\n") != 1 {
		t.Errorf("got %q, want one line that says why", got.body)
	}
}

func TestAClientWithoutNamesIsGreetedByItsSerialNumber(t *testing.T) {
	f := start(t, setup{})
	client := f.authority.Issue(t, tlstest.Client(""))
	want := "serial:" + reload.Serial(client.Certificate)
	if got := get(t, oneShot(f.clientConfig(&client)), f.url).Header.Get("X-Client"); got != want {
		t.Errorf("greeted %q, want %q", got, want)
	}
	f.log.Wait(t, "every client with a certificate", "--allow")
}

func TestANameCannotForgeTheAnswer(t *testing.T) {
	f := start(t, setup{})
	client := f.authority.Issue(t, tlstest.Client("my\r\nX-Admin: yes"))
	got := get(t, oneShot(f.clientConfig(&client)), f.url)
	if got.Header.Get("X-Admin") != "" || got.Header.Get("X-Client") != `my\r\nX-Admin: yes` {
		t.Errorf("got headers %q", got.Header)
	}
	f = start(t, setup{allowed: nameList{"another"}})
	client = f.authority.Issue(t, tlstest.Client("my\nHello World"))
	wantForbidden(t, get(t, oneShot(f.clientConfig(&client)), f.url))
}

func TestOnlyTheRootIsAnswered(t *testing.T) {
	f := start(t, setup{})
	got := get(t, oneShot(f.clientConfig(&f.client)), f.url+"elsewhere")
	if got.StatusCode != http.StatusNotFound {
		t.Errorf("got %s, want 404", got.Status)
	}
}
