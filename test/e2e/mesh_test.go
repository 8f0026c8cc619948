//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/mtls-operator/mtls-operator/api/v1alpha1"
)

const (
	peerImage = "mtls-operator/e2e-peer:dev"
	// dialEvery is how often each peer dials, one peer after the other: together they take a third of a core.
	dialEvery = 150 * time.Millisecond
	// trustName is that of the ConfigMaps with the roots.
	trustName = "trust"
	// meshLabel is on the namespaces of a mesh, with the namespace of its authority.
	meshLabel = "mesh"
)

// long is whether rotations are to take as long as they do for users.
var long = os.Getenv("E2E_LONG") != ""

// propagation is the propagationDelay of the authorities. The worker's kubelet takes up to 15 s, as it adds up to a half
// to its interval of 10 s, and a peer reads its files every second.
func propagation() time.Duration {
	if long {
		return 5 * time.Minute
	}
	return 20 * time.Second
}

// rotationLimit is the deadline for one: two delays, and those that begin anew when an operator is killed.
func rotationLimit() time.Duration { return 15*propagation() + soon }

// shortDelays installs an operator that takes the delay above, once in a run.
var shortDelays = sync.OnceValue(func() error {
	if long {
		return nil
	}
	return install(context.Background(), "testdata/operator", "mtls-operator/manager:dev")
})

// mesh is peers in namespaces of their own that dial each other all the time.
type mesh struct {
	*scene    // in which the authority is
	authority string
	spaces    []*scene
	peers     []*meshPeer
}

// meshPeer is a pod, and the Secret with its certificate, which has the same name.
type meshPeer struct {
	*scene
	name string
	// trusts is the kind of object that it has its roots from.
	trusts string
}

// trusted are the kinds of objects that roots come by.
var trusted = []string{"Secret", "ConfigMap", "ClusterTrustBundle"}

// newMesh has some peers in each of so many namespaces, with roots from each kind of object in turn.
func newMesh(s *scene, authority string, spaces, each int, trusted ...string) *mesh {
	m := &mesh{scene: s, authority: authority}
	for i := range spaces {
		space := &scene{namespace: fmt.Sprintf("%s-%d", s.namespace, i+1)}
		m.spaces = append(m.spaces, space)
		for j := range each {
			trusts := trusted[len(m.peers)%len(trusted)]
			m.peers = append(m.peers, &meshPeer{scene: space, name: fmt.Sprintf("peer-%d", j+1), trusts: trusts})
		}
	}
	return m
}

// host is the name of a peer in DNS and in its certificate.
func (p *meshPeer) host() string { return p.name + ".mesh." + p.namespace + ".svc" }

// addresses of all peers but one.
func (m *mesh) addresses(except *meshPeer) []string {
	var all []string
	for _, peer := range m.peers {
		if peer != except {
			all = append(all, peer.host()+":8443")
		}
	}
	return all
}

// start makes the namespaces, has the credentials of the peers made, and waits until every peer was let in by every
// other.
func (m *mesh) start(t *testing.T, makeCredentials func(t *testing.T)) {
	began := time.Now()
	for _, space := range m.spaces {
		createNamespace(t, space.namespace)
		deleteNamespaceAtTheEnd(t, space.namespace)
		kubectl(t, "", "label", "namespace", space.namespace, meshLabel+"="+m.namespace)
		must(t, cluster.Create(t.Context(), headless(space.namespace)))
	}
	makeCredentials(t) // before the pods: kubelet waits longer and longer for a volume that can't be mounted
	for _, peer := range m.peers {
		must(t, cluster.Create(t.Context(), peer.pod(m)))
	}
	for _, space := range m.spaces {
		space.kubectl(t, "wait", "--for=condition=Ready", "pod", "--all", "--timeout", (2 * soon).String())
	}
	m.awaitConnected(t)
	t.Logf("%d peers had connected to each other after %s", len(m.peers), elapsed(began))
}

// headless is the Service that gives the pods of a namespace names.
func headless(namespace string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "mesh"},
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app.kubernetes.io/name": "peer"},
			PublishNotReadyAddresses: true, Ports: []corev1.ServicePort{{Name: "tls", Port: 8443}},
		},
	}
}

// pod of the peer, on the node whose kubelet is as quick as the delays suppose.
func (p *meshPeer) pod(m *mesh) *corev1.Pod {
	spec := podSpec(peerImage, secretVolume(p.name))
	spec.Hostname, spec.Subdomain = p.name, "mesh"
	spec.NodeSelector = map[string]string{corev1.LabelHostname: worker()}
	if long { // whose kubelet has the default interval
		spec.NodeSelector = map[string]string{corev1.LabelHostname: controlPlane()}
		spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	}
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "roots", VolumeSource: p.roots(m)})
	container := &spec.Containers[0]
	container.Args = []string{
		"--cert-dir=/etc/mtls", "--roots=/etc/roots/ca.crt", "--interval=" + dialEvery.String(),
		"--peers=" + strings.Join(m.addresses(p), ","),
	}
	container.VolumeMounts = append(container.VolumeMounts,
		corev1.VolumeMount{Name: "roots", MountPath: "/etc/roots", ReadOnly: true})
	container.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)},
	}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.namespace, Name: p.name, Labels: map[string]string{"app.kubernetes.io/name": "peer"},
		},
		Spec: spec,
	}
}

// roots are a volume of their own, which kubelet doesn't update together with that of the certificate.
func (p *meshPeer) roots(m *mesh) corev1.VolumeSource {
	switch p.trusts {
	case "ConfigMap":
		return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: trustName},
		}}
	case "ClusterTrustBundle":
		return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{
				SignerName: new(m.signer()), LabelSelector: &metav1.LabelSelector{}, Path: "ca.crt",
			}}},
		}}
	}
	return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: p.name, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
	}}
}

// signer is the name under which the roots are published to the whole cluster.
func (m *mesh) signer() string { return v1alpha1.Prefix + m.namespace + "." + m.authority }

// newAuthority is one for the peers, whose roots are delivered in every way there is.
func (m *mesh) newAuthority(name string) *v1alpha1.MTLSAuthority {
	authority := &v1alpha1.MTLSAuthority{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: name}}
	authority.Spec = v1alpha1.MTLSAuthoritySpec{
		AllowedNamespaces: &v1alpha1.AllowedNamespaces{From: v1alpha1.FromAll},
		AllowedNames:      []string{"*.mesh.{namespace}.svc"},
		TrustBundle: &v1alpha1.TrustBundle{
			ConfigMap: &v1alpha1.TrustBundleConfigMap{
				Name:              trustName,
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{meshLabel: m.namespace}},
			},
			ClusterTrustBundle: &v1alpha1.TrustBundleObject{},
		},
	}
	if !long {
		authority.Spec.Rotation = &v1alpha1.RotationSettings{PropagationDelay: v1alpha1.Duration(propagation().String())}
	}
	return authority
}

// issueAll has the authority issue a certificate to every peer, and waits for it and for the roots.
func (m *mesh) issueAll(t *testing.T) {
	m.waitReady(t, "mca/"+m.authority)
	for _, peer := range m.peers {
		must(t, cluster.Create(t.Context(), m.newCertificate(peer.scene, peer.name)))
	}
	for _, space := range m.spaces {
		space.kubectl(t, "wait", "--for=condition=Ready", "mcert", "--all", "--timeout", soon.String())
	}
	await(t, "roots in every namespace and in the cluster", soon, func(ctx context.Context) error {
		found, err := m.published(ctx)
		if err == nil && (len(found["ConfigMap"]) != len(m.spaces) || len(found["ClusterTrustBundle"]) == 0) {
			err = errors.New("some are missing")
		}
		return err
	})
}

// newCertificate is one of the mesh's authority, for both sides, with the name that a pod has in the mesh.
func (m *mesh) newCertificate(space *scene, name string) *v1alpha1.MTLSCertificate {
	certificate := space.newCertificate(name, m.authority)
	certificate.Spec.AuthorityRef.Namespace = m.namespace
	certificate.Spec.DNSNames = []string{name + ".mesh." + space.namespace + ".svc"}
	return certificate
}

// wantNoRestart checks that no container in the mesh ended.
func (m *mesh) wantNoRestart(t *testing.T) {
	for _, space := range m.spaces {
		space.wantNoRestart(t)
	}
}
