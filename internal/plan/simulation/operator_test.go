package simulation_test

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// process is a manager that is the leader, or believes it is.
type process struct {
	// offset of its machine's clock from the true time.
	offset time.Duration
	cache  objects
	synced time.Time
	// held is since when gates hold, on the monotonic clock, which is the true one.
	held  map[plan.Gate]time.Time
	turns map[plan.ConsumerRef]bool
}

func (s *simulation) newProcess(offset time.Duration) *process {
	return &process{
		offset: offset, cache: s.clone(), synced: s.now, held: map[plan.Gate]time.Time{}, turns: map[plan.ConsumerRef]bool{},
	}
}

// decision is what an authority's pass found out.
type decision struct {
	in   plan.AuthorityInput
	plan plan.AuthorityPlan
	seen objects
}

// decide as the controller does: observe, plan, and plan again with the pods when only these may be in the way.
func (s *simulation) decide(p *process) decision {
	in := s.observe(p)
	s.mutation.input(s, &in)
	result := plan.Authority(in, s.wall(p))
	if result.WantsPods {
		in.Pods = s.podViews()
		s.mutation.input(s, &in)
		result = plan.Authority(in, s.wall(p))
	}
	s.mutation.output(s, in, &result)
	p.hold(result.Holding, s.now)
	return decision{in, result, p.cache.clone()}
}

func (s *simulation) wall(p *process) time.Time { return s.now.Add(p.offset) }

func (p *process) hold(gates []plan.Gate, now time.Time) {
	held := make(map[plan.Gate]time.Time, len(gates))
	for _, gate := range gates {
		held[gate] = now
		if since, known := p.held[gate]; known {
			held[gate] = since
		}
	}
	p.held = held
}

// observe as authority_controller.go does.
func (s *simulation) observe(p *process) plan.AuthorityInput {
	a := p.cache.authority
	in := plan.AuthorityInput{FirstSecret: "my-ca-ca-1", Known: a.numbers}
	in.Wish, in.Imported, in.Orders, in.Lineage = a.wish, a.imported, a.orders, s.lineage(p)
	for _, number := range a.numbers {
		in.Highest = max(in.Highest, number)
	}
	for _, c := range p.cache.certificates {
		in.Highest, in.Signed = max(in.Highest, c.number), max(in.Signed, c.number)
	}
	in.Held = make(map[plan.Gate]time.Duration, len(p.held))
	for gate, since := range p.held {
		in.Held[gate] = s.now.Sub(since)
	}
	roots := in.Lineage.Bundle()
	if in.Lineage.Rotating() || a.roots != roots.Hash() || !a.trusted {
		in.Consumers = p.consumers(in.Lineage, roots, s.wall(p))
	}
	return in
}

// lineage as a process sees it.
func (s *simulation) lineage(p *process) plan.Lineage {
	return s.mutation.lineage(s, p, p.cache.lineage())
}

// consumers as consumers.go enumerates them: from what people asked for.
func (p *process) consumers(lineage plan.Lineage, roots pki.Bundle, now time.Time) []plan.Consumer {
	all := []plan.Consumer{}
	for _, name := range slices.Sorted(maps.Keys(p.cache.certificates)) {
		c := p.cache.certificates[name]
		one := plan.Consumer{ConsumerRef: secretRef(name), Born: c.made}
		if c.once {
			one.Reload = v1alpha1.ReloadRestart
		}
		secret := p.visible(one.ConsumerRef)
		if secret == nil {
			one.Missing = true
			if c.issued {
				all = append(all, one)
			}
			continue
		}
		hold(&one, secret, lineage, roots)
		one.Leaf = leafOf(secret, lineage)
		if one.Leaf != nil {
			one.Leaf.Kept, one.Leaf.RenewBefore = c.invalid, c.renewBefore
			one.Leaf.Refused = refused(c, lineage)
		}
		all = append(all, one)
	}
	return append(all, p.published(lineage, roots, now)...)
}

// published are the consumers that aren't a certificate's: bundles, and Secrets that were retained.
func (p *process) published(lineage plan.Lineage, roots pki.Bundle, now time.Time) []plan.Consumer {
	var all []plan.Consumer
	for _, ref := range p.cache.bundleRefs() {
		one := plan.Consumer{ConsumerRef: ref, Born: p.cache.authority.made}
		if ref.Namespace != "" {
			one.Born = p.cache.spaces[ref.Namespace].made
		}
		if found := p.visible(ref); found != nil {
			hold(&one, found, lineage, roots)
		} else {
			one.Missing = true
		}
		all = append(all, one)
	}
	for _, found := range p.cache.sorted() {
		if found.retained && !found.unlabelled && !now.After(found.content.leaf.NotAfter) {
			one := plan.Consumer{ConsumerRef: found.ref}
			hold(&one, found, lineage, roots)
			if one.Leaf = leafOf(found, lineage); one.Leaf != nil {
				one.Leaf.Kept = "it was retained"
			}
			all = append(all, one)
		}
	}
	return all
}

// visible is a consumer as the cache has it: those without the operator's label aren't in it.
func (p *process) visible(ref plan.ConsumerRef) *consumer {
	if found := p.cache.consumers[ref]; found != nil && !found.unlabelled && !found.retained {
		return found
	}
	return nil
}

func hold(one *plan.Consumer, found *consumer, lineage plan.Lineage, roots pki.Bundle) {
	for _, g := range lineage.Live {
		if g.Issuer.Bundle().In(found.leaf.Bundle) {
			one.Holds = append(one.Holds, g.Number)
		}
	}
	one.Current, one.BundleSince = found.hash == roots.Hash(), found.leaf.BundleSince
}

func leafOf(found *consumer, lineage plan.Lineage) *plan.ConsumerLeaf {
	on := found.content.leaf.on(lineage)
	if on == 0 {
		return nil
	}
	return &plan.ConsumerLeaf{On: on, Ends: found.content.leaf.NotAfter, Since: found.leaf.IssuerSince}
}

// refused says why the next generation can't issue a certificate that the present one can.
func refused(c *certificate, lineage plan.Lineage) string {
	next, found := lineage.Next()
	if !found || c.invalid != "" {
		return ""
	}
	if err := next.Issuer.Allows(c.wish.Request); err != nil {
		return err.Error()
	}
	return ""
}

// bundleRefs are the bundles that are to be: one in each namespace that is selected, and one for the cluster.
func (o objects) bundleRefs() []plan.ConsumerRef {
	all := []plan.ConsumerRef{trustBundle}
	for _, name := range slices.Sorted(maps.Keys(o.spaces)) {
		if o.spaces[name].selected {
			all = append(all, mapRef(name))
		}
	}
	return all
}

// sorted consumers, so that the same choices lead to the same end.
func (o objects) sorted() []*consumer {
	return slices.SortedFunc(maps.Values(o.consumers), func(a, b *consumer) int {
		return cmp.Or(cmp.Compare(a.ref.Kind, b.ref.Kind), cmp.Compare(a.ref.Namespace, b.ref.Namespace),
			cmp.Compare(a.ref.Name, b.ref.Name))
	})
}

// trustBundle is that of the authority's signer.
var trustBundle = plan.ConsumerRef{Kind: plan.ConsumerTrustBundle, Name: "mtls-operator.io/my-ca"}

func secretRef(name string) plan.ConsumerRef {
	return plan.ConsumerRef{Kind: plan.ConsumerSecret, Namespace: namespace, Name: name}
}

func mapRef(namespace string) plan.ConsumerRef {
	return plan.ConsumerRef{Kind: plan.ConsumerConfigMap, Namespace: namespace, Name: "my-ca"}
}
