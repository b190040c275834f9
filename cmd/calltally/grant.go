package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"calltally/ingest"
)

// grant is the right to a mailbox that its owner, or their organisation, has granted the
// program. It turns it into access tokens, each good for about an hour.
type grant struct {
	client oauth2.Config
	name   string
	// app says that an administrator has granted it to the program itself, which then needs
	// no refresh token.
	app bool
	// file holds the tokens; "" where nothing needs to be kept.
	file string
	// expires is when the client's secret expires, if somebody noted it.
	expires time.Time
	now     func() time.Time

	mu      sync.Mutex
	held    kept
	unsaved bool      // what is held could not be written
	refused string    // the access token that a server has refused last
	fetched time.Time // when the access token was; zero if it was read
}

// kept are the tokens as they are kept in a file.
type kept struct {
	oauth2.Token
	// Lapses is when the refresh token lapses, where its issuer has said so.
	Lapses time.Time `json:"lapses,omitzero"`
}

const (
	tokenMargin  = 2 * time.Minute // how long an access token must still be good for
	freshToken   = time.Minute     // how long an access token is not fetched again, whoever refuses it
	tokenTimeout = 30 * time.Second
)

// Token returns an access token. A refresh token that its issuer has replaced is on the
// disk before the new access token is used.
func (g *grant) Token(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.good() && !g.unsaved {
		return g.held.AccessToken, nil
	}
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	if g.file == "" {
		return g.renew(ctx)
	}
	// Of several processes one renews; a refresh token may be good for one time only.
	lock := flock.New(g.file + ".lock")
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	defer lock.Unlock() //nolint:errcheck // it ends with the process
	keepOrRead := g.read
	if g.unsaved {
		keepOrRead = g.write
	}
	if err := keepOrRead(); err != nil {
		return "", err
	}
	if g.good() {
		return g.held.AccessToken, nil
	}
	return g.renew(ctx)
}

// good reports whether the access token is still good for a while.
func (g *grant) good() bool {
	return g.held.AccessToken != "" && g.held.AccessToken != g.refused && g.held.Expiry.After(g.now().Add(tokenMargin))
}

// refuse notes that a server didn't let an access token in, however long its issuer has said
// that it is good for. The next one is fetched, or read, if somebody has granted anew. One
// that is fresh is kept: the fault isn't the token's, and issuers don't give many.
func (g *grant) refuse(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if token == g.held.AccessToken && g.now().Sub(g.fetched) >= freshToken {
		g.refused = token
	}
}

// renew fetches an access token.
func (g *grant) renew(ctx context.Context) (string, error) {
	token, err := g.source(ctx).Token()
	if err != nil {
		return "", g.explain(err)
	}
	return token.AccessToken, g.keep(token)
}

func (g *grant) source(ctx context.Context) oauth2.TokenSource {
	if g.app {
		c := clientcredentials.Config{ClientID: g.client.ClientID, ClientSecret: g.client.ClientSecret, TokenURL: g.client.Endpoint.TokenURL, Scopes: g.client.Scopes}
		return c.TokenSource(ctx)
	}
	return g.client.TokenSource(ctx, &oauth2.Token{RefreshToken: g.held.RefreshToken})
}

// keep takes in what an issuer has sent.
func (g *grant) keep(token *oauth2.Token) error {
	fresh := kept{Token: *token, Lapses: g.held.Lapses}
	fresh.RefreshToken = cmp.Or(token.RefreshToken, g.held.RefreshToken)
	if seconds, ok := token.Extra("refresh_token_expires_in").(float64); ok && seconds > 0 {
		fresh.Lapses = g.now().Add(time.Duration(seconds) * time.Second).UTC().Truncate(time.Second)
	}
	g.held, g.unsaved, g.fetched = fresh, g.file != "", g.now()
	if g.file == "" {
		return nil
	}
	return g.write()
}

// explain says what to do about an issuer's refusal.
func (g *grant) explain(err error) error {
	var refused *oauth2.RetrieveError
	switch {
	case !errors.As(err, &refused):
		return fmt.Errorf("fetch an access token: %w", err)
	case refused.ErrorCode == "invalid_grant":
		return fmt.Errorf("the grant of %s has lapsed or was withdrawn: grant it again with “calltally authorize %s” (%s)", g.name, g.name, cmp.Or(refused.ErrorDescription, refused.ErrorCode))
	case refused.ErrorCode == "invalid_client", refused.ErrorCode == "unauthorized_client":
		return fmt.Errorf("the client of %s is not known, or its secret has expired: make a new secret and put it into client_secret_file (%s)", g.name, cmp.Or(refused.ErrorDescription, refused.ErrorCode))
	}
	return fmt.Errorf("fetch an access token: %s", cmp.Or(refused.ErrorDescription, refused.ErrorCode, refused.Response.Status))
}

// read reads the tokens from their file.
func (g *grant) read() error {
	text, err := os.ReadFile(g.file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("nobody has granted %s yet: do it with “calltally authorize %s”", g.name, g.name)
	}
	if err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	var held kept
	if err := json.Unmarshal(text, &held); err != nil {
		return fmt.Errorf("the tokens in %s can't be read: grant %s again with “calltally authorize %s”", g.file, g.name, g.name)
	}
	g.held = held
	return nil
}

// write puts the tokens into their file, complete or not at all.
func (g *grant) write() error {
	text, err := json.MarshalIndent(g.held, "", "  ")
	if err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(g.file), ".tokens-*") // for its owner's eyes only
	if err != nil {
		return fmt.Errorf("keep tokens: %w", err)
	}
	_, err = out.Write(append(text, '\n'))
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil {
		err = os.Rename(out.Name(), g.file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep tokens: %w", err), os.Remove(out.Name()))
	}
	if err := ingest.SyncNames(filepath.Dir(g.file)); err != nil {
		return fmt.Errorf("keep tokens: %w", err)
	}
	g.unsaved = false
	return nil
}

// probe fetches an access token, for checks.
func (g *grant) probe(ctx context.Context) (string, error) {
	if _, err := g.Token(ctx); err != nil {
		return "", err
	}
	if alarm := g.alarm(); alarm != "" {
		return "", errors.New(alarm)
	}
	answer := "gives access tokens"
	if lapses := g.lapses(); !lapses.IsZero() {
		answer += "; lapses on " + lapses.Format("2 January 2006")
	}
	return answer, nil
}

// alarmAhead is how long before a grant lapses those who look after the worker are told.
const alarmAhead = 14 * 24 * time.Hour

// alarm says that the grant lapses soon, or has; "" if it doesn't.
func (g *grant) alarm() string {
	lapses := g.lapses()
	if lapses.IsZero() || lapses.After(g.now().Add(alarmAhead)) {
		return ""
	}
	cure := fmt.Sprintf("grant it again with “calltally authorize %s”", g.name)
	if lapses.Equal(g.expires) {
		cure = "make a new client secret, and put it into client_secret_file and its day into secret_expires"
	}
	verb := "lapses"
	if !lapses.After(g.now()) {
		verb = "has lapsed"
	}
	return fmt.Sprintf("The grant %s %s on %s: %s.", g.name, verb, lapses.Format("2 January 2006"), cure)
}

// lapses is when the grant ends unless somebody renews it; the zero time if nobody knows.
func (g *grant) lapses() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.file != "" && g.held.AccessToken == "" && g.read() != nil {
		return g.expires
	}
	switch {
	case g.expires.IsZero(), !g.held.Lapses.IsZero() && g.held.Lapses.Before(g.expires):
		return g.held.Lapses
	}
	return g.expires
}
