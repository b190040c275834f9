// Command calltally takes conversion files, matches every row to a phone call,
// applies duplicate and update rules to a money ledger, and sends a results
// report back.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
	_ "time/tzdata" // zones, where the system has none

	"github.com/alecthomas/kong"
)

// Exit codes that scripts rely on.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitRejected = 3 // done, but some rows were rejected
)

func main() { os.Exit(runUntilStopped(os.Stderr)) }

// runUntilStopped runs the program until it ends or is asked to stop.
func runUntilStopped(stderr io.Writer) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, stderr)
}

// usageError is the caller's or the configuration's mistake.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// globals are what every command shares.
type globals struct {
	Config string `short:"c" default:"calltally.yaml" type:"path" help:"Configuration file." placeholder:"FILE"`
	JSON   bool   `name:"json" help:"Print JSON."`
	Debug  bool   `help:"Log more."`

	ctx    context.Context
	now    func() time.Time
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	log    *slog.Logger
}

// commands is the command line.
type commands struct {
	globals
	ShowVersion versionFlag `name:"version" help:"Print the version."`

	Run         runCommand         `cmd:"" help:"Work: watch all sources, decide, reply, and run the schedule."`
	Once        onceCommand        `cmd:"" help:"Look at every source once, decide, reply, and exit: for cron."`
	Process     processCommand     `cmd:"" help:"Decide one file and print the report."`
	Calls       callsCommand       `cmd:"" help:"Import or list calls."`
	Uploads     uploadsCommand     `cmd:"" help:"List uploads; show, undo or replay one."`
	Conversions conversionsCommand `cmd:"" help:"List conversions or show one."`
	Quarantine  quarantineCommand  `cmd:"" help:"List what is held; show one, let it go on or discard it."`
	Payouts     payoutsCommand     `cmd:"" help:"Print a statement of payouts."`
	Reconcile   reconcileCommand   `cmd:"" help:"Decide again the rows that wait for their call."`
	Verify      verifyCommand      `cmd:"" help:"Prove that every conversion equals the sum of its changes."`
	Backup      backupCommand      `cmd:"" help:"Write a proven copy of the store, while others go on."`
	Restore     restoreCommand     `cmd:"" help:"Put a backup in the place of the store."`
	Audit       auditCommand       `cmd:"" help:"List what sources have put away and the store doesn't know."`
	Check       checkCommand       `cmd:"" help:"Check the configuration and try every source, store and relay."`
	Send        sendCommand        `cmd:"" help:"Hand a file in by HTTP, to a calltally elsewhere."`
	Authorize   authorizeCommand   `cmd:"" help:"Have a mailbox's owner grant the right to it."`
	Init        initCommand        `cmd:"" help:"Write a commented configuration to start from."`
	Demo        demoCommand        `cmd:"" help:"Show the whole job on this machine, with nothing installed."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// run is the program. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var cli commands
	exit := -1
	parser, err := kong.New(&cli, kong.Name("calltally"),
		kong.Description("Matches conversion files to phone calls, keeps the ledger, sends the report."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}))
	if err != nil {
		fmt.Fprintln(stderr, "calltally:", err)
		return exitFailed
	}
	bare := len(args) == 0
	if bare {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	switch {
	case bare:
		return exitUsage
	case exit >= 0: // help was asked for and printed
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "calltally: %v\nTry “calltally --help”.\n", err)
		return exitUsage
	}
	level := slog.LevelError // a command that prints what it did needs no log beside it
	switch {
	case cli.Debug:
		level = slog.LevelDebug
	case command.Command() == "run" || command.Command() == "once":
		level = slog.LevelInfo
	}
	cli.now = time.Now
	cli.ctx, cli.stdin, cli.stdout, cli.stderr = ctx, stdin, stdout, stderr
	cli.log = newLog(stderr, level)
	return exitCode(command.Run(&cli.globals), stderr)
}

func exitCode(err error, stderr io.Writer) int {
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errRejected):
		return exitRejected
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "calltally: %s\n", withoutSecrets(err.Error()))
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "calltally: stopped. What was received is safe; “calltally once” goes on where it ended.")
		return exitFailed
	}
	fmt.Fprintf(stderr, "calltally: %s\n", withoutSecrets(err.Error()))
	return exitFailed
}

var secrets = regexp.MustCompile(`(?i)(\b(?:password|token|client_secret)["']?\s*:\s*)(?:"[^"\n]*"|'[^'\n]*'|[^\s,}]+)|(://[^/\s:@"']+:)[^\s"'@]*(@)`)

// withoutSecrets takes the passwords out of what is shown of a configuration.
func withoutSecrets(text string) string { return secrets.ReplaceAllString(text, "$1$2…$3") }
