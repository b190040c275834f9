//go:build linux && !race

package main

import "testing"

// These faults start many processes, which are slow under the race detector. They are tried
// without it only.

func TestFaultWalk(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	injectAll(t, walkFaults())
}

func TestFaultDisk(t *testing.T) { injectAll(t, diskFaults()) }
