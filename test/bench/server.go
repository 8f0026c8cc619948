package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/mtls-operator/mtls-operator/controllers"
)

const (
	operatorNamespace = "mtls-system"
	operatorAccount   = "mtls-operator"
	// scraper may read the operator's metrics.
	scraper = "scraper"
)

// server is an etcd and an API server with what `kubectl apply -k config/default` installs.
type server struct {
	environment *envtest.Environment
	folder      string
	admin       client.Client
	typed       *kubernetes.Clientset
	etcd, api   *process
}

// newServer starts one. Root is the folder of the repository.
func newServer(ctx context.Context, root string) (_ *server, err error) {
	s := &server{environment: &envtest.Environment{
		ControlPlaneStartTimeout: 2 * time.Minute, ControlPlaneStopTimeout: time.Minute,
	}}
	s.environment.ControlPlane.Etcd = &envtest.Etcd{}
	s.environment.ControlPlane.Etcd.Configure().Set("quota-backend-bytes", strconv.Itoa(8<<30)) // the default is 2 GiB
	if s.folder, err = os.MkdirTemp("", "mtls-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	config, err := s.environment.Start()
	if err != nil {
		return nil, fmt.Errorf("start etcd and the API server: %w", err)
	}
	config.QPS = -1
	if s.admin, err = client.New(config, client.Options{Scheme: controllers.Scheme()}); err != nil {
		return nil, err
	}
	if s.typed, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if s.etcd, err = child("etcd"); err != nil {
		return nil, err
	}
	if s.api, err = child("kube-apiserver"); err != nil {
		return nil, err
	}
	err = s.install(ctx, root)
	return s, err
}

// install does what the README tells users to.
func (s *server) install(ctx context.Context, root string) error {
	kubeconfig := filepath.Join(s.folder, "admin")
	if err := os.WriteFile(kubeconfig, s.environment.KubeConfig, 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"apply", "-k", filepath.Join(root, "config", "default")},
		{"wait", "--for=condition=Established", "crd", "--all", "--timeout=120s"},
	} {
		kubectl := exec.CommandContext(ctx, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), args...)
		kubectl.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
		if text, err := kubectl.CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, text)
		}
	}
	_, err := s.typed.CoreV1().ServiceAccounts(operatorNamespace).
		Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: scraper}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = s.typed.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: scraper},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "mtls-operator-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operatorNamespace, Name: scraper}},
	}, metav1.CreateOptions{})
	return err
}

// kubeconfig writes one of the operator's ServiceAccount, and returns its path.
func (s *server) kubeconfig(ctx context.Context) (string, error) {
	token, err := s.token(ctx, operatorAccount)
	if err != nil {
		return "", err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["bench"] = &clientcmdapi.Cluster{
		Server: s.environment.Config.Host, CertificateAuthorityData: s.environment.Config.CAData,
	}
	config.AuthInfos["operator"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["bench"] = &clientcmdapi.Context{Cluster: "bench", AuthInfo: "operator"}
	config.CurrentContext = "bench"
	path := filepath.Join(s.folder, "operator")
	return path, clientcmd.WriteToFile(*config, path)
}

// token of a ServiceAccount of the operator's namespace.
func (s *server) token(ctx context.Context, account string) (string, error) {
	day := int64(24 * time.Hour / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}
	token, err := s.typed.CoreV1().ServiceAccounts(operatorNamespace).
		CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return token.Status.Token, nil
}

// rest is a client for requests by path.
func (s *server) rest() rest.Interface { return s.typed.RESTClient() }

// stop ends both and removes what they kept.
func (s *server) stop() {
	_ = s.environment.Stop()
	_ = os.RemoveAll(s.folder)
}
