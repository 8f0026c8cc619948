package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/mtls-operator/mtls-operator/controllers"
)

const (
	// maxConcurrency is where more workers only make the API server's queue longer.
	maxConcurrency = 256
	// maxVerbosity keeps keys out of the logs: from 6 on client-go tells requests, from 8 on the Secrets in them.
	maxVerbosity = 5
	// disabled is the address of a server that isn't wanted.
	disabled = "0"
)

// options are the flags, valid.
type options struct {
	controllers     controllers.Options
	kubeconfig      string // empty: found as kubectl and pods find it
	metricsAddress  string // host:port, or disabled
	probeAddress    string // host:port, or disabled
	profileAddress  string // loopback:port, or disabled
	leaderElect     bool
	leaderNamespace string // never empty with leaderElect
	logFormat       string // json or text
	logLevel        slog.Level
	help, version   bool // print that and end
}

// setting is one flag. Its default goes through set like what a person writes.
type setting struct {
	name     string
	value    string // what stands for the value in the help; empty: a switch, true or false
	fallback string
	help     string
	set      func(o *options, text string) error // the error says what to write
}

// settings are the flags in the order of the help.
var settings = []setting{
	{"cluster-domain", "DOMAIN", "cluster.local", "domain of the cluster's Services", setClusterDomain},
	{
		"concurrency", "N", "16", fmt.Sprintf("objects of a kind to work on at a time, 1 to %d", maxConcurrency),
		setConcurrency,
	},
	{
		"health-probe-bind-address", "HOST:PORT", ":8081", "where /healthz and /readyz are served; 0: nowhere",
		func(o *options, text string) error { return setAddress(&o.probeAddress, text) },
	},
	{
		"kubeconfig", "FILE", "", "the cluster and who to be there; default: $KUBECONFIG, the pod's own, ~/.kube/config",
		func(o *options, text string) error { o.kubeconfig = text; return nil },
	},
	{
		"min-propagation-delay", "DURATION", "90s", "least propagationDelay to accept, see MTLSAuthority",
		setMinPropagationDelay,
	},
	{
		"leader-elect", "", "true", "work only while no other replica does; false: this is the only one",
		func(o *options, text string) error { return setSwitch(&o.leaderElect, text) },
	},
	{
		"leader-election-namespace", "NAMESPACE", "", "where the Lease of that is; default: the pod's own",
		setLeaderNamespace,
	},
	{
		"log-format", "FORMAT", "json", "json, or text for people",
		setLogFormat,
	},
	{
		"log-level", "LEVEL", "info", fmt.Sprintf("error, info, debug, or a number from 0 (info) to %d", maxVerbosity),
		setLogLevel,
	},
	{
		"metrics-bind-address", "HOST:PORT", ":8443", "where /metrics is served, by HTTPS, to who may get it; 0: nowhere",
		func(o *options, text string) error { return setAddress(&o.metricsAddress, text) },
	},
	{
		"namespaces", "LIST", "", "namespaces to work in, with commas between; default: all",
		setNamespaces,
	},
	{
		"pprof-bind-address", "HOST:PORT", disabled, "where /debug/pprof is served, on this machine only; 0: nowhere",
		setProfileAddress,
	},
	{
		"version", "", "false", "print the version and end",
		func(o *options, text string) error { return setSwitch(&o.version, text) },
	},
}

// parseOptions reads the flags. Its error is one line that tells every wrong value by flag, with what to write instead.
// Namespace is that of the pod this runs in, empty outside of a cluster.
func parseOptions(args []string, namespace string) (options, error) {
	var opts options
	var problems []error
	flags := flag.NewFlagSet("manager", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // whoever calls tells the error
	for _, s := range settings {
		flags.Var(&flagValue{s, &opts, &problems}, s.name, s.help)
		if err := s.set(&opts, s.fallback); err != nil {
			return options{}, fmt.Errorf("default of --%s: %w", s.name, err)
		}
	}
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return options{help: true}, nil
	case err != nil:
		problems = append(problems, fmt.Errorf("%w, see --help", err))
	case flags.NArg() > 0:
		problems = append(problems, fmt.Errorf("%q: write flags only, --flag=false for a switch", flags.Arg(0)))
	default: // everything was read, or what is missing might only be unread
		opts.leaderNamespace = cmp.Or(opts.leaderNamespace, namespace)
		problems = append(problems, opts.contradictions()...)
	}
	if len(problems) > 0 {
		return options{}, oneLine(problems)
	}
	return opts, nil
}

// contradictions are between flags that are valid by themselves.
func (o *options) contradictions() []error {
	var problems []error
	if o.leaderElect && o.leaderNamespace == "" && !o.version {
		problems = append(problems, errors.New("--leader-election-namespace: write a namespace, as this isn't a pod, "+
			"or --leader-elect=false when no other replica runs"))
	}
	taken := map[string]string{}
	for _, server := range []struct{ flag, address string }{
		{"metrics-bind-address", o.metricsAddress},
		{"health-probe-bind-address", o.probeAddress},
		{"pprof-bind-address", o.profileAddress},
	} {
		if other, found := taken[server.address]; found && server.address != disabled {
			problems = append(problems, fmt.Errorf("--%s %q: write another address than that of --%s",
				server.flag, server.address, other))
		}
		taken[server.address] = server.flag
	}
	return problems
}

// oneLine joins problems the way a line of a log likes it.
func oneLine(problems []error) error {
	texts := make([]string, 0, len(problems))
	for _, problem := range problems {
		texts = append(texts, problem.Error())
	}
	return errors.New(strings.Join(texts, "; "))
}

// flagValue makes a setting a flag.Value that keeps its problem, since package flag stops at the first.
type flagValue struct {
	setting
	options  *options
	problems *[]error
}

func (v *flagValue) String() string { return "" }

func (v *flagValue) IsBoolFlag() bool { return v.value == "" }

func (v *flagValue) Set(text string) error {
	if err := v.set(v.options, text); err != nil {
		*v.problems = append(*v.problems, fmt.Errorf("--%s %q: %w", v.name, text, err))
	}
	return nil
}

func setSwitch(into *bool, text string) error {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("write true or false, behind a =")
	}
	*into = on
	return nil
}

func setConcurrency(o *options, text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxConcurrency {
		return fmt.Errorf("write a whole number from 1 to %d", maxConcurrency)
	}
	o.controllers.Concurrency = n
	return nil
}

func setClusterDomain(o *options, text string) error {
	if len(validation.IsDNS1123Subdomain(text)) > 0 || net.ParseIP(text) != nil {
		return errors.New("write a DNS name in lower case such as cluster.local, with no dot at its ends")
	}
	o.controllers.ClusterDomain = text
	return nil
}

func setMinPropagationDelay(o *options, text string) error {
	delay, err := time.ParseDuration(text)
	if err != nil || delay < time.Second {
		return errors.New("write a duration of at least 1s such as 90s")
	}
	o.controllers.MinPropagationDelay = delay
	return nil
}

func setNamespaces(o *options, text string) error {
	o.controllers.Namespaces = nil
	if text == "" {
		return nil
	}
	names := strings.Split(text, ",")
	for i, name := range names {
		if len(validation.IsDNS1123Label(name)) > 0 {
			return fmt.Errorf("%q can't be a namespace: write names such as shop, split by commas and no space", name)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("write %q once", name)
		}
	}
	o.controllers.Namespaces = names
	return nil
}

func setLeaderNamespace(o *options, text string) error {
	if text != "" && len(validation.IsDNS1123Label(text)) > 0 {
		return errors.New("write the name of a namespace, such as mtls-system")
	}
	o.leaderNamespace = text
	return nil
}

func setAddress(into *string, text string) error {
	host, port, err := net.SplitHostPort(text)
	_, portErr := strconv.ParseUint(port, 10, 16)
	hostIsOne := host == "" || net.ParseIP(host) != nil || len(validation.IsDNS1123Subdomain(host)) == 0
	if text != disabled && (err != nil || portErr != nil || !hostIsOne) {
		return errors.New("write host:port such as 127.0.0.1:8443, :port for all addresses, or 0 for none")
	}
	*into = text
	return nil
}

// setProfileAddress refuses what others can reach: whoever may profile a process can hold it up.
func setProfileAddress(o *options, text string) error {
	host, _, _ := net.SplitHostPort(text)
	err := setAddress(&o.profileAddress, text)
	if ip := net.ParseIP(host); text != disabled && (err != nil || ip == nil || !ip.IsLoopback()) {
		return errors.New("write 127.0.0.1:port or [::1]:port, and reach it by kubectl port-forward, or 0 for none")
	}
	return err
}

func setLogFormat(o *options, text string) error {
	if text != "json" && text != "text" {
		return errors.New("write json or text")
	}
	o.logFormat = text
	return nil
}

func setLogLevel(o *options, text string) error {
	named := map[string]slog.Level{"error": slog.LevelError, "info": slog.LevelInfo, "debug": slog.LevelDebug}
	if level, ok := named[text]; ok {
		o.logLevel = level
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxVerbosity {
		return fmt.Errorf("write error, info, debug, or a number from 0 to %d", maxVerbosity)
	}
	o.logLevel = slog.Level(-n) // as logr counts, see logr.FromSlogHandler
	return nil
}

// printHelp writes what every flag means and is by default.
func printHelp(w io.Writer) {
	fmt.Fprintln(w, "The operator of mtls-operator.io: MTLSAuthorities and MTLSCertificates become Secrets.\n\nFlags:")
	for _, s := range settings {
		line := strings.TrimSpace("--" + s.name + " " + s.value)
		byDefault := ""
		if s.fallback != "" && s.fallback != "false" {
			byDefault = fmt.Sprintf(" (default %s)", s.fallback)
		}
		fmt.Fprintf(w, "  %-37s  %s%s\n", line, s.help, byDefault)
	}
}

// podNamespace is the namespace of the pod this runs in, empty outside of a cluster.
func podNamespace() string {
	name, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
