package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"calltally/store"
	"calltally/worker"
)

// app is the program put together.
type app struct {
	config *config
	store  *store.Store // nil: it isn't open
	worker *worker.Worker
	door   *door // nil: no requests are taken
	// notTaken is why a configuration was not taken that was to take this one's place.
	notTaken atomic.Pointer[string]
}

// alarms are sentences on what needs a hand soon.
func (a *app) alarms() []string {
	all := a.config.alarms()
	if why := a.notTaken.Load(); why != nil {
		first, _, _ := strings.Cut(*why, "\n")
		all = append(all, "The configuration has changed and could not be taken; the one before is in force. "+first)
	}
	return all
}

// open puts the program together from its configuration.
func (g *globals) open(ctx context.Context) (*app, error) {
	c, err := loadConfig(g.Config)
	if err != nil {
		return nil, err
	}
	return assemble(ctx, c, g.log)
}

func assemble(ctx context.Context, c *config, log *slog.Logger) (*app, error) {
	a, err := assembleShut(c, log)
	if err == nil {
		err = a.openStore(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// assembleShut puts all together but the store.
func assembleShut(c *config, log *slog.Logger) (*app, error) {
	accounts, err := c.accounts()
	if err != nil {
		return nil, usageError{err}
	}
	plans, err := c.plans(log)
	if err != nil {
		return nil, usageError{err}
	}
	sender, err := c.sender()
	if err != nil {
		return nil, usageError{c.at(err)}
	}
	w := &worker.Worker{Accounts: accounts, Plans: plans, Limits: c.limits(), Attempts: c.Attempts, Now: time.Now, Log: log}
	if w.Retention, err = c.Retain.retention(); err != nil {
		return nil, usageError{c.at(err)}
	}
	if sender != nil {
		w.Replier, w.ResultsFolder, w.LettersAnHour = sender, c.resultsFolder(), c.Replies.lettersAnHour()
		_, w.MailDomain, _ = strings.Cut(sender.From.Address, "@")
	}
	schedule, err := c.schedule()
	if err != nil {
		return nil, usageError{err}
	}
	if schedule != nil {
		w.Jobs = append(w.Jobs, worker.Job{Name: "reconcile", Schedule: *schedule, Run: w.Nightly})
		w.DigestTo, w.Zone = c.Reconcile.DigestTo, schedule.Zone()
	}
	a := &app{config: c, worker: w}
	w.Alarms = a.alarms
	return a, nil
}

// openStore opens the store.
func (a *app) openStore(ctx context.Context) (err error) {
	if a.store, err = store.Open(ctx, a.config.storeSetting()); err != nil {
		return err
	}
	a.worker.Store, a.worker.Together = a.store, worker.TogetherIn(a.store)
	return a.worker.Prepare(ctx)
}

// storeSetting is the store with a file's path resolved.
func (c *config) storeSetting() string {
	if strings.Contains(c.Store, "://") {
		return c.Store
	}
	return c.relative(c.Store)
}

// resultsFolder is where results files are left that are too large to mail: by default a
// folder beside the store.
func (c *config) resultsFolder() string {
	switch {
	case c.Replies.Results != "":
		return c.relative(c.Replies.Results)
	case strings.Contains(c.Store, "://"):
		return c.relative("calltally.results")
	}
	store := c.storeSetting()
	return strings.TrimSuffix(store, filepath.Ext(store)) + ".results"
}

func (a *app) close() error {
	if a == nil {
		return nil
	}
	for _, plan := range a.worker.Plans {
		if closer, ok := plan.Source.(interface{ Close() }); ok {
			closer.Close()
		}
	}
	var failure error
	if a.door != nil {
		if failure = a.door.listener.Close(); errors.Is(failure, net.ErrClosed) {
			failure = nil
		}
	}
	if a.store != nil {
		failure = errors.Join(failure, a.store.Close())
	}
	return failure
}
