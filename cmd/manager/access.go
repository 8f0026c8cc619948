package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authentication "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorization "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// permitted lets through whom the API server permits to get the path of a request: who they are is asked with a TokenReview,
// what they may with a SubjectAccessReview. The filter of controller-runtime does the same with the API server's own library,
// which is a third of the program and of the memory it takes.
func permitted(config *rest.Config, httpClient *http.Client) (metricsserver.Filter, error) {
	tokens, err := authentication.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	access, err := authorization.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	g := gate{tokens.TokenReviews(), access.SubjectAccessReviews()}
	return func(log logr.Logger, handler http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			status, why, err := g.check(request)
			if err != nil {
				log.Error(err, why)
			}
			if status != http.StatusOK {
				http.Error(w, why, status)
				return
			}
			handler.ServeHTTP(w, request)
		}), nil
	}, nil
}

// askTimeout bounds the two questions: an API server that doesn't answer holds up nobody for ever.
const askTimeout = 10 * time.Second

type gate struct {
	tokens authentication.TokenReviewInterface
	access authorization.SubjectAccessReviewInterface
}

// check returns the status for a request, and why it isn't 200 in words; the error is for the log.
func (g gate) check(request *http.Request) (status int, why string, err error) {
	const nobody, unknown = "Unauthorized: send the token of a ServiceAccount in the header Authorization: Bearer",
		"Cannot ask the API server who may read this"
	token, isBearer := bearerToken(request.Header.Get("Authorization"))
	if !isBearer {
		return http.StatusUnauthorized, nobody, nil
	}
	ctx, cancel := context.WithTimeout(request.Context(), askTimeout)
	defer cancel()
	who, err := g.tokens.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		return http.StatusInternalServerError, unknown, err
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, nobody, nil
	}
	user := who.Status.User
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for name, values := range user.Extra {
		extra[name] = authorizationv1.ExtraValue(values)
	}
	path, verb := request.URL.Path, strings.ToLower(request.Method)
	may, err := g.access.Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: verb},
		},
	}, metav1.CreateOptions{})
	switch {
	case err != nil:
		return http.StatusInternalServerError, unknown, err
	case !may.Status.Allowed:
		return http.StatusForbidden, fmt.Sprintf("Forbidden: %q may not %s %s: bind it to ClusterRole mtls-operator-metrics-reader",
			user.Username, verb, path), nil
	}
	return http.StatusOK, "", nil
}

// bearerToken of a header (RFC 6750, section 2.1). One with white space in it is none: the API server would read it as none,
// and say that nobody in particular asks.
func bearerToken(header string) (token string, ok bool) {
	scheme, token, _ := strings.Cut(header, " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != "" && !strings.ContainsFunc(token, unicode.IsSpace)
}
