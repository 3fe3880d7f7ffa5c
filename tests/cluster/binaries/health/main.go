// Health says what kstatus, Flux and Argo CD say of objects, by their own libraries.
//
// It reads a question from its standard input and prints answers, both as JSON: the types below.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	appv1 "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type question struct {
	Objects   map[string]*unstructured.Unstructured       `json:"objects"`
	Manifests map[string]*unstructured.Unstructured       `json:"manifests"` // as Git has them, by the same names
	Flux      map[string]kustomize.HealthCheckExpressions `json:"flux"`
	Argo      map[string]string                           `json:"argo"`   // scripts
	Ignore    appv1.OverrideIgnoreDiff                    `json:"ignore"` // Argo CD's ignoreDifferences
}

type answer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type answers struct {
	Kstatus answer            `json:"kstatus"`
	Flux    map[string]answer `json:"flux"`
	Argo    map[string]answer `json:"argo"`
	Synced  bool              `json:"synced"` // Argo CD sees no difference between the object and its manifest
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func run() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return fmt.Errorf("the question: %w", err)
	}
	told := map[string]answers{}
	for name, object := range asked.Objects {
		one, err := all(asked, name, object)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		told[name] = one
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

func all(asked question, name string, object *unstructured.Unstructured) (answers, error) {
	computed, err := status.Compute(object)
	if err != nil {
		return answers{}, fmt.Errorf("kstatus: %w", err)
	}
	told := answers{
		Kstatus: answer{Status: computed.Status.String(), Message: computed.Message},
		Flux:    map[string]answer{},
		Argo:    map[string]answer{},
	}
	for variant, expressions := range asked.Flux {
		if told.Flux[variant], err = flux(expressions, object); err != nil {
			return answers{}, fmt.Errorf("flux %s: %w", variant, err)
		}
	}
	for variant, script := range asked.Argo {
		if told.Argo[variant], err = argo(script, object); err != nil {
			return answers{}, fmt.Errorf("argo %s: %w", variant, err)
		}
	}
	told.Synced, err = synced(asked.Ignore, asked.Manifests[name], object)
	return told, err
}

// flux evaluates as kustomize-controller does: by the expressions alone.
func flux(expressions kustomize.HealthCheckExpressions, object *unstructured.Unstructured) (answer, error) {
	evaluator, err := cel.NewStatusEvaluator(&expressions)
	if err != nil {
		return answer{}, err
	}
	result, err := evaluator.Evaluate(context.Background(), object)
	if err != nil {
		return answer{}, err
	}
	return answer{Status: result.Status.String(), Message: result.Message}, nil
}

// argo asks as the application controller does: a deletion first, then the script of argocd-cm.
func argo(script string, object *unstructured.Unstructured) (answer, error) {
	key := lua.GetConfigMapKey(object.GroupVersionKind())
	overrides := lua.ResourceHealthOverrides{key: appv1.ResourceOverride{HealthLua: script}}
	result, err := health.GetResourceHealth(object, overrides)
	if err != nil {
		return answer{}, err
	}
	if result == nil {
		return answer{}, fmt.Errorf("no answer: %s has no script", key)
	}
	return answer{Status: string(result.Status), Message: result.Message}, nil
}

// synced compares as the application controller does without server-side diff.
func synced(ignore appv1.OverrideIgnoreDiff, manifest, object *unstructured.Unstructured) (bool, error) {
	if manifest == nil {
		return false, fmt.Errorf("no manifest to compare with")
	}
	overrides := map[string]appv1.ResourceOverride{
		lua.GetConfigMapKey(object.GroupVersionKind()): {IgnoreDifferences: ignore},
	}
	normalizer, err := normalizers.NewIgnoreNormalizer(nil, overrides, normalizers.IgnoreNormalizerOpts{})
	if err != nil {
		return false, err
	}
	result, err := diff.Diff(manifest, object, diff.WithNormalizer(normalizer))
	if err != nil {
		return false, err
	}
	return !result.Modified, nil
}
