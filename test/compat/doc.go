// Package compat holds what others say of the operator's certificates: zlint's lints, OpenSSL's strict verification and
// a server of Node.js with curl as its client. It is a module of its own, so that nobody who uses the operator has its
// dependencies.
package compat
