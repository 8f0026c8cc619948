package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

// profiled is for how long the use of CPU time is looked at, from the beginning of a step on.
const profiled = 5 * time.Second

// profile begins to look at what the operator spends CPU time on. What it returns waits for that, looks at the heap, and
// writes both into the folder for profiles, for "go tool pprof". Without such a folder, and of the floor, nothing is written.
func (b *bench) profile(ctx context.Context, name string) (finish func() error) {
	address := b.workers[0].profiles
	if address == "" {
		return func() error { return nil }
	}
	name = filepath.Join(b.workers[0].folder, strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return c
		}
		return '-'
	}, name))
	failed := make(chan error, 1)
	go func() {
		path := fmt.Sprintf("/debug/pprof/profile?seconds=%.0f", profiled.Seconds())
		failed <- fetch(ctx, "http://"+address+path, name+"-cpu.pprof")
	}()
	return func() error {
		if err := <-failed; err != nil {
			return err
		}
		return fetch(ctx, "http://"+address+"/debug/pprof/heap?gc=1", name+"-heap.pprof")
	}
}

// fetch a URL into a file, and make its folder.
func fetch(ctx context.Context, url, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	text, err := send(request)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
