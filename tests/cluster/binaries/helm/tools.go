//go:build tools

// Package helm pins Helm's command, so that go.sum covers it.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
