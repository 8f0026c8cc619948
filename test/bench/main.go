package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// options are the flags, valid.
type options struct {
	root, programs string
	profiles, plot string // where to write these, empty for nowhere
	sizes          []int
	namespaces     int
	runs           int
	scale          int // another number of certificates, for what is measured of many; zero for all else
	only           *regexp.Regexp
}

func main() {
	ctrl.SetLogger(klog.Background())
	if err := run(); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run tells what was measured until then also when it fails.
func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o, err := parse(os.Args[1:])
	if err != nil {
		return err
	}
	all := &results{}
	err = o.measure(ctx, all)
	all.table(os.Stdout)
	fmt.Fprintln(os.Stdout)
	all.requests(os.Stdout)
	if err == nil && o.plot != "" {
		err = all.plot(o.plot)
	}
	return err
}

func parse(args []string) (*options, error) {
	o, flags := &options{}, flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.root, "root", ".", "folder of the repository")
	flags.StringVar(&o.programs, "programs", "bin/bench", "folder with manager and floor")
	flags.StringVar(&o.profiles, "profiles", "", "folder for profiles of the operator's CPU time and heap in each step")
	flags.StringVar(&o.plot, "plot", "", "SVG file for a plot of the rates")
	sizes := flags.String("sizes", "100,1000,5000,10000", "numbers of certificates")
	flags.IntVar(&o.namespaces, "namespaces", 50, "number of namespaces that they are in")
	flags.IntVar(&o.runs, "runs", 5, "how often each is measured")
	flags.IntVar(&o.scale, "scale", 0, "measure instead how one operator, and two, live with this many certificates")
	only := flags.String("only", "", "regular expression for the scenarios to run")
	err := flags.Parse(args)
	if err != nil {
		return nil, err
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-sizes: %q isn't a number of certificates", text)
		}
		o.sizes = append(o.sizes, n)
	}
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return nil, errors.New("KUBEBUILDER_ASSETS isn't set: run make bench")
	}
	return o, nil
}

// measure everything, the contenders in turns.
func (o *options) measure(ctx context.Context, all *results) error {
	chosen := slices.DeleteFunc(o.scenarios(), func(s scenario) bool { return !o.only.MatchString(s.name) })
	if len(chosen) == 0 {
		return fmt.Errorf("-only: no scenario is called %s", o.only)
	}
	contenders, err := o.contenders()
	if err != nil {
		return err
	}
	for number := range o.runs {
		for _, s := range chosen {
			for _, c := range contenders {
				fmt.Fprintf(os.Stderr, "run %d of %d: %s, %s\n", number+1, o.runs, s.name, c.name)
				if err := s.measure(ctx, o.root, c, all); err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, c.name, err)
				}
			}
		}
	}
	return nil
}
