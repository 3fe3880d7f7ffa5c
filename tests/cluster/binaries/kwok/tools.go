//go:build tools

// Package kwok pins kwok's command, so that go.sum covers it.
package kwok

import _ "sigs.k8s.io/kwok/cmd/kwok"
