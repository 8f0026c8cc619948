// Bench measures the operator beside the floor: a program that for each certificate does what can't be left out, and
// nothing else (folder floor). Both run as processes of their own, as the same ServiceAccount, against an etcd and an API
// server that are started anew for each measurement; in turns, so that what the machine does meanwhile hits both.
//
// It promises that a figure is only told of work that was done: every Secret is verified after the clock has stopped. CPU
// time and memory are those of the processes as the kernel counts them, requests those that the API server counted, and
// latencies are taken from the watch of somebody who waits for condition Ready. What carries over to other machines are
// the ratios, the writes and the CPU time; a rate by itself tells of the machine.
package main
