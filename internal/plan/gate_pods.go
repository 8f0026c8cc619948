package plan

// withoutPods has a gate wait for all pods, as nobody can tell which can't follow. They block as one pod does: what has that
// waited for no longer, and tells of it, does so with them.
func (r *rotation) withoutPods(g *gate) {
	g.block(Blocker{Kind: "Pod", Namespace: "*", Name: "*", Message: r.PodsUnknown, Yields: true})
	g.open = len(g.blockers) == 0
	g.again = soonest(r.now, g.again, r.now.Add(r.delay(true)))
}
