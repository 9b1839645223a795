// Package check holds the files of deploy to the libraries of the programs that read them: Helm and Kubernetes, and
// Docker Compose. It is a module of its own, so that the server's has none of their many dependencies.
package check

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chartFolder = "../helm/countersign"

// needed are the values of docs/deploy.md.
var needed = func() string {
	text, err := os.ReadFile("../../docs/deploy.md")
	m := regexp.MustCompile("(?s)```yaml\n(secret: .*?)```").FindSubmatch(text)
	if err != nil || m == nil {
		panic("docs/deploy.md has no values")
	}
	return string(m[1])
}()

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHelmFindsNothingToSay(t *testing.T) {
	for _, m := range lint.AllWithKubeVersion(chartFolder, values(t, needed), "default", nil).Messages {
		if m.Severity >= support.WarningSev {
			t.Errorf("%v", m)
		}
	}
}

// render renders the chart, and returns each object's text by kind.
func render(t *testing.T, text string) (map[string]string, error) {
	t.Helper()
	chart, err := loader.Load(chartFolder)
	if err != nil {
		t.Fatal(err)
	}
	all, err := chartutil.ToRenderValues(chart, values(t, text), chartutil.ReleaseOptions{Name: "shop", Namespace: "verify", IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return nil, err
	}
	objects := map[string]string{}
	for name, file := range files {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for _, object := range strings.Split(file, "\n---\n") {
			var head struct{ APIVersion, Kind string }
			if err := yaml.Unmarshal([]byte(object), &head); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, object)
			}
			if head.Kind != "" {
				objects[head.Kind] = object
			}
		}
	}
	return objects, nil
}

// Each object is one of Kubernetes' types, without a field that the type lacks.
func TestObjectsAreKubernetes(t *testing.T) {
	objects, err := render(t, needed)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]any{
		"ConfigMap": &corev1.ConfigMap{}, "Deployment": &appsv1.Deployment{}, "Service": &corev1.Service{}, "Ingress": &networkingv1.Ingress{},
		"PodDisruptionBudget": &policyv1.PodDisruptionBudget{}, "ServiceAccount": &corev1.ServiceAccount{}, "PodMonitor": nil,
	}
	for kind, object := range objects {
		into, known := types[kind]
		if !known {
			t.Errorf("there is no type for a %s", kind)
		} else if into != nil {
			if err := yaml.UnmarshalStrict([]byte(object), into); err != nil {
				t.Errorf("%s: %v\n%s", kind, err, object)
			}
		}
	}
	if len(objects) != len(types) {
		t.Errorf("got %d kinds, want %d", len(objects), len(types))
	}
	deployment := types["Deployment"].(*appsv1.Deployment)
	pod := deployment.Spec.Template
	for key, value := range deployment.Spec.Selector.MatchLabels {
		if pod.Labels[key] != value {
			t.Errorf("the deployment selects %s=%s, its pods have %q", key, value, pod.Labels[key])
		}
	}
	for key, value := range types["Service"].(*corev1.Service).Spec.Selector {
		if pod.Labels[key] != value {
			t.Errorf("the service selects %s=%s, the pods have %q", key, value, pod.Labels[key])
		}
	}
	container := pod.Spec.Containers[0]
	if *container.SecurityContext.ReadOnlyRootFilesystem != true || *pod.Spec.SecurityContext.RunAsNonRoot != true || container.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("got %+v", container)
	}
	if pod.Annotations["checksum/config"] == "" {
		t.Error("a changed configuration wouldn't restart the pods")
	}
}

// The program takes the configuration that the chart makes.
func TestTheConfigurationIsRight(t *testing.T) {
	objects, err := render(t, needed)
	if err != nil {
		t.Fatal(err)
	}
	var made corev1.ConfigMap
	if err := yaml.Unmarshal([]byte(objects["ConfigMap"]), &made); err != nil {
		t.Fatal(err)
	}
	run := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.Command("go", append([]string{"run", "./cmd/countersign"}, args...)...)
		cmd.Dir = filepath.Join("..", "..")
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "DATABASE_PASSWORD=secret", "TWILIO_SECRET=0123456789abcdef0123456789abcdef", "COUNTERSIGN_KEYSET="+keyset)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		text, err := cmd.Output()
		if err != nil {
			t.Fatalf("countersign %q: %v\n%s%s", args, err, text, &errs)
		}
		return string(text)
	}
	file := filepath.Join(t.TempDir(), "keyset.json")
	run("", "keyset", "create", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	keyset = string(text)
	if got := run(made.Data["countersign.yaml"], "config", "check", "-"); !strings.Contains(got, "is right") {
		t.Errorf("got %s", got)
	}
}

var keyset string

// What can't work is refused before anything is installed.
func TestWrongValuesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		strings.Replace(needed, "secret: countersign\n", "", 1):      "secret",
		"secret: countersign\nconfig: {public_sender: Shop}\n":       "config.database.url",
		needed + "replicas: 0\n":                                     "replicas",
		strings.Replace(needed, "host: verify.example.com, ", "", 1): "ingress.host",
		needed + "replica: 2\n":                                      "replica",
	} {
		if _, err := render(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error about %s", text, err, want)
		}
	}
}
