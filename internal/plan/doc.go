// Package plan decides what to do, and why. Every function is pure: what was observed and the time go in, a decision with
// its reason comes out. Nothing here reads a cluster, a clock or a random number, so that the future of a certificate can
// be printed, simulated and proved by calling what the controllers call.
package plan
