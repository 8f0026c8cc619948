// Plan-rotation prints what will happen to the CA of an MTLSAuthority and when, and what holds it up, if nobody does
// anything:
//
//	go run ./hack/plan-rotation [-for 8760h] NAMESPACE/NAME
//
// It reads the cluster of the current context of the kubeconfig, with the rights of who runs it: those to list Secrets, pods
// and nodes everywhere. It writes nothing. Of an authority that another one signs, it doesn't foresee what that one does.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/mtls-operator/mtls-operator/controllers"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

func main() {
	until := flag.Duration("for", 8760*time.Hour, "how far to look ahead")
	domain := flag.String("cluster-domain", "cluster.local", "domain of the cluster's Services")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "plan-rotation [flags] NAMESPACE/NAME prints what will happen to the CA of an "+
			"MTLSAuthority, and when.")
		flag.PrintDefaults()
	}
	flag.Parse()
	namespace, name, ok := strings.Cut(flag.Arg(0), "/")
	if !ok || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "write the authority as NAMESPACE/NAME")
		os.Exit(2)
	}
	options := controllers.Options{ClusterDomain: *domain}
	key := types.NamespacedName{Namespace: namespace, Name: name}
	if err := run(ctrl.SetupSignalHandler(), os.Stdout, options, key, *until); err != nil {
		fmt.Fprintln(os.Stderr, "plan-rotation:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, options controllers.Options, key types.NamespacedName, until time.Duration) error {
	ctrl.SetLogger(logr.Discard())
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  controllers.Scheme(),
		Cache:   controllers.CacheOptions(nil),
		Client:  controllers.ClientOptions(),
		Metrics: metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	moments, err := controllers.Forecast(ctx, mgr, options, key, until)
	if err != nil {
		return err
	}
	return write(out, moments)
}

// write prints a line for each step and each time at which something else is waited for, and one for each blocker.
func write(out io.Writer, moments []plan.Moment) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "AT\tSTAGE\tSTEP\tWHAT")
	last := ""
	for _, moment := range moments {
		line := describe(moment.Plan)
		if line == last {
			continue
		}
		last = line
		fmt.Fprintf(table, "%s\t%s\n", moment.At.UTC().Format(time.RFC3339), line)
		for _, blocker := range moment.Plan.Blockers {
			fmt.Fprintf(table, "\t\tblocked\t%s %s/%s: %s\n", blocker.Kind, blocker.Namespace, blocker.Name, blocker.Message)
		}
	}
	return table.Flush()
}

// does tells what a step means; behind those that end in a colon comes why.
var does = map[plan.StepKind]string{
	plan.StepMint:     "a CA is made and delivered to everybody: ",
	plan.StepActivate: "it signs from now on",
	plan.StepWithdraw: "it doesn't sign any more: ",
	plan.StepRetire:   "it is trusted by nobody from now on",
	plan.StepDelete:   "its Secret is deleted",
}

func describe(p plan.RotationPlan) string {
	step, what := "-", p.Message
	if p.Step.Kind != "" {
		step, what = fmt.Sprintf("%s %d", p.Step.Kind, p.Step.Number), does[p.Step.Kind]+p.Step.Cause+p.Step.For
	}
	if what == "" && !p.Due.IsZero() {
		what = "the next generation is made at " + p.Due.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s\t%s\t%s", p.Stage, step, what)
}
