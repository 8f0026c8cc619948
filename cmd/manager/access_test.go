package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	"k8s.io/client-go/rest"
)

// What an API server answers is tried on a real one, see testEndpoints.
func TestNobodyReadsMetricsWhenTheAPIServerCannotBeAsked(t *testing.T) {
	apiServer := httptest.NewServer(http.NotFoundHandler())
	apiServer.Close()
	filter, err := permitted(&rest.Config{Host: apiServer.URL}, http.DefaultClient)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	logger := funcr.New(func(_, args string) { log.WriteString(args) }, funcr.Options{})
	handler, err := filter(logger, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody reads them") }))
	if err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]int{
		"":                       http.StatusUnauthorized,
		"Basic c2NyYXBlcjpwYXNz": http.StatusUnauthorized,
		"Bearer":                 http.StatusUnauthorized,
		"Bearer ":                http.StatusUnauthorized,
		"Bearer  my-token":       http.StatusUnauthorized, // the API server takes who asks for anonymous
		"Bearer my-token twice":  http.StatusUnauthorized,
		"Bearer \tmy-token":      http.StatusUnauthorized,
		"Bearer my-token":        http.StatusInternalServerError,
		"bearer my-token":        http.StatusInternalServerError,
	} {
		request := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
		request.Header.Set("Authorization", header)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code != want {
			t.Errorf("with %q the answer is %d %s, want %d", header, answer.Code, answer.Body, want)
		}
	}
	if text := log.String(); !strings.Contains(text, "Cannot ask the API server") || strings.Contains(text, "my-token") {
		t.Errorf("the log has %s", text)
	}
}
