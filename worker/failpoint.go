package worker

import (
	"os"
	"slices"
	"strings"
	"syscall"
)

// killAt names the step at which the process ends at once, as if the power were
// cut: tests set it to prove that a restart picks up where the walk stood. With panic: before
// it, the step panics instead; with @NAME behind it, only for an upload of that name. It
// is read once, from CALLTALLY_FAILPOINT.
var killAt, panics = strings.CutPrefix(os.Getenv("CALLTALLY_FAILPOINT"), "panic:")

func failpoint(step string, uploads ...string) {
	if killAt == "" || killAt != step && !slices.ContainsFunc(uploads, func(name string) bool { return killAt == step+"@"+name }) {
		return
	}
	if panics {
		panic("failpoint " + killAt)
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}
