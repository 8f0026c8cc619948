package main

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mtls-operator/mtls-operator/controllers"
)

// defaults in a pod of namespace mtls-system.
func defaults() options {
	return options{
		controllers:     controllers.Options{ClusterDomain: "cluster.local", Concurrency: 16, MinPropagationDelay: 90 * time.Second},
		metricsAddress:  ":8443",
		probeAddress:    ":8081",
		profileAddress:  "0",
		leaderElect:     true,
		leaderNamespace: "mtls-system",
		logFormat:       "json",
		logLevel:        slog.LevelInfo,
	}
}

// accepted are flags and what they change in the defaults.
var accepted = map[string]struct {
	args string
	want func(*options)
}{
	"no flags at all":               {"", func(*options) {}},
	"a cluster domain":              {"--cluster-domain=k8s.lan", func(o *options) { o.controllers.ClusterDomain = "k8s.lan" }},
	"a cluster domain of one label": {"--cluster-domain local", func(o *options) { o.controllers.ClusterDomain = "local" }},
	"the least concurrency":         {"--concurrency=1", func(o *options) { o.controllers.Concurrency = 1 }},
	"the highest concurrency":       {"--concurrency=256", func(o *options) { o.controllers.Concurrency = 256 }},
	"the last of a repeated flag":   {"--concurrency=1 --concurrency=2", func(o *options) { o.controllers.Concurrency = 2 }},
	"one dash":                      {"-concurrency 4", func(o *options) { o.controllers.Concurrency = 4 }},
	"probes on one address":         {"--health-probe-bind-address=1.1.1.1:8", func(o *options) { o.probeAddress = "1.1.1.1:8" }},
	"probes on an IPv6 address":     {"--health-probe-bind-address=[::1]:8081", func(o *options) { o.probeAddress = "[::1]:8081" }},
	"no probes":                     {"--health-probe-bind-address=0", func(o *options) { o.probeAddress = "0" }},
	"metrics on a host":             {"--metrics-bind-address=localhost:9", func(o *options) { o.metricsAddress = "localhost:9" }},
	"metrics on a free port":        {"--metrics-bind-address=:0", func(o *options) { o.metricsAddress = ":0" }},
	"profiles":                      {"--pprof-bind-address=127.0.0.1:60", func(o *options) { o.profileAddress = "127.0.0.1:60" }},
	"profiles on an IPv6 address":   {"--pprof-bind-address=[::1]:6060", func(o *options) { o.profileAddress = "[::1]:6060" }},
	"neither metrics nor probes": {
		"--metrics-bind-address=0 --health-probe-bind-address=0",
		func(o *options) { o.metricsAddress, o.probeAddress = "0", "0" },
	},
	"a shorter delay": {
		"--min-propagation-delay=10s", func(o *options) { o.controllers.MinPropagationDelay = 10 * time.Second },
	},
	"a kubeconfig":                {"--kubeconfig=/root/it", func(o *options) { o.kubeconfig = "/root/it" }},
	"leader election by switch":   {"--leader-elect", func(*options) {}},
	"no leader election":          {"--leader-elect=false", func(o *options) { o.leaderElect = false }},
	"a namespace for the Lease":   {"--leader-election-namespace=locks", func(o *options) { o.leaderNamespace = "locks" }},
	"logs for people":             {"--log-format=text", func(o *options) { o.logFormat = "text" }},
	"logs for programs":           {"--log-format=json", func(*options) {}},
	"errors only":                 {"--log-level=error", func(o *options) { o.logLevel = slog.LevelError }},
	"the usual logs":              {"--log-level=info", func(*options) {}},
	"more logs":                   {"--log-level=debug", func(o *options) { o.logLevel = slog.LevelDebug }},
	"level 0, which is info":      {"--log-level=0", func(*options) {}},
	"the finest level":            {"--log-level=5", func(o *options) { o.logLevel = slog.Level(-5) }},
	"one namespace":               {"--namespaces=shop", func(o *options) { o.controllers.Namespaces = list("shop") }},
	"two namespaces":              {"--namespaces=shop,b-2", func(o *options) { o.controllers.Namespaces = list("shop,b-2") }},
	"an empty list of namespaces": {"--namespaces=", func(*options) {}},
	"the version":                 {"--version", func(o *options) { o.version = true }},
}

func TestFlagsThatAreAccepted(t *testing.T) {
	for name, test := range accepted {
		t.Run(name, func(t *testing.T) {
			want := defaults()
			test.want(&want)
			got, err := parseOptions(strings.Fields(test.args), "mtls-system")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{})); diff != "" {
				t.Errorf("want the options on the left (-), got those on the right (+):\n%s", diff)
			}
		})
	}
}

const (
	writeAddress     = `write host:port such as 127.0.0.1:8443, :port for all addresses, or 0 for none`
	writeLoopback    = `write 127.0.0.1:port or [::1]:port, and reach it by kubectl port-forward, or 0 for none`
	writeConcurrency = `write a whole number from 1 to 256`
	writeDomain      = `write a DNS name in lower case such as cluster.local, with no dot at its ends`
	writeDelay       = `write a duration of at least 1s such as 90s`
	writeFormat      = `write json or text`
	writeLevel       = `write error, info, debug, or a number from 0 to 5`
	writeNames       = ` can't be a namespace: write names such as shop, split by commas and no space`
	writeNamespace   = `write the name of a namespace, such as mtls-system`
	writeSwitch      = `write true or false, behind a =`
)

// refused are values of a flag and what the error says behind both.
var refused = map[string]struct{ flag, value, want string }{
	"a cluster domain with a dot at its end":  {"cluster-domain", "cluster.local.", writeDomain},
	"a cluster domain in upper case":          {"cluster-domain", "Cluster.Local", writeDomain},
	"a cluster domain that is an IP address":  {"cluster-domain", "10.0.0.1", writeDomain},
	"an empty cluster domain":                 {"cluster-domain", "", writeDomain},
	"a cluster domain with a terminal escape": {"cluster-domain", "\x1b[31m", writeDomain},
	"no workers":                             {"concurrency", "0", writeConcurrency},
	"too many workers":                       {"concurrency", "257", writeConcurrency},
	"half a worker":                          {"concurrency", "0.5", writeConcurrency},
	"more workers than a number holds":       {"concurrency", "99999999999999999999", writeConcurrency},
	"probes on a port without a colon":       {"health-probe-bind-address", "8081", writeAddress},
	"probes on a port that doesn't exist":    {"health-probe-bind-address", ":65536", writeAddress},
	"probes on a port by name":               {"health-probe-bind-address", ":http", writeAddress},
	"probes nowhere by an empty address":     {"health-probe-bind-address", "", writeAddress},
	"metrics on a host that can't be":        {"metrics-bind-address", "under_score:1", writeAddress},
	"metrics on a URL":                       {"metrics-bind-address", "https://localhost:8443", writeAddress},
	"profiles for everybody":                 {"pprof-bind-address", ":6060", writeLoopback},
	"profiles for the network":               {"pprof-bind-address", "10.0.0.1:6060", writeLoopback},
	"profiles on a name":                     {"pprof-bind-address", "localhost:6060", writeLoopback},
	"profiles on no port":                    {"pprof-bind-address", "127.0.0.1", writeLoopback},
	"leader election perhaps":                {"leader-elect", "perhaps", writeSwitch},
	"a namespace of the Lease that can't be": {"leader-election-namespace", "Mtls", writeNamespace},
	"a delay that isn't one":                 {"min-propagation-delay", "soon", writeDelay},
	"a delay of no time":                     {"min-propagation-delay", "0s", writeDelay},
	"a log format that doesn't exist":        {"log-format", "xml", writeFormat},
	"a log level that doesn't exist":         {"log-level", "warn", writeLevel},
	"a log level at which keys are logged":   {"log-level", "8", writeLevel},
	"a log level below all":                  {"log-level", "-1", writeLevel},
	"a namespace in upper case":              {"namespaces", "Shop", `"Shop"` + writeNames},
	"a namespace twice":                      {"namespaces", "a,b,a", `write "a" once`},
	"a comma too many":                       {"namespaces", "a,", `""` + writeNames},
	"namespaces by a pattern":                {"namespaces", "*", `"*"` + writeNames},
	"a version of one's own":                 {"version", "2", writeSwitch},
}

func TestValuesThatAreRefused(t *testing.T) {
	for name, test := range refused {
		t.Run(name, func(t *testing.T) {
			want := fmt.Sprintf("--%s %q: %s", test.flag, test.value, test.want)
			refuse(t, want, "--"+test.flag+"="+test.value)
		})
	}
}

func TestFlagsThatAreRefusedTogether(t *testing.T) {
	tests := map[string]struct{ args, want string }{
		"metrics where the probes are": {
			"--metrics-bind-address=:8081",
			`--health-probe-bind-address ":8081": write another address than that of --metrics-bind-address`,
		},
		"profiles where the metrics are": {
			"--metrics-bind-address=[::1]:1 --pprof-bind-address=[::1]:1",
			`--pprof-bind-address "[::1]:1": write another address than that of --metrics-bind-address`,
		},
		"a switch with a space": {"--leader-elect false", `"false": write flags only, --flag=false for a switch`},
		"a command":             {"start", `"start": write flags only, --flag=false for a switch`},
		"an unknown flag":       {"--nope", `flag provided but not defined: -nope, see --help`},
		"no value":              {"--concurrency", `flag needs an argument: -concurrency, see --help`},
		"everything wrong at once": {
			"--concurrency=0 --log-format=xml --namespaces=_ --nope",
			`--concurrency "0": ` + writeConcurrency + `; --log-format "xml": ` + writeFormat +
				`; --namespaces "_": "_"` + writeNames + `; flag provided but not defined: -nope, see --help`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { refuse(t, test.want, strings.Fields(test.args)...) })
	}
}

// refuse fails unless the flags give just this error and no options.
func refuse(t *testing.T, want string, args ...string) {
	t.Helper()
	got, err := parseOptions(args, "mtls-system")
	if errorText(err) != want {
		t.Errorf("want %s\n got %s", want, errorText(err))
	}
	if diff := cmp.Diff(options{}, got, cmp.AllowUnexported(options{})); diff != "" {
		t.Errorf("options come along with the error:\n%s", diff)
	}
}

func TestEveryFlagIsTriedWithGoodAndBadValues(t *testing.T) {
	good, bad := map[string]bool{}, map[string]bool{}
	for _, test := range accepted {
		for arg := range strings.FieldsSeq(test.args) {
			name, _, _ := strings.Cut(arg, "=")
			good[strings.TrimLeft(name, "-")] = true
		}
	}
	for _, test := range refused {
		bad[test.flag] = true
	}
	bad["kubeconfig"] = true // any text may be the name of a file; whether it is one shows when it is read
	for _, s := range settings {
		if !good[s.name] || !bad[s.name] {
			t.Errorf("--%s: accepted %v, refused %v, want both tried", s.name, good[s.name], bad[s.name])
		}
	}
}

func TestOutsideOfAClusterLeaderElectionNeedsANamespace(t *testing.T) {
	const want = "--leader-election-namespace: write a namespace, as this isn't a pod, " +
		"or --leader-elect=false when no other replica runs"
	tests := map[string]struct{ args, want string }{
		"no flags":                      {"--concurrency=1", want},
		"a namespace by flag":           {"--leader-election-namespace=mtls-system", ""},
		"no leader election":            {"--leader-elect=false", ""},
		"only the version is asked":     {"--version", ""},
		"another flag is wrong as well": {"--log-format=xml", `--log-format "xml": write json or text; ` + want},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseOptions([]string{test.args}, "")
			if got := errorText(err); got != test.want {
				t.Errorf("want %q\n got %q", test.want, got)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestHelpTellsEveryFlagAndItsDefault(t *testing.T) {
	for _, flag := range []string{"--help", "-h"} {
		opts, err := parseOptions([]string{"--concurrency=0", flag, "--nope"}, "")
		if err != nil || !opts.help {
			t.Errorf("%s gives help %v and error %v, want help and none", flag, opts.help, err)
		}
	}
	var help strings.Builder
	printHelp(&help)
	lines := strings.Split(help.String(), "\n")
	for _, s := range settings {
		found := false
		for _, line := range lines {
			fields := strings.Fields(line)
			found = found || len(fields) > 0 && fields[0] == "--"+s.name && strings.Contains(line, s.help) &&
				(s.fallback == "false" || strings.Contains(line, s.fallback))
		}
		if !found {
			t.Errorf("--%s with its text and default %q isn't in\n%s", s.name, s.fallback, help.String())
		}
	}
	for _, line := range lines {
		if len(line) > 125 {
			t.Errorf("a line of %d characters wraps on a wide terminal: %s", len(line), line)
		}
	}
}
