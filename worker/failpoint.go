package worker

import (
	"os"
	"syscall"
)

// killAt names the step at which the process ends at once, as if the power were
// cut: tests set it to prove that a restart picks up where the walk stood. It
// is read once, from CALLTALLY_FAILPOINT.
var killAt = os.Getenv("CALLTALLY_FAILPOINT")

func failpoint(step string) {
	if killAt == step {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}
