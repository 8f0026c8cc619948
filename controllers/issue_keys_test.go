package controllers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
	"github.com/mtls-operator/mtls-operator/internal/pki"
	"github.com/mtls-operator/mtls-operator/internal/plan"
)

// slowSecrets is an API server whose every answer waits for a test, or for the end of the request's context.
type slowSecrets struct {
	client.Reader
	asked   chan string            // names, as they are asked for
	answers map[string]chan answer // by name
}

// answer of slowSecrets; one without an error is the Secret as it is.
type answer struct {
	secret *corev1.Secret
	err    error
}

func (s *slowSecrets) Get(ctx context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	s.asked <- key.Name
	select {
	case answer := <-s.answers[key.Name]:
		if answer.err == nil {
			answer.secret.DeepCopyInto(object.(*corev1.Secret))
		}
		return answer.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// slowKeys are the keys of CAs a and b, which a test has answered.
type slowKeys struct {
	*caKeys
	*slowSecrets
	t           *testing.T
	secrets     map[string]*corev1.Secret
	generations map[string]plan.Generation
	calls       sync.WaitGroup
}

// withSlowKeys runs a test in a bubble, in which it can tell when everybody waits.
func withSlowKeys(t *testing.T, test func(*testing.T, *slowKeys)) {
	synctest.Test(t, func(t *testing.T) { test(t, newSlowKeys(t)) })
}

func newSlowKeys(t *testing.T) *slowKeys {
	t.Helper()
	s := &slowKeys{
		t:           t,
		slowSecrets: &slowSecrets{asked: make(chan string, 64), answers: map[string]chan answer{}},
		secrets:     map[string]*corev1.Secret{},
		generations: map[string]plan.Generation{},
	}
	s.caKeys = newCAKeys(s.slowSecrets)
	for _, name := range []string{"a", "b"} {
		secret := storedCA(t, &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: "pki", Name: name}}, start())
		secret.UID = types.UID("uid-of-" + name)
		s.secrets[name], s.generations[name] = secret, planned(secret)
		s.answers[secret.Name] = make(chan answer)
	}
	return s
}

// outcome of asking for a key.
type outcome struct {
	authority *pki.Authority
	err       error
}

// ask for the key of a CA and wait for nothing.
func (s *slowKeys) ask(ctx context.Context, name string) <-chan outcome {
	done := make(chan outcome, 1)
	s.calls.Go(func() {
		authority, err := s.authority(ctx, "pki", s.generations[name])
		done <- outcome{authority, err}
	})
	return done
}

// askMany asks for the key of a CA and, when that is being read, some more times. All wait when it returns.
func (s *slowKeys) askMany(ctx context.Context, name string) []<-chan outcome {
	s.t.Helper()
	first := s.ask(ctx, name)
	s.wantAsked(name)
	all := []<-chan outcome{first}
	for range 8 {
		all = append(all, s.ask(s.t.Context(), name))
	}
	synctest.Wait()
	return all
}

// wantAsked waits until the API server is asked for the Secret of a CA.
func (s *slowKeys) wantAsked(name string) {
	s.t.Helper()
	if asked := <-s.asked; asked != s.secrets[name].Name {
		s.t.Errorf("Secret %q is read, want that of %q", asked, name)
	}
}

// wantNoMore checks that the API server was asked for nothing else, once all calls returned.
func (s *slowKeys) wantNoMore() {
	s.t.Helper()
	s.calls.Wait()
	select {
	case asked := <-s.asked:
		s.t.Errorf("Secret %q is read once more", asked)
	default:
	}
}

func (s *slowKeys) answer(name string, err error) {
	s.answers[s.secrets[name].Name] <- answer{s.secrets[name], err}
}

func (s *slowKeys) wantKey(done <-chan outcome, name string) {
	s.t.Helper()
	got := <-done
	if got.err != nil || got.authority.Issuer().Fingerprint() != s.generations[name].Issuer.Fingerprint() {
		s.t.Errorf("CA %v, error %v; want that of %q", got.authority, got.err, name)
	}
}

func TestASlowReadOfOneKeyDoesNotHoldUpAnother(t *testing.T) {
	withSlowKeys(t, func(t *testing.T, s *slowKeys) {
		slow := s.ask(t.Context(), "a")
		s.wantAsked("a")
		quick := s.ask(t.Context(), "b")
		s.wantAsked("b")
		s.answer("b", nil)
		s.wantKey(quick, "b")
		s.wantKey(s.ask(t.Context(), "b"), "b") // and what was read is there
		s.Forget("uid-of-b")                    // which doesn't wait either
		s.answer("a", nil)
		s.wantKey(slow, "a")
		s.wantNoMore()
	})
}

func TestAKeyThatManyWaitForIsReadOnce(t *testing.T) {
	withSlowKeys(t, func(t *testing.T, s *slowKeys) {
		all := s.askMany(t.Context(), "a")
		s.answer("a", nil)
		for _, done := range all {
			s.wantKey(done, "a")
		}
		s.wantNoMore()
	})
}

func TestAReadThatFailsIsTriedAgain(t *testing.T) {
	withSlowKeys(t, func(t *testing.T, s *slowKeys) {
		down := apierrors.NewServiceUnavailable("down")
		failing := s.ask(t.Context(), "a")
		s.wantAsked("a")
		s.answer("a", down)
		if got := <-failing; !apierrors.IsServiceUnavailable(got.err) || got.authority != nil {
			t.Errorf("CA %v, error %v", got.authority, got.err)
		}
		again := s.ask(t.Context(), "a")
		s.wantAsked("a")
		s.answer("a", nil)
		s.wantKey(again, "a")
		s.wantNoMore()
	})
}

func TestWhoGivesUpTakesNobodyAlong(t *testing.T) {
	withSlowKeys(t, func(t *testing.T, s *slowKeys) {
		first, giveUp := context.WithCancel(t.Context())
		all := s.askMany(first, "a")
		giveUp()
		if got := <-all[0]; !errors.Is(got.err, context.Canceled) || got.authority != nil {
			t.Errorf("who gave up has CA %v, error %v", got.authority, got.err)
		}
		s.wantAsked("a") // by one of the others
		s.answer("a", nil)
		for _, done := range all[1:] {
			s.wantKey(done, "a")
		}
		s.wantNoMore()
	})
}

func TestWhoWaitsForAnotherMayGiveUp(t *testing.T) {
	withSlowKeys(t, func(t *testing.T, s *slowKeys) {
		reader := s.ask(t.Context(), "a")
		s.wantAsked("a")
		waits, giveUp := context.WithCancel(t.Context())
		waiter := s.ask(waits, "a")
		synctest.Wait()
		giveUp()
		got := <-waiter
		if _, later := errors.AsType[keyUnavailable](got.err); !later || !errors.Is(got.err, context.Canceled) {
			t.Errorf("who gave up has error %v", got.err)
		}
		s.answer("a", nil)
		s.wantKey(reader, "a")
		s.wantNoMore()
	})
}

func TestAKeyThatIsForgottenWhileItIsReadIsNotKept(t *testing.T) {
	for what, forget := range map[string]func(*slowKeys){
		"it alone": func(s *slowKeys) { s.Forget("uid-of-a") },
		"all":      (*slowKeys).ForgetAll,
	} {
		t.Run(what, func(t *testing.T) {
			withSlowKeys(t, func(t *testing.T, s *slowKeys) {
				early := s.ask(t.Context(), "a")
				s.wantAsked("a")
				forget(s)
				late := s.ask(t.Context(), "a") // doesn't wait for what was forgotten
				s.wantAsked("a")
				s.answer("a", nil)
				s.answer("a", nil)
				s.wantKey(early, "a")
				s.wantKey(late, "a")

				alone := s.ask(t.Context(), "b")
				s.wantAsked("b")
				s.ForgetAll()
				s.answer("b", nil)
				s.wantKey(alone, "b")
				s.wantNoMore()
				if _, kept := s.read["uid-of-b"]; kept {
					t.Error("a key that was forgotten is kept")
				}
			})
		})
	}
}

// A panic while a key is read is the end of one pass and not of all others that need the key.
func TestAPanicWhileAKeyIsReadHoldsUpNobody(t *testing.T) {
	withSlowKeys(t, func(t *testing.T, s *slowKeys) {
		s.live = panics{}
		func() {
			defer func() { _ = recover() }()
			_, _ = s.authority(t.Context(), "pki", s.generations["a"])
		}()
		s.live = s.slowSecrets
		again := s.ask(t.Context(), "a")
		s.wantAsked("a")
		s.answer("a", nil)
		s.wantKey(again, "a")
	})
}

type panics struct{ client.Reader }

func (panics) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	panic("a mistake")
}
