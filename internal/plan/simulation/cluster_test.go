package simulation_test

import (
	"crypto"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// noon is when every simulation begins.
var noon = time.Date(2026, time.November, 24, 12, 0, 0, 0, time.UTC)

const (
	day           = 24 * time.Hour
	year          = 365 * day
	authorityName = "shop/my-ca"
	namespace     = "shop"
)

// Errors of the API server. The operator comes back after each.
var (
	errConflict = errors.New("conflict: the object was written since it was read")
	errExists   = errors.New("the object exists")
	errGone     = errors.New("the object doesn't exist")
	errStale    = errors.New("the cache is behind")
)

// identity is what the API server adds to every object. Objects are snapshots: a write makes another one, so that caches,
// backups and passes that were held up keep what they saw.
type identity struct {
	uid     types.UID
	version int
	made    time.Time // whole seconds, on the API server's clock, which is the true one
	written time.Time
}

// authority is the MTLSAuthority.
type authority struct {
	identity
	wish     plan.AuthorityWish
	imported plan.ImportedPair
	pair     *pki.Authority // that is to be imported
	orders   plan.Orders
	// known, numbers and roots are its status.
	known   map[int64]string
	numbers []int64
	roots   string
	trusted bool
}

// generation is the Secret of a CA generation.
type generation struct {
	identity
	facts plan.Generation
	ca    *pki.Authority
	// unlabelled Secrets aren't in the caches.
	unlabelled bool
}

// certificate is an MTLSCertificate.
type certificate struct {
	identity
	name string
	wish plan.Wish
	once bool // spec.reload: Restart
	// invalid: the spec can't be read any more.
	invalid string
	// issued and number are its status: it had a certificate, of this generation.
	issued bool
	number int64
	// renewBefore the end, as status tells of it.
	renewBefore time.Duration
}

// consumer is the Secret of a certificate, a ConfigMap or ClusterTrustBundle.
type consumer struct {
	identity
	ref plan.ConsumerRef
	// leaf is for Secrets, with the roots in leaf.Bundle for all.
	leaf plan.LeafSecret
	// known is the certificate in it, parsed, with the roots.
	content
	retained, unlabelled bool
}

// content is what programs read: a certificate, which may be none, and roots.
type content struct {
	leaf  *leafCertificate
	roots pki.Bundle
	hash  string // of the roots
}

// deliver roots, which change at a time.
func (c *consumer) deliver(roots pki.Bundle, at time.Time) {
	c.roots, c.hash, c.leaf.Bundle, c.leaf.BundleSince = roots, roots.Hash(), roots.PEM(), at
}

// version is what was in a consumer from a time on.
type version struct {
	from time.Time
	content
}

// space is a Namespace.
type space struct {
	identity
	name     string
	selected bool
}

// objects are all that the API server has, or a cache.
type objects struct {
	authority    *authority
	generations  map[int64]*generation
	certificates map[string]*certificate
	consumers    map[plan.ConsumerRef]*consumer
	spaces       map[string]*space
	// lineages that were worked out: endorsements are verified, which takes its time.
	lineages map[string]plan.Lineage
}

func newObjects() objects {
	return objects{
		nil,
		map[int64]*generation{},
		map[string]*certificate{},
		map[plan.ConsumerRef]*consumer{},
		map[string]*space{},
		map[string]plan.Lineage{},
	}
}

func (o objects) clone() objects {
	return objects{
		o.authority, maps.Clone(o.generations), maps.Clone(o.certificates), maps.Clone(o.consumers), maps.Clone(o.spaces), o.lineages,
	}
}

// cluster is the API server with the true time, and what happened so far.
type cluster struct {
	objects

	now     time.Time
	last    int // resource version, and number of the last UID
	writes  int
	history map[plan.ConsumerRef][]version
	// mints are the causes of the generations that were made.
	mints []string
	// log tells what happened, for whoever looks into a failure.
	log []string
}

func newCluster() *cluster {
	return &cluster{objects: newObjects(), now: noon, history: map[plan.ConsumerRef][]version{}}
}

func (c *cluster) note(format string, args ...any) {
	c.log = append(c.log, fmt.Sprintf("%s "+format, append([]any{c.now.Format("01-02 15:04:05")}, args...)...))
}

// create gives an object its identity.
func (c *cluster) create() identity {
	c.last++
	c.writes++
	return identity{types.UID(fmt.Sprint("uid-", c.last)), c.last, c.now.Truncate(time.Second), c.now}
}

// update checks that nobody wrote an object since it was seen, and returns its next identity.
func (c *cluster) update(seen, live identity) (identity, error) {
	if seen.uid != live.uid || seen.version != live.version {
		return identity{}, errConflict
	}
	return c.touch(live), nil
}

func (c *cluster) touch(live identity) identity {
	c.last++
	c.writes++
	live.version, live.written = c.last, c.now
	return live
}

// putConsumer stores a consumer and remembers what programs can read from now on.
func (c *cluster) putConsumer(next *consumer) {
	c.consumers[next.ref] = next
	c.history[next.ref] = append(c.history[next.ref], version{c.now, next.content})
}

// lineage of what a cache sees: only what has the labels.
func (o objects) lineage() plan.Lineage {
	return o.lineageOf(func(g *generation) bool { return !g.unlabelled })
}

// everyGeneration that there is in truth.
func (o objects) everyGeneration() plan.Lineage {
	return o.lineageOf(func(*generation) bool { return true })
}

func (o objects) lineageOf(seen func(*generation) bool) plan.Lineage {
	id := fmt.Sprint(o.authority.known)
	var all []plan.Generation
	for _, number := range slices.Sorted(maps.Keys(o.generations)) {
		if g := o.generations[number]; seen(g) {
			facts := g.facts
			facts.Made, facts.SecretUID = g.made, g.uid
			all = append(all, facts)
			id += fmt.Sprint(" ", g.version)
		}
	}
	lineage, known := o.lineages[id]
	if !known {
		lineage = plan.NewLineage(plan.Accept(authorityName, all, o.authority.known))
		o.lineages[id] = lineage
	}
	return lineage
}

// facts are recorded with whole seconds.
func fact(wall time.Time) time.Time { return wall.UTC().Truncate(time.Second) }

// leafKey is the one key of all leaves: what a key is doesn't matter to a rotation.
var leafKey = sync.OnceValue(func() crypto.Signer {
	key, err := pki.GenerateKey(pki.KeyECDSAP256)
	if err != nil {
		panic(err)
	}
	return key
})

// requestOf a certificate, made once per name: names are parsed with care, which takes its time.
var requests sync.Map

func requestOf(name string) pki.Request {
	if found, ok := requests.Load(name); ok {
		return found.(pki.Request)
	}
	names := pki.Names{DNSNames: []string{name + ".example.com"}}
	request, err := pki.NewRequest(names, []pki.Usage{pki.UsageServer, pki.UsageClient})
	if err != nil {
		panic(err)
	}
	requests.Store(name, request)
	return request
}
