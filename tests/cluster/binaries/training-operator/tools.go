//go:build tools

// Package trainingoperator pins the training operator's command, so that go.sum covers it.
package trainingoperator

import _ "github.com/kubeflow/training-operator/cmd/training-operator.v1"
