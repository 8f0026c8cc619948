package reload

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/mtls-operator/mtls-operator/examples/hello/internal/tlstest"
)

// Every version comes from an authority of its own, so that any two files of different versions don't fit together.
func TestAReadNeverStraddlesASwap(t *testing.T) {
	const swaps = 200
	versions := make([]tlstest.Contents, 4)
	for i := range versions {
		authority := tlstest.NewAuthority(t, "my-ca")
		versions[i] = tlstest.Files(t, authority.Issue(t, tlstest.Server()), authority)
	}
	dir := tlstest.Volume(t, versions[0])
	swapped := make(chan struct{})
	go func() {
		defer close(swapped)
		for i := range swaps {
			tlstest.Swap(t, dir, versions[i%len(versions)])
		}
	}()
	for done := false; !done; {
		select {
		case <-swapped:
			done = true
		default:
		}
		c, err := read(dir)
		if err != nil {
			t.Fatal(err)
		}
		snapshot, err := parse(c)
		if err != nil {
			t.Fatal(err)
		}
		chain := []*x509.Certificate{snapshot.Certificate.Leaf}
		if err := snapshot.Verify(chain, x509.ExtKeyUsageServerAuth); err != nil {
			t.Fatalf("the roots are of another version than the certificate: %v", err)
		}
	}
}

func TestResolve(t *testing.T) {
	for sentence, test := range map[string]struct {
		prepare func(dir string) error
		want    string // below the folder
	}{
		"a plain folder is its own version":         {func(string) error { return nil }, "."},
		"a volume's version is where its link goes": {linkData("..2026"), "..2026"},
		"a link may go nowhere":                     {linkData("gone"), "gone"},
	} {
		t.Run(sentence, func(t *testing.T) {
			dir := t.TempDir()
			if err := test.prepare(dir); err != nil {
				t.Fatal(err)
			}
			if got, err := resolve(dir); err != nil || got != filepath.Join(dir, test.want) {
				t.Errorf("resolve gave %q, %v; want %q below %q", got, err, test.want, dir)
			}
		})
	}
	t.Run("an absolute link is followed", func(t *testing.T) {
		dir, elsewhere := t.TempDir(), t.TempDir()
		if err := linkData(elsewhere)(dir); err != nil {
			t.Fatal(err)
		}
		if got, err := resolve(dir); err != nil || got != elsewhere {
			t.Errorf("resolve gave %q, %v; want %q", got, err, elsewhere)
		}
	})
	t.Run("a ..data that is no link is an error", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "..data"), 0o700); err != nil {
			t.Fatal(err)
		}
		if got, err := resolve(dir); err == nil {
			t.Errorf("resolve gave %q, want an error", got)
		}
	})
}

func linkData(target string) func(dir string) error {
	return func(dir string) error { return os.Symlink(target, filepath.Join(dir, "..data")) }
}

func TestHashTellsVersionsApart(t *testing.T) {
	same := contents{[]byte("ab"), []byte("c"), []byte("d")}
	if same.hash() != (contents{[]byte("ab"), []byte("c"), []byte("d")}).hash() {
		t.Error("equal contents have different hashes")
	}
	for _, other := range []contents{
		{[]byte("a"), []byte("bc"), []byte("d")},
		{[]byte("ab"), []byte("cd"), nil},
		{[]byte("ab"), []byte("c"), []byte("x")},
		{},
	} {
		if other.hash() == same.hash() {
			t.Errorf("%q has the hash of %q", other, same)
		}
	}
}
