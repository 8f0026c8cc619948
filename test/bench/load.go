package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

const (
	resourcePath = "/apis/mtls-operator.io/v1alpha1"
	// posters make certificates at the same time.
	posters = 32
)

// load makes MTLSCertificates and sees when each is ready.
type load struct {
	server     *server
	namespaces []string
	sharing    int // how many operators share the namespaces
	key        v1alpha1.KeyType
	duration   time.Duration
	made       int // objects

	mu      sync.Mutex
	asked   map[string]time.Time // when the request for an object was sent, by namespace/name
	ready   map[string]time.Time
	serials map[string]string // of the current certificate
	renewed map[string]time.Time
	due     map[string]time.Time // when the current certificate is to be renewed
	gone    error                // why nothing is seen any more
}

// newLoad makes namespaces and, for each share of them, an authority that all of them may use, and begins to watch until ctx
// ends.
func newLoad(ctx context.Context, s *server, of scenario) (*load, error) {
	l := &load{
		server: s, sharing: of.operators, key: of.key, duration: 2160 * time.Hour,
		asked: map[string]time.Time{}, ready: map[string]time.Time{},
		serials: map[string]string{}, renewed: map[string]time.Time{}, due: map[string]time.Time{},
	}
	for i := range of.namespaces {
		l.namespaces = append(l.namespaces, fmt.Sprintf("ns-%d", i))
		if err := l.makeNamespace(ctx, l.namespaces[i]); err != nil {
			return nil, err
		}
	}
	for share := range l.sharing {
		if err := l.makeNamespace(ctx, l.home(share)); err != nil {
			return nil, err
		}
		authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: l.home(share), Name: "ca"}}
		authority.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll}
		authority.Spec.Rotation = &v1alpha1.RotationSettings{PropagationDelay: rotationDelay}
		if err := s.admin.Create(ctx, authority); err != nil {
			return nil, err
		}
	}
	go func() {
		err := l.watch(ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.gone = cmp.Or(ctx.Err(), err)
	}()
	return l, nil
}

func (l *load) makeNamespace(ctx context.Context, name string) error {
	return l.server.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// home is the namespace of the authority of a share.
func (l *load) home(share int) string { return fmt.Sprintf("authorities-%d", share) }

// shares are the namespaces that each operator works in. The only one works in all, without being told which there are.
func (l *load) shares() [][]string {
	all := make([][]string, l.sharing)
	if l.sharing == 1 {
		return all
	}
	for share := range all {
		all[share] = []string{l.home(share)}
	}
	for i, namespace := range l.namespaces {
		all[i%l.sharing] = append(all[i%l.sharing], namespace)
	}
	return all
}

// watch the objects. An API server ends a watch now and then, as after the CRD was established: what was there before comes
// again at the beginning of the next one.
func (l *load) watch(ctx context.Context) error {
	for {
		events, err := l.server.rest().Get().AbsPath(resourcePath, "mtlscertificates").
			Param("watch", "true").SetHeader("Accept", "application/json").Stream(ctx)
		if err != nil {
			return fmt.Errorf("watch MTLSCertificates: %w", err)
		}
		err = l.see(json.NewDecoder(bufio.NewReaderSize(events, 1<<16)))
		_ = events.Close()
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("watch MTLSCertificates: %w", err)
		}
	}
}

// seen is as much of an event as is needed.
type seen struct {
	Type   string
	Object struct {
		Metadata struct{ Namespace, Name string }
		Status   struct {
			Conditions  []struct{ Type, Status string }
			Certificate struct {
				SerialNumber string
				RenewalTime  time.Time
			}
		}
	}
}

// see events until there are no more.
func (l *load) see(events *json.Decoder) error {
	for {
		var event seen
		if err := events.Decode(&event); err != nil {
			return err
		}
		now := time.Now()
		for _, condition := range event.Object.Status.Conditions {
			if condition.Type == v1alpha1.ConditionReady && condition.Status == string(metav1.ConditionTrue) {
				l.note(event, now)
			}
		}
	}
}

func (l *load) note(event seen, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := event.Object.Metadata.Namespace + "/" + event.Object.Metadata.Name
	if _, known := l.ready[key]; !known {
		l.ready[key] = now
	}
	certificate := event.Object.Status.Certificate
	if before := l.serials[key]; before != "" && before != certificate.SerialNumber {
		l.renewed[key] = now
	}
	l.serials[key] = certificate.SerialNumber
	if _, known := l.due[key]; !known {
		l.due[key] = certificate.RenewalTime
	}
}

// make n objects as fast as the API server takes them, and return when the first was asked for.
func (l *load) make(ctx context.Context, n int) (time.Time, error) {
	begin := time.Now()
	numbers := make(chan int, n)
	for i := range n {
		numbers <- l.made + i
	}
	l.made += n
	close(numbers)
	failed := make([]error, posters)
	var all sync.WaitGroup
	for i := range posters {
		all.Go(func() {
			for number := range numbers {
				if failed[i] = l.post(ctx, number); failed[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return begin, cmp.Or(failed...)
}

// trickle makes n objects, one after the other in intervals.
func (l *load) trickle(ctx context.Context, n int, interval time.Duration) (names []string, err error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for range n {
		if err := l.post(ctx, l.made); err != nil {
			return nil, err
		}
		names = append(names, l.name(l.made))
		l.made++
		<-ticker.C
	}
	return names, nil
}

func (l *load) namespace(number int) string { return l.namespaces[number%len(l.namespaces)] }

// name is the namespace and the name of an object by its number.
func (l *load) name(number int) string { return fmt.Sprintf("%s/cert-%d", l.namespace(number), number) }

func (l *load) post(ctx context.Context, number int) error {
	namespace, home := l.namespace(number), l.home(number%len(l.namespaces)%l.sharing)
	body := fmt.Appendf(nil, `{"apiVersion":"mtls-operator.io/v1alpha1","kind":"MTLSCertificate","metadata":{"name":"cert-%d"},`+
		`"spec":{"authorityRef":{"name":"ca","namespace":%q},"usages":["Server","Client"],"dnsNames":["cert-%[1]d.%[3]s.svc"],`+
		`"duration":%q,"privateKey":{"type":%q}}}`, number, home, namespace, l.duration.String(), l.key)
	l.mu.Lock()
	l.asked[l.name(number)] = time.Now()
	l.mu.Unlock()
	return l.server.rest().Post().AbsPath(resourcePath, "namespaces", namespace, "mtlscertificates").
		SetHeader("Accept", "application/json").SetHeader("Content-Type", "application/json").
		Body(body).Do(ctx).Error()
}

// await returns when as many as were made are ready, or some of them.
func (l *load) await(ctx context.Context, limit time.Duration) error {
	return l.until(ctx, limit, "certificates being ready", func() (done, of int) { return len(l.ready), l.made })
}

// until some count is reached.
func (l *load) until(ctx context.Context, limit time.Duration, what string, count func() (done, of int)) error {
	deadline := time.After(limit)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		l.mu.Lock()
		done, of := count()
		gone := l.gone
		l.mu.Unlock()
		if done >= of {
			return nil
		}
		if gone != nil {
			return gone
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline:
			return fmt.Errorf("%s: %d of %d after %s", what, done, of, limit)
		case <-ticker.C:
		}
	}
}

// latencies of objects, in seconds, sorted; of all when names is nil.
func (l *load) latencies(names []string) (sorted []float64, last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, ready := range l.ready {
		if names != nil && !slices.Contains(names, name) {
			continue
		}
		sorted = append(sorted, ready.Sub(l.asked[name]).Seconds())
		if ready.After(last) {
			last = ready
		}
	}
	slices.Sort(sorted)
	return sorted, last
}

// percentile of sorted values, by the nearest rank.
func percentile(sorted []float64, percent float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(percent / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}
