package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"

	"calltally/conversion"
)

// mailLogin is how to log in to a mail server: offers says whether it has a mechanism, and
// show goes through with one.
type mailLogin func(ctx context.Context, offers func(mechanism string) bool, show func(sasl.Client) error) error

// bearerLogin is how to log in with an access token: it picks a mechanism that the server
// offers.
func bearerLogin(user string, g *grant) mailLogin {
	return func(ctx context.Context, offers func(mechanism string) bool, show func(sasl.Client) error) error {
		for _, mechanism := range []string{xoauth2, sasl.OAuthBearer} { // the first is what both Google and Microsoft have
			if !offers(mechanism) {
				continue
			}
			token, err := g.Token(ctx)
			if err != nil {
				return err
			}
			if err := show(&bearer{mechanism, user, token}); err != nil {
				g.refuse(token)
				return err
			}
			return nil
		}
		return fmt.Errorf("the server takes no access tokens: it offers neither %s nor %s; take out grant and set a password", xoauth2, sasl.OAuthBearer)
	}
}

// xoauth2 is Google's mechanism from before RFC 7628.
// See https://developers.google.com/workspace/gmail/imap/xoauth2-protocol.
const xoauth2 = "XOAUTH2"

// bearer shows an access token to a server.
type bearer struct{ mechanism, user, token string }

// Start returns what is sent first.
func (b *bearer) Start() (mechanism string, response []byte, err error) {
	if b.mechanism == sasl.OAuthBearer {
		return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: b.user, Token: b.token}).Start()
	}
	return xoauth2, []byte("user=" + b.user + "\x01auth=Bearer " + b.token + "\x01\x01"), nil
}

// Next is only asked for if the server refuses: what it says then is the reason, which its
// last word hasn't.
func (b *bearer) Next(challenge []byte) ([]byte, error) {
	return nil, fmt.Errorf("the access token was refused: %s", conversion.Clip(strings.TrimSpace(string(challenge)), 300))
}
