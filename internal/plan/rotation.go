package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
)

// RotationInput is everything Rotation decides on.
type RotationInput struct {
	// Wish, or WishErr when the spec asks for something that cannot be.
	Wish    AuthorityWish
	WishErr error
	// Imported is what stands in the Secret that Wish names, if it names one.
	Imported ImportedPair
	// Parent is the authority that Wish names as the one above, nil when it names none.
	Parent  *Parent
	Lineage Lineage
	// Highest number of a generation that others than the generations themselves tell of: status, certificates. Signed is the
	// highest of those that signed.
	Highest, Signed int64
	Orders          Orders
	// Consumers, also those of the authorities below. They are looked at only while Lineage.Rotating or somebody lacks roots.
	Consumers []Consumer
	Children  []Child
	// Pods that use a consumer, nil when nobody looked: then RotationPlan.WantsPods tells whether to.
	Pods []PodView
	// PodsUnknown says why nobody can look at them, empty while one can. It blocks as a pod does that can't follow.
	PodsUnknown string
	// Held is for how long this process has seen each gate's objects as they must be, or the order to hurry, without
	// interruption and on a clock that nobody sets.
	Held map[Gate]time.Duration
}

// Parent is the authority above one that is signed by another.
type Parent struct {
	// Signer that would sign a new generation; nothing when NotReady.
	Signer pki.Issuer
	// NotReady says why it can't sign, empty when it can.
	NotReady Verdict
	// Rotating: it has a next generation that doesn't sign yet.
	Rotating bool
}

// Child is a generation of an authority below.
type Child struct {
	// Authority as namespace/name, and the Number of the generation there.
	Authority string
	Number    int64
	// On is the generation of this authority that signed it.
	On   int64
	Ends time.Time
	// Refused says why the next generation can't sign one like it, empty when it can or there is none.
	Refused string
	// Held says what the authority's own rotation waits for that doesn't go away by itself, empty for nothing.
	Held string
}

// Gate is what must hold before a generation may begin to sign, or may go.
type Gate struct {
	// Opens is StepActivate or StepRetire.
	Opens  StepKind
	Number int64
	// Hurried is not the gate itself, but that somebody ordered it to wait for nobody who can't follow.
	Hurried bool
}

// StepKind says what a step does.
type StepKind string

// Kinds of steps. Each is one write, and can be repeated when it isn't known whether it happened.
const (
	// StepMint makes the generation Number, for Cause and CauseID.
	StepMint StepKind = "Mint"
	// StepActivate allows the next generation to sign. It can't be undone, only withdrawn.
	StepActivate StepKind = "Activate"
	// StepWithdraw forbids a generation to sign, For one of the Withdrawal reasons.
	StepWithdraw StepKind = "Withdraw"
	// StepRetire records with the signer that generation Number is no more: from then on it is trusted by nobody new.
	StepRetire StepKind = "Retire"
	// StepDelete destroys the Secret of a generation that was retired.
	StepDelete StepKind = "Delete"
)

// Step is what to do next. The zero value is nothing.
type Step struct {
	Kind           StepKind
	Number         int64
	Cause, CauseID string // of StepMint
	For            string // of StepWithdraw
	// AbortedCauses are recorded with StepRetire, so that they aren't begun again.
	AbortedCauses []string
	// RotateServed is recorded with StepMint, StepActivate and, of what was aborted, StepRetire.
	RotateServed string
	// RanOver are those who couldn't follow and whom the step doesn't wait for any longer.
	RanOver []Blocker
}

// RotationPlan is how far the change from one CA to the next is, and what to do about it.
type RotationPlan struct {
	Stage v1alpha1.RotationStage
	// Cause of the rotation that is under way, and since when it is.
	Cause   string
	Started time.Time
	Step    Step
	// Done of All that the stage is about: consumers, or certificates.
	Done, All int
	// Message says what is waited for.
	Message string
	// Blockers don't go away by themselves.
	Blockers []Blocker
	// NextStepAt is the earliest time of the next step when only time is missing, else zero.
	NextStepAt time.Time
	// Deadline after which pods and objects that can't follow are waited for no longer; zero when nothing waits.
	Deadline time.Time
	// Stalled says what a person must do, empty when there is nothing.
	Stalled Verdict
	// Reissue are the consumers whose certificates are to be issued again, in this order.
	Reissue []Consumer
	// Due is when the next generation is prepared, zero when never.
	Due time.Time
	// Holding are the gates whose objects are as they must be, or that are hurried, for Held of the next input.
	Holding []Gate
	// WantsPods: nothing but pods may be in the way. Look at them and plan again.
	WantsPods bool
	// Next is when to decide again though nothing happened, zero for never.
	Next time.Time
}

// Rotating tells whether there is anything to observe beside the generations.
func (l Lineage) Rotating() bool { return len(l.Live) > 1 || len(l.Dead) > 0 || l.signer < 0 }

// rotation is one decision in the making.
type rotation struct {
	RotationInput

	now    time.Time
	signer Generation // zero when there is none
	next   Generation // zero when there is none
	plan   *RotationPlan
}

// Rotation decides on the next step from one CA generation to the next. The order of the steps matters only for speed:
// each is right whenever its own conditions hold.
func Rotation(in RotationInput, now time.Time) RotationPlan {
	r := rotation{RotationInput: in, now: now, plan: &RotationPlan{}}
	r.signer, _ = in.Lineage.Signer()
	r.next, _ = in.Lineage.Next()
	r.describe()
	for _, step := range []func() Step{r.bury, r.withdraw, r.activate, r.retire, r.mint} {
		if r.plan.Step = step(); r.plan.Step.Kind != "" {
			break
		}
	}
	r.plan.Next = soonest(now, r.plan.Next, r.plan.NextStepAt, r.plan.Due)
	if r.plan.Stalled.Reason == "" {
		r.plan.Stalled = r.unserved()
	}
	return *r.plan
}

// describe tells the stage.
func (r *rotation) describe() {
	r.plan.Reissue = reissues(r.Lineage, r.Consumers, r.now)
	retiring := r.Lineage.Retiring()
	newest := r.signer
	switch {
	case r.signer.Number == 0:
		r.plan.Stage = v1alpha1.StageLost
	case r.next.Number > 0:
		r.plan.Stage = v1alpha1.StageDistributing
	case len(r.plan.Reissue) > 0 || r.childrenBehind() > 0:
		r.plan.Stage = v1alpha1.StageReissuing
		r.plan.All = r.leaves()
		r.plan.Done = r.plan.All - len(r.plan.Reissue)
		r.plan.Message = fmt.Sprintf("certificates are issued again by generation %d", r.signer.Number)
		if len(r.plan.Reissue) == 0 {
			r.plan.Message = fmt.Sprintf("authorities below get CAs of generation %d", r.signer.Number)
		}
	case len(retiring) > 0:
		r.plan.Stage = v1alpha1.StageRetiring
	default:
		r.plan.Stage = v1alpha1.StageStable
	}
	if r.next.Number > 0 {
		newest = r.next
	}
	if r.plan.Stage != v1alpha1.StageStable {
		r.plan.Cause, r.plan.Started = newest.Cause, newest.Made
	}
	if due, applies := r.due(r.signer); applies && r.next.Number == 0 {
		r.plan.Due = due
	}
}

func (r *rotation) leaves() int {
	count := 0
	for i := range r.Consumers {
		if r.Consumers[i].Leaf != nil {
			count++
		}
	}
	return count
}

// childrenBehind are the generations of authorities below that are on another generation than the signer.
func (r *rotation) childrenBehind() int {
	count := 0
	for _, child := range r.Children {
		if child.On != r.signer.Number && child.On != r.next.Number && !r.now.After(child.Ends) {
			count++
		}
	}
	return count
}

// bury gets the dead out of the way: their numbers are recorded, then their Secrets are deleted.
func (r *rotation) bury() Step {
	for _, dead := range r.Lineage.Dead {
		recorded := r.Lineage.Retired.Has(dead.Number)
		restored := recorded && !dead.stillborn() && dead.Made.After(r.signer.RetiredAt.Add(clockSkew))
		switch {
		case r.signer.Number == 0:
			return Step{}
		case restored: // by a person: it is left alone, and told
		case recorded:
			return Step{Kind: StepDelete, Number: dead.Number}
		default:
			return r.retireStep(dead)
		}
	}
	return Step{}
}

func (r *rotation) retireStep(g Generation) Step {
	step := Step{Kind: StepRetire, Number: g.Number}
	if g.WithdrawnFor == v1alpha1.WithdrawnAborted {
		step.AbortedCauses, step.RotateServed = append(step.AbortedCauses, g.served()), g.RotateServed
	}
	if g.WithdrawnFor == v1alpha1.WithdrawnCompromised || r.Orders.Compromised.Has(g.Number) {
		step.AbortedCauses = append(step.AbortedCauses, compromisedPair(g.Issuer)) // which somebody may import
	}
	for _, cause := range g.AbortedCauses { // what it knew of others
		if strings.HasPrefix(cause, causeOf(v1alpha1.CauseCompromised, "")) && !slices.Contains(r.signer.AbortedCauses, cause) {
			step.AbortedCauses = append(step.AbortedCauses, cause)
		}
	}
	return step
}

// withdraw stops a generation that is not to sign any more, or never.
func (r *rotation) withdraw() Step {
	if r.next.Number > 0 {
		if reason := r.unwanted(r.next); reason != "" {
			return Step{Kind: StepWithdraw, Number: r.next.Number, For: reason}
		}
	}
	if r.signer.Number == 0 {
		return Step{}
	}
	switch {
	case r.Signed > r.Lineage.Signed():
		return Step{Kind: StepWithdraw, Number: r.signer.Number, For: v1alpha1.WithdrawnOutdated}
	case !r.canGoBack():
		return Step{}
	case r.Orders.Compromised.Has(r.signer.Number):
		return Step{Kind: StepWithdraw, Number: r.signer.Number, For: v1alpha1.WithdrawnCompromised}
	case r.Orders.Abort.Has(r.signer.Number):
		return Step{Kind: StepWithdraw, Number: r.signer.Number, For: v1alpha1.WithdrawnAborted}
	}
	return Step{}
}

// canGoBack tells whether there is a generation before the signer that could sign again: until it retires everybody trusts it.
func (r *rotation) canGoBack() bool {
	return slices.ContainsFunc(r.Lineage.Live[:max(r.Lineage.signer, 0)], func(g Generation) bool {
		return g.maySign() && !g.Deleting && !r.Orders.Compromised.Has(g.Number) && r.now.Before(r.deadlineOf(g))
	})
}

// activate lets the next generation sign once everybody trusts it.
func (r *rotation) activate() Step {
	if r.next.Number == 0 {
		return Step{}
	}
	gate := r.gateA(r.next)
	r.plan.All, r.plan.Done = gate.all, gate.done
	r.wait(gate)
	if !gate.open {
		return Step{}
	}
	return Step{Kind: StepActivate, Number: r.next.Number, RotateServed: r.Orders.Rotate, RanOver: gate.ranOver}
}

// retire lets a generation go that nobody needs any more.
func (r *rotation) retire() Step {
	if r.signer.Number == 0 {
		return Step{}
	}
	for _, old := range r.Lineage.Retiring() {
		gate := r.gateB(old)
		r.wait(gate)
		if gate.open {
			step := r.retireStep(old)
			step.RanOver = gate.ranOver
			return step
		}
	}
	return Step{}
}

// wait tells what a gate waits for.
func (r *rotation) wait(gate gate) {
	if gate.objects {
		r.plan.Holding = append(r.plan.Holding, gate.id)
	}
	if gate.hurried {
		r.plan.Holding = append(r.plan.Holding, gate.hurry())
	}
	r.plan.WantsPods = r.plan.WantsPods || gate.wantsPods
	r.plan.Blockers = append(r.plan.Blockers, gate.blockers...)
	if !gate.at.IsZero() && (r.plan.NextStepAt.IsZero() || gate.at.Before(r.plan.NextStepAt)) {
		r.plan.NextStepAt = gate.at
	}
	r.plan.Next = soonest(r.now, r.plan.Next, gate.again)
	if r.plan.Message == "" {
		r.plan.Message = gate.waiting
	}
	if len(gate.blockers) > 0 {
		r.plan.Message = "waits for " + blockersText(r.plan.Blockers)
	}
	if len(gate.blockers) > 0 {
		r.plan.Deadline = gate.deadline
		half := gate.since.Add(gate.deadline.Sub(gate.since) / 2)
		r.plan.Next = soonest(r.now, r.plan.Next, half, gate.deadline)
		if !r.now.Before(half) {
			r.plan.Stalled = Verdict{v1alpha1.ReasonRotationBlocked, fmt.Sprintf("%s. It is waited for until %s, and then "+
				"no longer", blockersText(gate.blockers), gate.deadline.UTC().Format(time.RFC3339))}
		}
	}
}
