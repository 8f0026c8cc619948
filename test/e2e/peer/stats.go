package main

import (
	"encoding/json"
	"io"
	"net/http"
)

// statsHandler tells what was counted and what is in force, forgets the counts when asked to, and answers the kubelet.
func statsHandler(files *files, counted *counts) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		told, leaf := counted.tell(), files.pair.current.Load().Leaf
		told.Serial, told.Issuer = serial(leaf), issuer(leaf)
		told.Roots = files.roots.current.Load().fingerprints
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(told) // the reader sees that it broke off
	})
	routes.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		counted.reset()
		w.WriteHeader(http.StatusNoContent)
	})
	routes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	return routes
}
