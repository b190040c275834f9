package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"calltally/conversion"
	"calltally/ingest/desk"
	"calltally/report"
	"calltally/store"
)

type checkCommand struct{}

// checked is one thing that was tried.
type checked struct {
	Name   string `json:"name"`
	Where  string `json:"where"`
	OK     bool   `json:"ok"`
	Answer string `json:"answer"`
	Cure   string `json:"cure"`
}

func (c *checkCommand) Run(g *globals) error {
	config, err := loadConfig(g.Config)
	if err != nil {
		return err
	}
	app, err := assembleShut(config, g.log)
	if err != nil {
		return err
	}
	defer app.close()
	all := app.checkAll(g.ctx)
	failed := 0
	for _, one := range all {
		if !one.OK {
			failed++
		}
	}
	if g.JSON {
		if err := printJSON(g.stdout, all); err != nil {
			return err
		}
	} else {
		printChecked(g, all)
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(all))
	}
	return nil
}

func printChecked(g *globals, all []checked) {
	for _, one := range all {
		mark := "ok  "
		if !one.OK {
			mark = "FAIL"
		}
		line := fmt.Sprintf("%s  %-18s %s", mark, conversion.Clip(one.Name, 18), conversion.Clip(one.Where, 54))
		if whole := line + ": " + one.Answer; len([]rune(whole)) <= 80 {
			line = whole
		} else {
			line += "\n      " + report.Wrap(78, 6, one.Answer)
		}
		fmt.Fprintln(g.stdout, line)
		if one.Cure != "" {
			fmt.Fprintf(g.stdout, "      → %s\n", report.Wrap(78, 8, one.Cure))
		}
	}
}

// checkAll tries the store, every source and the relay, and shows when the
// schedule comes due.
func (a *app) checkAll(ctx context.Context) []checked {
	all := []checked{
		{Name: "config", Where: a.config.file, OK: true, Answer: conversion.Count(len(a.worker.Accounts), "account") + ", " + conversion.Count(len(a.worker.Plans), "source")},
		try("store", a.config.storeSetting(), func() (string, error) { return a.checkStore(ctx) }),
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute) // to look through a large store takes its time
	defer cancel()
	for i := range a.config.Grants {
		g := a.config.granted[a.config.Grants[i].Name]
		all = append(all, try("grant "+g.name, g.client.Endpoint.TokenURL, func() (string, error) { return g.probe(ctx) }))
	}
	for i, plan := range a.worker.Plans {
		settings := a.config.Sources[i]
		switch source := plan.Source.(type) {
		case *desk.Desk:
			all = append(all, try("source "+settings.Name, a.config.Web.Listen, func() (string, error) { return a.config.probeDesk(ctx, i) }))
		case interface {
			Probe(context.Context) (string, error)
		}:
			all = append(all, try("source "+settings.Name, cmp.Or(settings.URL, settings.Path), func() (string, error) { return source.Probe(ctx) }))
		}
		if settings.AuthservID != "" {
			all = append(all, try("senders of "+settings.Name, settings.AuthservID, func() (string, error) { return a.forge(ctx, i) }))
		}
	}
	if prober, ok := a.worker.Replier.(interface {
		Probe(context.Context) (string, error)
	}); ok {
		all = append(all, try("replies", a.config.Replies.SMTP, func() (string, error) { return prober.Probe(ctx) }))
	}
	for _, job := range a.worker.Jobs {
		next, times := a.worker.Now(), []string{}
		for range 3 {
			next = job.Schedule.Next(next)
			times = append(times, next.In(job.Schedule.Zone()).Format("Mon 2 Jan 15:04 MST"))
		}
		all = append(all, checked{Name: job.Name, Where: job.Schedule.String(), OK: true, Answer: "next: " + strings.Join(times, ", ")})
	}
	return all
}

// checkStore opens the store and has all of it be looked through.
func (a *app) checkStore(ctx context.Context) (string, error) {
	if err := a.openStore(ctx); err != nil {
		return "", err
	}
	if err := a.store.Sound(ctx); err != nil {
		return "", err
	}
	return a.store.Check(ctx)
}

func try(name, where string, probe func() (string, error)) checked {
	answer, err := probe()
	if err == nil {
		return checked{Name: name, Where: where, OK: true, Answer: answer}
	}
	if trouble := (*store.Trouble)(nil); errors.As(err, &trouble) {
		return checked{Name: name, Where: where, Answer: fmt.Sprintf("%s (%v)", trouble.What, trouble.Said), Cure: strings.ToUpper(trouble.Cure[:1]) + trouble.Cure[1:] + "."}
	}
	return checked{Name: name, Where: where, Answer: err.Error(), Cure: cureFor(err)}
}

// cureFor says what usually helps against an error.
func cureFor(err error) string {
	text := strings.ToLower(err.Error())
	if strings.Contains(text, "“calltally ") { // it says so itself
		return ""
	}
	for _, known := range []struct{ sign, cure string }{
		{"connection refused", "Nothing listens there: check host and port, and that the server runs."},
		{"no such host", "The host name is not known: check its spelling and the DNS."},
		{"certificate has expired", "The certificate has expired, or is not valid yet: whoever runs the server renews it; or correct this machine's clock."},
		{"certificate", "The server's certificate is not trusted: check the host name, or name its CA with ca_file."},
		{"access token was refused", "The mailbox doesn't take the grant: check that its owner gave it, and that the mailbox lets programs in (IMAP, authenticated SMTP)."},
		{"authenticat", "The login was refused: check user and password; many providers want an app password."},
		{"log in", "The login was refused: check user and password; many providers want an app password."},
		{"no such file", "The folder is not there: make it, or correct the path."},
		{"permission denied", "This user may not write there: give it the right to."},
	} {
		if strings.Contains(text, known.sign) {
			return known.cure
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "The server did not answer in time: check host, port and firewall."
	}
	return ""
}
