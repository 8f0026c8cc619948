package tlstest

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long something that has to happen may take on a busy machine.
const patience = 30 * time.Second

// Lines is an io.Writer that tests wait on, for the output of what runs at the same time.
type Lines struct {
	mu      sync.Mutex
	text    strings.Builder
	written chan struct{} // closed by the next Write
}

// Write implements io.Writer.
func (l *Lines) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written != nil {
		close(l.written)
		l.written = nil
	}
	return l.text.Write(data)
}

// String is everything written so far.
func (l *Lines) String() string {
	text, _ := l.look()
	return text
}

// Wait returns the first complete line that contains all parts, as soon as there is one.
func (l *Lines) Wait(t testing.TB, parts ...string) string {
	t.Helper()
	deadline := time.After(patience)
	for {
		text, written := l.look()
		if line, ok := find(text, parts); ok {
			return line
		}
		select {
		case <-written:
		case <-deadline:
			t.Fatalf("no line with %q came within %s, but:\n%s", parts, patience, text)
		}
	}
}

func (l *Lines) look() (text string, written <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.written == nil {
		l.written = make(chan struct{})
	}
	return l.text.String(), l.written
}

func find(text string, parts []string) (line string, ok bool) {
	for line := range strings.Lines(text) {
		matches := strings.HasSuffix(line, "\n")
		for _, part := range parts {
			matches = matches && strings.Contains(line, part)
		}
		if matches {
			return strings.TrimSuffix(line, "\n"), true
		}
	}
	return "", false
}

// Await returns what ch delivers, or fails the test if that takes too long.
func Await[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case value := <-ch:
		return value
	case <-time.After(patience):
		t.Fatalf("%s didn't happen within %s", what, patience)
		panic("unreachable")
	}
}
