// Package compat holds what others say of the operator's work: zlint's lints, OpenSSL's strict verification and a server
// of Node.js with curl as its client of the certificates, kstatus of the objects. It is a module of its own, so that
// nobody who uses the operator has its dependencies.
package compat
