package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

type authorizeCommand struct {
	Grant string `arg:"" help:"The grant's name in the configuration."`
}

// Run has a mailbox's owner grant the right to it. Where the provider has codes for devices,
// the browser may be on any machine; elsewhere the browser comes back to this one, or the
// address that it ends at is pasted.
func (c *authorizeCommand) Run(g *globals) error {
	config, err := loadConfig(g.Config)
	if err != nil {
		return err
	}
	grant := config.granted[c.Grant]
	switch {
	case grant == nil:
		return usageError{fmt.Errorf("there is no grant %q in %s", c.Grant, g.Config)}
	case grant.app:
		return usageError{fmt.Errorf("the grant %s is to the program itself: an administrator grants it with the provider, and “calltally check” tries it", c.Grant)}
	}
	var token *oauth2.Token
	if grant.client.Endpoint.DeviceAuthURL != "" {
		token, err = byCode(g.ctx, &grant.client, g.stdout)
	} else {
		token, err = byBrowser(g.ctx, &grant.client, g.stdin, g.stdout)
	}
	if err != nil {
		return fmt.Errorf("grant %s: %w", grant.name, grant.explain(err))
	}
	if token.RefreshToken == "" {
		return fmt.Errorf("grant %s: the provider gave no refresh token, so that it would end within the hour; check the scopes, and withdraw an earlier grant in the account's settings", grant.name)
	}
	if err := grant.keep(token); err != nil {
		return err
	}
	_, err = fmt.Fprintf(g.stdout, "Granted. The tokens are in %s; who has them can read the mailbox. Try “calltally check”.\n", grant.file)
	return err
}

// byCode has the owner enter a code in a browser anywhere.
func byCode(ctx context.Context, client *oauth2.Config, out io.Writer) (*oauth2.Token, error) {
	code, err := client.DeviceAuth(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "Open %s in any browser, log in as the mailbox's owner, and enter\n\n    %s\n\nWaiting …\n", code.VerificationURI, code.UserCode)
	return client.DeviceAccessToken(ctx, code)
}

// byBrowser has the owner's browser come back with a code.
func byBrowser(ctx context.Context, client *oauth2.Config, in io.Reader, out io.Writer) (*oauth2.Token, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	asked := *client
	asked.RedirectURL = "http://" + listener.Addr().String() + "/"
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	answers := make(chan url.Values, 2)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.URL.Query().Has("state") {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintln(w, "Thank you. You can close this page and go back to calltally.")
		select {
		case answers <- r.URL.Query():
		default: // it has one already
		}
	})}
	go server.Serve(listener) //nolint:errcheck // it ends with the command
	defer server.Close()
	fmt.Fprintf(out, "Open this address in a browser, log in as the mailbox's owner, and allow it:\n\n%s\n\nIf the browser runs on another machine, it ends at an address that it can't\nopen, beginning with %s: paste that here.\n",
		asked.AuthCodeURL(state, oauth2.AccessTypeOffline, oauth2.ApprovalForce, oauth2.S256ChallengeOption(verifier)), asked.RedirectURL)
	go func() {
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			if pasted, err := url.Parse(strings.TrimSpace(lines.Text())); err == nil && pasted.Query().Has("state") {
				answers <- pasted.Query()
				return
			}
		}
	}()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case answer := <-answers:
		switch {
		case answer.Get("state") != state:
			return nil, errors.New("the browser came back with an answer to another question; begin again")
		case answer.Get("error") != "":
			return nil, fmt.Errorf("it was not allowed: %s", strings.Join(slices.DeleteFunc([]string{answer.Get("error"), answer.Get("error_description")}, func(s string) bool { return s == "" }), ", "))
		}
		return asked.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(verifier))
	}
}
