package tlstest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Contents is what a folder of the sample holds, by file name.
type Contents map[string][]byte

// Files returns the three files of a Secret.
func Files(t testing.TB, pair Pair, roots ...*Authority) Contents {
	t.Helper()
	certificate, key := pair.PEM(t)
	var bundle bytes.Buffer
	for _, root := range roots {
		bundle.Write(root.PEM())
	}
	return Contents{"tls.crt": certificate, "tls.key": key, "ca.crt": bundle.Bytes()}
}

// Plain returns a new folder with the contents as plain files.
func Plain(t testing.TB, contents Contents) string {
	t.Helper()
	dir := t.TempDir()
	Write(t, dir, contents)
	return dir
}

// Write overwrites plain files one after the other, as a person or a script does.
func Write(t testing.TB, dir string, contents Contents) {
	t.Helper()
	for name, data := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Volume returns a new folder laid out as kubelet lays out a Secret volume.
func Volume(t testing.TB, contents Contents) string {
	t.Helper()
	dir := t.TempDir()
	Swap(t, dir, contents)
	for name := range contents {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Swap replaces the contents of a Volume in the order kubelet's AtomicWriter does: a new version is written beside the
// old one, the link ..data is renamed over, and the old version is removed.
func Swap(t testing.TB, dir string, contents Contents) {
	t.Helper()
	version, err := os.MkdirTemp(dir, "..version_")
	if err != nil {
		t.Fatal(err)
	}
	Write(t, version, contents)

	data := filepath.Join(dir, "..data")
	previous, readErr := os.Readlink(data)
	if err := os.Symlink(filepath.Base(version), data+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(data+"_tmp", data); err != nil {
		t.Fatal(err)
	}
	if readErr == nil {
		if err := os.RemoveAll(filepath.Join(dir, previous)); err != nil {
			t.Fatal(err)
		}
	}
}
