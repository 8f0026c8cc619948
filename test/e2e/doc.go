// Package e2e tests the operator in a cluster with kubelets, pods and nodes: `make e2e` makes one for it.
//
// It promises that what README tells a user to do works there as written, that traffic between pods goes on through
// renewals, rotations of CAs, upgrades and outages, and that what kubectl shows is what is kept in testdata.
package e2e
