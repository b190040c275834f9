package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"calltally/conversion"
)

type runCommand struct{}

// Run works until it is asked to stop (SIGTERM). SIGHUP has it go on by the configuration as it
// is then; one that can't be taken leaves everything as it was.
func (c *runCommand) Run(g *globals) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP) // also while a large store is looked through
	defer signal.Stop(reload)
	app, err := g.openToRun(g.ctx, nil)
	if err != nil {
		return err
	}
	for app != nil {
		next, err := g.workUntilReload(app, reload)
		if err != nil {
			return err
		}
		app = next
	}
	g.log.Info("stopped")
	return nil
}

// openToRun opens the program for watching sources and taking requests, with a store that is
// sound. It is to take the place of another, if there is one before it.
func (g *globals) openToRun(ctx context.Context, before *app) (*app, error) {
	app, err := g.open(ctx)
	if err != nil {
		return nil, err
	}
	if len(app.worker.Plans) == 0 {
		err = usageError{fmt.Errorf("%s: there is nothing to watch: add sources, or use “calltally process FILE”", g.Config)}
	}
	if err == nil {
		err = app.store.Sound(ctx)
	}
	if err == nil {
		err = app.openDoor(before, g.log)
	}
	if err != nil {
		return nil, errors.Join(err, app.close())
	}
	return app, nil
}

// workUntilReload works until it is asked to stop, or another configuration was taken: by that
// the program it returns goes on.
func (g *globals) workUntilReload(app *app, reload <-chan os.Signal) (next *app, err error) {
	ctx, stop := context.WithCancel(g.ctx)
	defer stop()
	stopServing := app.serve(ctx, g.log)
	g.log.Info("working", "sources", len(app.worker.Plans), "accounts", len(app.worker.Accounts), "store", app.store.String())
	ended := make(chan error, 1)
	go func() { ended <- app.worker.Run(ctx) }()
	for next == nil {
		select {
		case err = <-ended:
			return nil, errors.Join(err, stopServing(), app.close())
		case <-reload:
			next = g.reload(ctx, app)
		}
	}
	stop()
	return next, errors.Join(<-ended, stopServing(), app.close())
}

// reload opens the program by the configuration as it is now; nil if that can't be taken.
func (g *globals) reload(ctx context.Context, app *app) *app {
	next, err := g.openToRun(ctx, app)
	if err != nil {
		why := withoutSecrets(err.Error())
		g.log.Error("the configuration was not taken; the one before stays", "error", why)
		app.notTaken.Store(&why)
		return nil
	}
	g.log.Info("the configuration was taken anew")
	return next
}

type onceCommand struct{}

func (c *onceCommand) Run(g *globals) error {
	app, err := g.open(g.ctx)
	if err != nil {
		return err
	}
	defer app.close()
	return app.worker.RunOnce(g.ctx)
}

type reconcileCommand struct {
	Account string `help:"Only this account's rows." placeholder:"ID"`
}

func (c *reconcileCommand) Run(g *globals) error {
	app, err := g.openAbout(c.Account)
	if err != nil {
		return err
	}
	defer app.close()
	if err := app.store.Sound(g.ctx); err != nil {
		return err
	}
	before, err := app.waiting(g, c.Account)
	if err != nil {
		return err
	}
	failure := errors.Join(app.worker.Reconcile(g.ctx, c.Account), app.worker.ReplyAll(g.ctx))
	if c.Account == "" { // the whole nightly run
		failure = errors.Join(failure, app.worker.SendDigest(g.ctx), app.worker.Retain(g.ctx))
	}
	after, err := app.waiting(g, c.Account)
	if err != nil {
		return errors.Join(failure, err)
	}
	if g.JSON {
		return errors.Join(failure, printJSON(g.stdout, map[string]int{"waited": before, "settled": before - after, "waiting": after}))
	}
	_, err = fmt.Fprintf(g.stdout, "%s waited for their call; %d were settled, %d still wait.\n", conversion.Count(before, "row"), before-after, after)
	return errors.Join(failure, err)
}

// waiting counts an account's rows that wait for their call ("" = all).
func (a *app) waiting(g *globals, account string) (rows int, err error) {
	err = a.store.UploadsWaiting(g.ctx, account, func(u *conversion.Upload) error {
		rows += u.Tally.Of(conversion.Waiting)
		return nil
	})
	return rows, err
}

type verifyCommand struct{}

func (c *verifyCommand) Run(g *globals) error {
	app, err := g.open(g.ctx)
	if err != nil {
		return err
	}
	defer app.close()
	if err := app.store.Sound(g.ctx); err != nil {
		return err
	}
	verified, err := app.store.Verify(g.ctx)
	if err != nil {
		return err
	}
	if g.JSON {
		err = printJSON(g.stdout, verified)
	} else {
		_, err = fmt.Fprintf(g.stdout, "%s, %s, %d that don't agree\n", conversion.Count(verified.Conversions, "conversion"), conversion.Count(verified.Changes, "change"), verified.Mismatches)
		for _, sentence := range verified.Sentences {
			fmt.Fprintln(g.stdout, " ", sentence)
		}
	}
	if err == nil && verified.Mismatches > 0 {
		err = fmt.Errorf("the ledger doesn't add up in %s; restore a backup and tell us", conversion.Count(verified.Mismatches, "place"))
	}
	return err
}

type versionCommand struct{}

// version is set by the release build.
var version = "development"

func (c *versionCommand) Run(g *globals) error {
	if g.JSON {
		return printJSON(g.stdout, map[string]string{"version": version, "revision": revision()})
	}
	return printVersion(g.stdout)
}

// versionFlag is --version, which needs no command.
type versionFlag bool

func (versionFlag) BeforeReset(parser *kong.Kong) error {
	err := printVersion(parser.Stdout)
	parser.Exit(exitDone)
	return err
}

func printVersion(out io.Writer) error {
	_, err := fmt.Fprintln(out, "calltally", version, revision())
	return err
}

// revision is the state of the sources that the program was built from; "" if it isn't known.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}
