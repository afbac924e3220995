//go:build integration

package integration

import (
	"testing"
	"time"
)

// TestHostile: each attack alone keeps a node within its documented memory, and a bystander notices nothing.
func TestHostile(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) { attacked(t, 4*time.Second, a) })
	}
}

// TestHostileTogether: and so do all of them at once.
func TestHostileTogether(t *testing.T) { attacked(t, 20*time.Second, attacks...) }
