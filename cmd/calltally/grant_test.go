package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"golang.org/x/oauth2"

	"calltally/scripts/rig"
)

// grantFrom is a grant of a provider's, with the refresh token that is good.
func grantFrom(t *testing.T, p *rig.Provider, more string) *grant {
	t.Helper()
	c := grantingConfig(t, p, more)
	g := c.granted["rig"]
	if g.file != "" {
		g.held.RefreshToken = p.Refresh()
		if err := g.write(); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func grantingConfig(t *testing.T, p *rig.Provider, more string) *config {
	t.Helper()
	return configOf(t, fmt.Sprintf(`
store: calltally.db
accounts: [{id: "23"}]
grants: [{name: rig, provider: other, client_id: calltally, client_secret: %s, token_url: "%s/token", authorize_url: "%s/authorize"%s}]
`, rig.Secret, p.URL, p.URL, more))
}

// An access token is asked for once while it is good; a refresh token that was replaced is
// kept for the next process, for its owner's eyes only.
func TestTokensAreKept(t *testing.T) {
	p := rig.NewProvider(t, "box-a@rig.test")
	g := grantFrom(t, p, "")
	first, err := g.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := g.Token(t.Context())
	if err != nil || second != first || len(p.Asked()) != 1 {
		t.Errorf("%q, then %q, %v, asked %v", first, second, err, p.Asked())
	}
	if info, err := os.Stat(g.file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the tokens' file: %v, %v", info, err)
	}
	restarted := &grant{client: g.client, name: g.name, file: g.file, now: func() time.Time { return time.Now().Add(2 * time.Hour) }}
	if _, err := restarted.Token(t.Context()); err != nil || len(p.Asked()) != 2 {
		t.Errorf("the next process: %v, asked %v", err, p.Asked())
	}
	var kept struct {
		RefreshToken string `json:"refresh_token"`
	}
	text, err := os.ReadFile(g.file)
	if err != nil || json.Unmarshal(text, &kept) != nil || kept.RefreshToken != p.Refresh() {
		t.Errorf("the file holds %s, %v, want the refresh token %s", text, err, p.Refresh())
	}
}

// Of several processes that need a token at a time, one asks, because a refresh token may be
// good for one time only.
func TestOneOfSeveralProcessesRenews(t *testing.T) {
	p := rig.NewProvider(t, "box-a@rig.test")
	g := grantFrom(t, p, "")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			other := &grant{client: g.client, name: g.name, file: g.file, now: time.Now}
			if _, err := other.Token(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(p.Asked()) != 1 {
		t.Errorf("asked %v", p.Asked())
	}
}

// What can't be written down is not used before it can, and is not lost meanwhile.
func TestATokenThatCanNotBeKept(t *testing.T) {
	p := rig.NewProvider(t, "box-a@rig.test")
	g := grantFrom(t, p, "")
	file := g.file
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// The file's name becomes a folder's between reading and writing.
	g.now = func() time.Time {
		if _, err := os.Stat(file); err == nil && len(p.Asked()) == 1 {
			os.Remove(file)                                    //nolint:errcheck // the test would see it
			os.Mkdir(file, 0o700)                              //nolint:errcheck
			os.WriteFile(filepath.Join(file, "x"), nil, 0o600) //nolint:errcheck
		}
		return time.Now()
	}
	p.Lapses = 1000 // so that the clock is asked between the two
	if _, err := g.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "keep tokens") {
		t.Fatalf("%v", err)
	}
	if err := os.RemoveAll(file); err != nil {
		t.Fatal(err)
	}
	g.now = time.Now
	if _, err := g.Token(t.Context()); err != nil || len(p.Asked()) != 1 {
		t.Errorf("%v, asked %v", err, p.Asked())
	}
	now, err := os.ReadFile(file)
	if err != nil || bytes.Equal(now, text) || !bytes.Contains(now, []byte(p.Refresh())) {
		t.Errorf("the file holds %s, %v", now, err)
	}
}

// Every refusal says who has to do what.
func TestRefusedGrants(t *testing.T) {
	for _, c := range []struct {
		name, want string
		change     func(*rig.Provider, *grant)
	}{
		{"nobody granted", "nobody has granted rig yet: do it with “calltally authorize rig”", func(_ *rig.Provider, g *grant) { os.Remove(g.file) }},                     //nolint:errcheck // the test would see it
		{"a spoiled file", "can't be read: grant rig again with “calltally authorize rig”", func(_ *rig.Provider, g *grant) { os.WriteFile(g.file, []byte("{"), 0o600) }}, //nolint:errcheck
		{"lapsed", "the grant of rig has lapsed or was withdrawn: grant it again with “calltally authorize rig” (refused by the test)", func(p *rig.Provider, _ *grant) { p.Refuse = "invalid_grant" }},
		{"an old secret", "the client of rig is not known, or its secret has expired: make a new secret and put it into client_secret_file", func(_ *rig.Provider, g *grant) { g.client.ClientSecret = "old" }},
		{"something else", "fetch an access token: refused by the test", func(p *rig.Provider, _ *grant) { p.Refuse = "temporarily_unavailable" }},
		{"nobody there", "fetch an access token: ", func(_ *rig.Provider, g *grant) { g.client.Endpoint.TokenURL = "http://127.0.0.1:9/token" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := rig.NewProvider(t, "box-a@rig.test")
			g := grantFrom(t, p, "")
			c.change(p, g)
			if _, err := g.Token(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

// An access token that a server has refused isn't shown again, however long it is said to be
// good for: another one is fetched, or read, if somebody has granted anew.
func TestARefusedToken(t *testing.T) {
	p := rig.NewProvider(t, "box-a@rig.test")
	g := grantFrom(t, p, "")
	refusing := bearerLogin("box-a@rig.test", g)
	shown := func() (token string) {
		t.Helper()
		err := refusing(t.Context(), func(string) bool { return true }, func(who sasl.Client) error {
			token = who.(*bearer).token
			return errors.New("NO")
		})
		if err == nil || token == "" {
			t.Fatalf("shown %q, %v", token, err)
		}
		return token
	}
	first := shown()
	if again := shown(); again != first || len(p.Asked()) != 1 {
		t.Errorf("a fresh token was not kept: asked %v", p.Asked())
	}
	p.Lifetime += time.Minute // so that the next one is another one
	g.now = func() time.Time { return time.Now().Add(freshToken) }
	shown()
	if next := shown(); next == first || len(p.Asked()) != 2 {
		t.Errorf("asked %v", p.Asked())
	}
	g.now = func() time.Time { return time.Now().Add(2 * freshToken) }
	shown()
	anew := grantFrom(t, p, "")
	anew.file = g.file
	anew.held = kept{Token: oauth2.Token{AccessToken: "anew", RefreshToken: p.Refresh(), Expiry: time.Now().Add(time.Hour)}}
	if err := anew.write(); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "anew" || len(p.Asked()) != 2 {
		t.Errorf("shown %q, asked %v", got, p.Asked())
	}
}

func TestAGrantToTheProgramItself(t *testing.T) {
	p := rig.NewProvider(t, "box-a@rig.test")
	g := grantFrom(t, p, ", to: app")
	for range 2 {
		if _, err := g.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if asked := p.Asked(); len(asked) != 1 || asked[0] != "client_credentials" {
		t.Errorf("asked %v", asked)
	}
}

// Those who look after the worker are told before a grant lapses.
func TestAlarms(t *testing.T) {
	p := rig.NewProvider(t, "box-a@rig.test")
	p.Lapses = int((20 * 24 * time.Hour).Seconds())
	c := grantingConfig(t, p, "")
	g := c.granted["rig"]
	g.held.RefreshToken = p.Refresh()
	if err := g.write(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if alarms := c.alarms(); len(alarms) > 0 {
		t.Errorf("%q, 20 days before", alarms)
	}
	g.now = func() time.Time { return time.Now().Add(7 * 24 * time.Hour) }
	if alarms := c.alarms(); len(alarms) != 1 || !strings.HasPrefix(alarms[0], "The grant rig lapses on ") || !strings.HasSuffix(alarms[0], ": grant it again with “calltally authorize rig”.") {
		t.Errorf("%q, 13 days before", alarms)
	}
	c = grantingConfig(t, p, `, to: app, secret_expires: "2026-03-31"`)
	c.granted["rig"].now = func() time.Time { return time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC) }
	if want := "The grant rig has lapsed on 31 March 2026: make a new client secret, and put it into client_secret_file and its day into secret_expires."; c.alarms()[0] != want {
		t.Errorf("got %q\nwant %q", c.alarms(), want)
	}
}

// The owner allows it in a browser here, in one elsewhere whose last address is pasted, or
// by a code.
func TestAuthorize(t *testing.T) {
	for _, way := range []string{"here", "pasted", "code"} {
		t.Run(way, func(t *testing.T) {
			p := rig.NewProvider(t, "box-a@rig.test")
			more := ""
			if way == "code" {
				more = fmt.Sprintf(`, device_url: "%s/device"`, p.URL)
			}
			c := grantingConfig(t, p, more)
			in, typed := io.Pipe()
			defer typed.Close()
			browser := &browser{t: t, way: way, typed: typed}
			var stderr bytes.Buffer
			if code := run(t.Context(), []string{"authorize", "rig", "--config", c.file}, in, browser, &stderr); code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr.String())
			}
			if !strings.Contains(browser.shown.String(), "Granted. The tokens are in "+c.granted["rig"].file) {
				t.Errorf("it says\n%s", browser.shown.String())
			}
			if way == "code" && !strings.Contains(browser.shown.String(), "ABCD-EFGH") {
				t.Errorf("it says\n%s", browser.shown.String())
			}
			if _, err := c.granted["rig"].Token(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// browser is a person who reads what the program says and does it.
type browser struct {
	t     *testing.T
	way   string
	typed io.Writer
	shown bytes.Buffer
}

var asksFor = regexp.MustCompile(`http://\S+/authorize\S+`)

func (b *browser) Write(text []byte) (int, error) {
	b.shown.Write(text)
	if ask := asksFor.Find(text); ask != nil {
		go b.allow(string(ask))
	}
	return len(text), nil
}

func (b *browser) allow(ask string) {
	client := &http.Client{}
	if b.way == "pasted" {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	answer, err := client.Get(ask)
	if err != nil {
		b.t.Error(err)
		return
	}
	answer.Body.Close()
	if b.way == "pasted" {
		fmt.Fprintln(b.typed, "what?\n"+answer.Header.Get("Location"))
	}
}
