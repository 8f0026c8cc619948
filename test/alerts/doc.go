// Package alerts holds config/prometheus/rules.yaml to what it says. It promises that each alert fires in its case, by
// Prometheus's own engine; that none fires in the life of a CA, in its rotation, or in the life of a certificate; that
// the rules look at nothing but what the operator exports, by name, label and value; and that each alert says what to do.
// It is a module of its own, so that nobody who uses the operator has its dependencies.
package alerts
