// Manager is the operator: it makes CAs of MTLSAuthorities and keeps the Secrets of MTLSCertificates right.
//
// It promises that nothing runs on a flag that isn't understood (every mistake is told at once, in one line, with exit
// code 2); that of several replicas one works while the others wait with filled caches; that SIGTERM lets work in hand
// end and hands the lease over at once, with exit code 0; and that its logs, which go to standard error, hold no key at
// any level it can be given. Everything it does in a cluster is in package controllers.
package main

import (
	"fmt"
	"io"
	"os"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// version is set by the linker, see the Makefile.
var version = "unknown"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 after a signal, 1 when the operator can't work, 2 when a flag is wrong.
func run(args []string, stdout, stderr io.Writer) int {
	opts, err := parseOptions(args, podNamespace())
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "manager: %v\n", err)
		return 2
	case opts.help:
		printHelp(stdout)
		return 0
	case opts.version:
		fmt.Fprintln(stdout, version)
		return 0
	}
	log := newLogger(stderr, opts.logFormat, opts.logLevel)
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	if err := operate(ctrl.SetupSignalHandler(), opts, log); err != nil {
		log.Error(err, "the operator ends")
		return 1
	}
	return 0
}
