package simulation_test

import (
	"maps"
	"slices"
	"time"

	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// profile is what kind of cluster is simulated.
type profile struct {
	delay    time.Duration // propagationDelay
	life     time.Duration // of a CA
	leafLife time.Duration
	apps     int           // with a certificate each
	reload   time.Duration // the longest of a program
	// adverse: events come late, passes are held up, caches are behind, processes end, and there may be two of them.
	adverse bool
	// skew is the most by which a machine's clock is wrong, ahead or behind.
	skew time.Duration
	// once: some programs read once.
	once bool
	// noTime: the validity of certificates isn't looked at, since clocks are wrong by more than that can bear.
	noTime bool
	// rash: people run over who can't follow.
	rash bool
}

func (p profile) wish() plan.AuthorityWish {
	return plan.AuthorityWish{
		Fields: pki.AuthorityFields{
			Subject: pki.Subject{CommonName: "my-ca"}, KeyType: pki.KeyECDSAP256, Duration: p.life, Generation: 1,
		},
		PropagationDelay: p.delay, Hash: "v1:first",
	}
}

// mostBehind is how old at most what a cache has is.
const mostBehind = 45 * time.Second

// sync has a process hear of what happened: of all, of nothing, or of some objects.
func (s *simulation) sync(p *process) {
	how := 0
	if s.adverse && s.now.Sub(p.synced) < mostBehind {
		how = s.of(6, "what the cache hears of")
	}
	switch how {
	case 4: // nothing
	case 5:
		s.syncSome(p)
	default:
		p.cache, p.synced = s.clone(), s.now
	}
}

// syncSome objects, and not the others: watches of different kinds, and of one kind in order.
func (s *simulation) syncSome(p *process) {
	news := s.clone()
	which := s.of(16, "watches that bring news")
	if which&1 == 0 {
		news.authority = p.cache.authority
	}
	if which&2 == 0 {
		news.generations = p.cache.generations
	}
	if which&4 == 0 {
		news.consumers = p.cache.consumers
	}
	if which&8 == 0 {
		news.certificates, news.spaces = p.cache.certificates, p.cache.spaces
	}
	p.cache = news
}

// pickProcess is the leader, or the one before that doesn't know it yet.
func (s *simulation) pickProcess() *process {
	if len(s.processes) == 1 {
		return s.processes[0]
	}
	return s.processes[s.of(len(s.processes), "process")]
}

// crashes tells whether the process ends before its next write.
func (s *simulation) crashes() bool {
	if s.crashIn > 0 {
		s.crashIn--
		return s.crashIn == 0
	}
	return s.adverse && s.of(150, "the process ends") == 149
}

// crash replaces the processes: what they remembered is lost, also what they were about to write.
func (s *simulation) crash() {
	s.note("the process ends, another one begins")
	s.late = nil
	s.processes = []*process{s.newProcess(s.anyOffset())}
	s.wakeAll()
}

// overlap has another process become the leader before this one knows.
func (s *simulation) overlap() {
	if len(s.processes) > 1 {
		s.processes = s.processes[1:]
		return
	}
	s.processes = append(s.processes, s.newProcess(s.anyOffset()))
	s.wakeAll()
}

func (s *simulation) anyOffset() time.Duration {
	if s.skew == 0 {
		return 0
	}
	return s.skew * time.Duration(s.of(5, "clock")-2) / 2
}

// anyCertificate of those there are, "" for none.
func (s *simulation) anyCertificate() string {
	names := slices.Sorted(maps.Keys(s.certificates))
	if len(names) == 0 {
		return ""
	}
	return names[s.of(len(names), "certificate")]
}

func (s *simulation) addCertificate(name string) {
	wish := plan.Wish{Request: requestOf(name), KeyType: pki.KeyECDSAP256, KeyEncoding: pki.EncodingPKCS8, Duration: s.leafLife}
	s.certificates[name] = &certificate{identity: s.create(), name: name, wish: wish}
	s.note("certificate %s is created", name)
	s.wake(key{"certificate", name})
	s.wake(authorityKey)
}

func (s *simulation) addSpace(name string) {
	s.spaces[name] = &space{identity: s.create(), name: name, selected: true}
	s.wakeAll()
}

// addPod starts a pod with the certificate, which trusts what is in the certificate's Secret, a ConfigMap or the
// ClusterTrustBundle.
func (s *simulation) addPod(certificate string, leafUse, rootsUse use, roots plan.ConsumerRef, on int) *pod {
	if roots == trustBundle && rootsUse == variable {
		rootsUse = subPath // there are no variables from ClusterTrustBundles
	}
	p := &pod{leaf: secretRef(certificate), roots: roots, leafUse: leafUse, rootsUse: rootsUse, reload: s.reload, node: s.nodes[on]}
	if !p.node.lost.IsZero() || !s.startPod(p) {
		return nil
	}
	s.note("%s starts with %s (%s) and roots of %s %s (%s) on %s", p.name,
		certificate, leafUse, roots.Kind, roots.Name, rootsUse, p.node.name)
	return p
}

// anyPod as anybody might start one.
func (s *simulation) anyPod() {
	name := s.anyCertificate()
	if name == "" {
		return
	}
	roots := []plan.ConsumerRef{secretRef(name), mapRef(namespace), trustBundle}[s.of(3, "roots")]
	s.addPod(name, s.anyUse(), s.anyUse(), roots, s.of(len(s.nodes), "node"))
}

func (s *simulation) anyUse() use {
	if !s.once {
		return reads
	}
	how := append([]use{reads, reads}, onceUses...)
	return how[s.of(len(how), "use")]
}

// anyRef of the consumers there are to be.
func (s *simulation) anyRef() plan.ConsumerRef {
	all := s.bundleRefs()
	for _, name := range slices.Sorted(maps.Keys(s.certificates)) {
		all = append(all, secretRef(name))
	}
	return all[s.of(len(all), "consumer")]
}
