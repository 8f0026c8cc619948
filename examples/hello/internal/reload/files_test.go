package reload_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/reload"
	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

// faults breaks good contents in each way a folder can be wrong, by what is wrong with it.
var faults = map[string]struct {
	breakIt func(t *testing.T, good, other tlstest.Contents)
	want    string
}{
	"the key belongs to another certificate": {
		func(_ *testing.T, good, other tlstest.Contents) { good["tls.key"] = other["tls.key"] },
		"tls.crt and tls.key: tls: private key does not match public key",
	},
	"the certificate is no PEM": {
		func(_ *testing.T, good, _ tlstest.Contents) { good["tls.crt"] = []byte("hello") },
		"tls.crt: no certificate found",
	},
	"the key is missing from its file": {
		func(_ *testing.T, good, _ tlstest.Contents) { good["tls.key"] = nil },
		"tls.crt and tls.key: tls: failed to find any PEM data in key input",
	},
	"the chain is cut off": {
		func(_ *testing.T, good, other tlstest.Contents) {
			good["tls.crt"] = append(good["tls.crt"], other["ca.crt"][:100]...)
		},
		"tls.crt: only the first 1 certificates are complete",
	},
	"the roots are empty": {
		func(_ *testing.T, good, _ tlstest.Contents) { good["ca.crt"] = nil },
		"ca.crt: no certificate found",
	},
	"a key is among the roots": {
		func(_ *testing.T, good, _ tlstest.Contents) {
			good["ca.crt"] = append(good["ca.crt"], good["tls.key"]...)
		},
		`ca.crt: PEM block "PRIVATE KEY" found`,
	},
	"a root isn't a certificate": {
		func(_ *testing.T, good, _ tlstest.Contents) {
			good["ca.crt"] = append(good["ca.crt"], "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"...)
		},
		"ca.crt: certificate 2: x509: malformed",
	},
	"a file is missing": {
		func(_ *testing.T, good, _ tlstest.Contents) { delete(good, "ca.crt") },
		"ca.crt: no such file or directory",
	},
}

// broken returns one good and one broken version of a folder.
func broken(t *testing.T, breakIt func(t *testing.T, good, other tlstest.Contents)) (good, bad tlstest.Contents) {
	t.Helper()
	authority, another := tlstest.NewAuthority(t, "my-ca"), tlstest.NewAuthority(t, "another-ca")
	good = tlstest.Files(t, authority.Issue(t, tlstest.Server()), authority)
	bad = tlstest.Files(t, authority.Issue(t, tlstest.Server()), authority)
	breakIt(t, bad, tlstest.Files(t, another.Issue(t, tlstest.Server()), another))
	return good, bad
}

func TestOpenNamesTheFileThatIsWrong(t *testing.T) {
	for sentence, fault := range faults {
		t.Run(sentence, func(t *testing.T) {
			_, bad := broken(t, fault.breakIt)
			_, err := reload.Open(tlstest.Volume(t, bad), slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), fault.want) {
				t.Errorf("Open gave error %v, want one with %q", err, fault.want)
			}
		})
	}
}

func TestABrokenVersionIsToldOnceAndTheGoodOneStays(t *testing.T) {
	for sentence, fault := range faults {
		t.Run(sentence, func(t *testing.T) {
			good, bad := broken(t, fault.breakIt)
			dir := tlstest.Volume(t, good)
			var log tlstest.Lines
			files := open(t, dir, &log)
			before := files.Current()

			tlstest.Swap(t, dir, bad)
			if changed, err := files.Reload(); changed || err == nil || !strings.Contains(err.Error(), fault.want) {
				t.Errorf("the first look gave %t, %v; want an error with %q", changed, err, fault.want)
			}
			if changed, err := files.Reload(); changed || err != nil {
				t.Errorf("the second look gave %t, %v; want silence", changed, err)
			}
			if files.Current() != before {
				t.Error("the broken version came into force")
			}
			if told := strings.Count(log.String(), "level=ERROR"); told != 1 {
				t.Errorf("told %d times, want once:\n%s", told, log.String())
			}
			if strings.Contains(log.String(), "PRIVATE KEY-") {
				t.Error("a key is in the log")
			}
		})
	}
}

func TestAGoodVersionAfterABrokenOneComesIntoForce(t *testing.T) {
	authority := tlstest.NewAuthority(t, "my-ca")
	first := tlstest.Files(t, authority.Issue(t, tlstest.Server()), authority)
	renewed := authority.Issue(t, tlstest.Server())
	second := tlstest.Files(t, renewed, authority)
	dir := tlstest.Plain(t, first)
	var log tlstest.Lines
	files := open(t, dir, &log)

	tlstest.Write(t, dir, tlstest.Contents{"tls.crt": second["tls.crt"]})
	if changed, err := files.Reload(); changed || err == nil {
		t.Errorf("the new certificate with the old key gave %t, %v; want an error", changed, err)
	}
	tlstest.Write(t, dir, tlstest.Contents{"tls.key": second["tls.key"]})
	if changed, err := files.Reload(); !changed || err != nil {
		t.Errorf("the new pair gave %t, %v; want it in force", changed, err)
	}
	if got, want := reload.Serial(files.Current().Certificate.Leaf), reload.Serial(renewed.Certificate); got != want {
		t.Errorf("serial %s in force, want %s", got, want)
	}
	log.Wait(t, "in force", "serial="+reload.Serial(renewed.Certificate),
		"expires="+renewed.Certificate.NotAfter.UTC().Format(time.RFC3339),
		"roots=["+reload.Serial(authority.Certificate)+"]")
}

func TestTheSameContentsAreNoChange(t *testing.T) {
	authority := tlstest.NewAuthority(t, "my-ca")
	contents := tlstest.Files(t, authority.Issue(t, tlstest.Server()), authority)
	dir := tlstest.Volume(t, contents)
	files := open(t, dir, &tlstest.Lines{})
	before := files.Current()
	tlstest.Swap(t, dir, contents)
	if changed, err := files.Reload(); changed || err != nil || files.Current() != before {
		t.Errorf("a swap to equal contents gave %t, %v; want nothing", changed, err)
	}
}

func TestRunNoticesAChangeByItself(t *testing.T) {
	authority := tlstest.NewAuthority(t, "my-ca")
	dir := tlstest.Volume(t, tlstest.Files(t, authority.Issue(t, tlstest.Server()), authority))
	var log tlstest.Lines
	files := open(t, dir, &log)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); files.Run(ctx, time.Millisecond) }()

	renewed := authority.Issue(t, tlstest.Server())
	tlstest.Swap(t, dir, tlstest.Files(t, renewed, authority))
	log.Wait(t, "in force", reload.Serial(renewed.Certificate))
	if err := os.Remove(filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	log.Wait(t, "keeping the previous", "no such file")
	cancel()
	tlstest.Await(t, "the end of Run", ended)
}

func open(t *testing.T, dir string, log *tlstest.Lines) *reload.Files {
	t.Helper()
	files, err := reload.Open(dir, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
