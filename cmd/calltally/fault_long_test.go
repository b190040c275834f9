//go:build linux && !race

package main

import "testing"

// These faults start some two hundred processes, each of which takes seconds under the race
// detector. They are tried without it only.

func TestFaultWalk(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some eighty processes")
	}
	injectAll(t, walkFaults())
}

func TestFaultDisk(t *testing.T) { injectAll(t, diskFaults()) }
