package controllers

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// errBroken is what a request fails with when a test breaks it.
var errBroken = errors.New("the connection broke")

// requests counts what an operator asks of the API server, and breaks one request when it is told to. Watches and the
// lists that begin them don't count.
type requests struct {
	mu     sync.Mutex
	seen   []string
	breaks int  // the request with this number, from 1, fails; 0 breaks none
	after  bool // it fails after it was carried out
	broke  bool
	// writesOnly: only writes are numbered.
	writesOnly bool
}

// around is a rest.Config wrapper.
func (r *requests) around(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		breaks, after := r.note(request)
		if breaks && !after {
			return nil, errBroken
		}
		response, err := next.RoundTrip(request)
		if breaks && err == nil {
			_ = response.Body.Close()
			return nil, errBroken
		}
		return response, err
	})
}

func (r *requests) note(request *http.Request) (breaks, after bool) {
	query := request.URL.Query()
	if query.Has("watch") || query.Get("resourceVersion") == "0" || query.Has("limit") || isDiscovery(request.URL.Path) {
		return false, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, fmt.Sprintf("%s %s", request.Method, resource(request.URL.Path)))
	number := len(r.seen)
	if r.writesOnly {
		number = len(writesOf(r.seen))
		if request.Method == http.MethodGet {
			return false, false
		}
	}
	if number != r.breaks {
		return false, false
	}
	r.broke = true
	return true, r.after
}

func isDiscovery(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	return len(parts) <= 3 && !slices.Contains(parts, "namespaces")
}

// resource is the kind of object in a path, with its subresource, such as secrets or mtlscertificates/status.
func resource(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if i := slices.Index(parts, "namespaces"); i >= 0 && len(parts) > i+2 {
		parts = parts[i+2:]
	} else if i >= 0 {
		return "namespaces"
	}
	if len(parts) > 2 {
		return parts[0] + "/" + parts[2]
	}
	return parts[0]
}

// all requests since the last reset.
func (r *requests) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// writes since the last reset.
func (r *requests) writes() []string {
	return writesOf(r.all())
}

func writesOf(seen []string) []string {
	return slices.DeleteFunc(slices.Clone(seen), func(s string) bool { return strings.HasPrefix(s, "GET ") })
}

func (r *requests) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.breaks, r.broke, r.writesOnly = nil, 0, false, false
}

// breakRequest has the request with a number, from 1, fail before or after it is carried out.
func (r *requests) breakRequest(number int, after bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.breaks, r.after, r.broke, r.writesOnly = nil, number, after, false, false
}

// hasBroken tells whether the request to break was made.
func (r *requests) hasBroken() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broke
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
