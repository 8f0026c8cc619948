package reload

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// The file names of a kubernetes.io/tls Secret with the roots to trust beside the pair.
const (
	certificateFile = "tls.crt"
	keyFile         = "tls.key"
	rootsFile       = "ca.crt"
)

// contents is one version of the folder.
type contents struct {
	certificate, key, roots []byte
}

// hash identifies the version. The lengths keep a byte that moves from one file to the next from going unseen.
func (c contents) hash() [sha256.Size]byte {
	var all []byte
	for _, file := range [][]byte{c.certificate, c.key, c.roots} {
		all = binary.BigEndian.AppendUint64(all, uint64(len(file)))
		all = append(all, file...)
	}
	return sha256.Sum256(all)
}

// read returns the three files of one version. kubelet removes the previous version once it swapped the volume, so a
// read that failed is repeated as long as the folder has moved on meanwhile.
func read(dir string) (contents, error) {
	for {
		version, err := resolve(dir)
		if err != nil {
			return contents{}, err
		}
		c, err := readFrom(version)
		if err == nil {
			return c, nil
		}
		if now, resolveErr := resolve(dir); resolveErr != nil || now == version {
			return contents{}, err
		}
	}
}

// resolve returns the folder that holds the current version. kubelet mounts a Secret as <time>/tls.crt with a symbolic
// link ..data to <time>, which it replaces in one rename: whoever follows the link once sees files that belong
// together, whoever follows it for each file may straddle the swap. In a plain folder, which has no such link, nothing
// tells that files belong together but the key fitting its certificate, see parse.
func resolve(dir string) (string, error) {
	target, err := os.Readlink(filepath.Join(dir, "..data"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, nil
	case err != nil:
		return "", err
	case filepath.IsAbs(target):
		return target, nil
	}
	return filepath.Join(dir, target), nil
}

func readFrom(dir string) (c contents, err error) {
	if c.certificate, err = os.ReadFile(filepath.Join(dir, certificateFile)); err != nil {
		return contents{}, err
	}
	if c.key, err = os.ReadFile(filepath.Join(dir, keyFile)); err != nil {
		return contents{}, err
	}
	if c.roots, err = os.ReadFile(filepath.Join(dir, rootsFile)); err != nil {
		return contents{}, err
	}
	return c, nil
}
