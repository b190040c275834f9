package worker

import (
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// failAt names the step at which the process ends at once, as if the power were
// cut: tests set it to prove that a restart picks up where the walk stood. With panic: before
// it, the step panics instead, and with stop:, the process stands still, once, until it is
// told to go on; with @NAME behind it, only for an upload of that name. It is read once, from
// CALLTALLY_FAILPOINT.
var failAt, failHow = func() (step, how string) {
	set := os.Getenv("CALLTALLY_FAILPOINT")
	if how, step, said := strings.Cut(set, ":"); said {
		return step, how
	}
	return set, "kill"
}()

var standStill = sync.OnceFunc(func() {
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-goOn // the signal to stop is on its way
})

func failpoint(step string, uploads ...string) {
	if failAt == "" || failAt != step && !slices.ContainsFunc(uploads, func(name string) bool { return failAt == step+"@"+name }) {
		return
	}
	switch failHow {
	case "panic":
		panic("failpoint " + failAt)
	case "stop":
		standStill()
	default:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}
