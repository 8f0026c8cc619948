// Package simulation is the room of the property tests of rotation: a cluster in which time, crashes, caches, clocks, nodes and
// people do what they like, and in which the planner decides. It holds tests only, and promises what they find: under the
// assumptions that are stated with each of them, no two programs of the cluster ever fail to shake hands because a CA rotates.
package simulation
