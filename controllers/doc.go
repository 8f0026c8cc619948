// Package controllers is all the operator's contact with a cluster, one file per reconciled kind. A pass observes
// (caches), plans (internal/plan), acts (at most one write to a Secret) and reports (at most one status write); a pass
// that changes nothing writes nothing.
//
// Private keys are read in two places only: the Issuer reads that of a CA generation once, and a certificate whose key is
// kept reads its own when it is renewed. They are in no cache: Secrets lose them before they are stored.
package controllers
