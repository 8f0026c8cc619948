// Floor is the least that anything can do for a certificate: it makes the key, signs, creates one Secret and writes one
// status, with a number of workers. It has no cache, no queue that knows of retries, no policy and no second look. What an
// operator takes is measured as a ratio to what this takes.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const certificates = "/apis/mtls-operator.io/v1alpha1/mtlscertificates"

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the cluster and who to be there")
	workers := flag.Int("workers", 16, "certificates to work on at a time")
	flag.Parse()
	if err := run(*kubeconfig, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

// run until it is asked to end, which is no error.
func run(kubeconfig string, workers int) error {
	stopped, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ca, err := newCA()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stopped)
	defer cancel(nil)
	f := &floor{client: client, ca: ca}
	wanted := make(chan certificate, 1<<20)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for c := range wanted {
				if err := f.issue(ctx, c); err != nil {
					cancel(fmt.Errorf("%s/%s: %w", c.Metadata.Namespace, c.Metadata.Name, err))
				}
			}
		})
	}
	err = watchAll(ctx, client.RESTClient(), wanted)
	close(wanted)
	all.Wait()
	if stopped.Err() != nil {
		return nil
	}
	return cmp.Or(context.Cause(ctx), err)
}

// certificate is as much of an MTLSCertificate as is needed.
type certificate struct {
	Metadata struct {
		Namespace, Name string
		Generation      int64
	}
	Spec struct {
		DNSNames   []string
		PrivateKey struct{ Type string }
	}
}

// watchAll sends every MTLSCertificate that is made. An API server ends a watch now and then: what was there before comes
// again with the next one.
func watchAll(ctx context.Context, client rest.Interface, wanted chan<- certificate) error {
	known := map[string]bool{}
	for {
		if err := watch(ctx, client, known, wanted); !errors.Is(err, io.EOF) {
			return err
		}
	}
}

func watch(ctx context.Context, client rest.Interface, known map[string]bool, wanted chan<- certificate) error {
	stream, err := client.Get().AbsPath(certificates).Param("watch", "true").SetHeader("Accept", "application/json").Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	fmt.Fprintln(os.Stdout, "ready")
	events := json.NewDecoder(bufio.NewReaderSize(stream, 1<<16))
	for {
		var event struct {
			Type   string
			Object json.RawMessage
		}
		if err := events.Decode(&event); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		if event.Type != "ADDED" {
			continue
		}
		var c certificate
		if err := json.Unmarshal(event.Object, &c); err != nil {
			return err
		}
		if key := c.Metadata.Namespace + "/" + c.Metadata.Name; !known[key] {
			known[key] = true
			wanted <- c
		}
	}
}

type floor struct {
	client *kubernetes.Clientset
	ca     *authority
}

func (f *floor) issue(ctx context.Context, c certificate) error {
	secret, err := f.ca.secret(c)
	if err != nil {
		return err
	}
	if _, err := f.client.CoreV1().Secrets(c.Metadata.Namespace).Create(ctx, secret, createOptions); err != nil {
		return err
	}
	return f.client.RESTClient().Patch(types.MergePatchType).
		AbsPath("/apis/mtls-operator.io/v1alpha1/namespaces", c.Metadata.Namespace, "mtlscertificates", c.Metadata.Name, "status").
		SetHeader("Accept", "application/json").
		Body(statusPatch(c.Metadata.Generation)).Do(ctx).Error()
}
