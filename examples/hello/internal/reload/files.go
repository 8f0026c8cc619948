// Package reload keeps the three files of mutual TLS (tls.crt, tls.key, ca.crt) in force while they change underneath.
//
// It promises that a [Snapshot] is of one piece: certificate, key and roots were read from one version of the folder,
// the key belongs to the certificate, and every root was understood. A version that falls short is told once, in the
// log, and the last good one stays in force. No key is ever logged.
package reload

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Files is a folder with tls.crt, tls.key and ca.crt and the last good snapshot of it. It is safe for concurrent use.
type Files struct {
	dir     string
	log     *slog.Logger
	current atomic.Pointer[Snapshot]

	judging sync.Mutex // held while one version of the folder is judged, so that an older one can't come into force last
	judged  [sha256.Size]byte
}

// Open reads the folder dir for the first time. Its error names the file that is wrong: without a first good snapshot
// there is nothing to fall back on.
func Open(dir string, log *slog.Logger) (*Files, error) {
	contents, err := read(dir)
	if err != nil {
		return nil, err
	}
	snapshot, err := parse(contents)
	if err != nil {
		return nil, err
	}
	files := &Files{dir: dir, log: log, judged: contents.hash()}
	files.enforce(snapshot)
	return files, nil
}

// Current is the last good snapshot, never nil. Whoever needs certificate and roots together calls it once.
func (f *Files) Current() *Snapshot { return f.current.Load() }

// Reload looks at the folder once and reports whether something new came into force. A version of the folder is judged
// once, by its contents: modification times can stay equal over a change, and a broken version that stays is no news.
// The error of a broken version is both logged and returned, by the first call that sees it only.
func (f *Files) Reload() (bool, error) {
	f.judging.Lock()
	defer f.judging.Unlock()

	contents, err := read(f.dir)
	version := contents.hash()
	if err != nil {
		version = sha256.Sum256([]byte(err.Error()))
	}
	if version == f.judged {
		return false, nil
	}
	f.judged = version

	var snapshot *Snapshot
	if err == nil {
		snapshot, err = parse(contents)
	}
	if err != nil {
		f.log.Error("keeping the previous certificate and roots", "dir", f.dir, "error", err)
		return false, err
	}
	f.enforce(snapshot)
	return true, nil
}

// Run calls Reload every interval until ctx ends. It polls because that works on every file system a volume may be;
// the interval adds to the time a rotation has to wait, so keep it in seconds.
func (f *Files) Run(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_, _ = f.Reload() // already logged
		}
	}
}

func (f *Files) enforce(snapshot *Snapshot) {
	f.current.Store(snapshot)
	leaf := snapshot.Certificate.Leaf
	f.log.Info("certificate and roots in force", "dir", f.dir, "serial", Serial(leaf),
		"expires", leaf.NotAfter.UTC().Format(time.RFC3339), "roots", snapshot.rootSerials)
}
