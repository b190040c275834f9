package rig

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"
)

// Provider grants mailboxes of the rig, as Google and Microsoft do: by refresh tokens, which
// it replaces each time, by codes and to programs themselves.
type Provider struct {
	URL  string
	User string // whose mailbox it grants
	// Lifetime is how long an access token is good for.
	Lifetime time.Duration
	// Lapses is how many seconds a refresh token lives, if it says so.
	Lapses int
	// Refuse has it refuse with this error.
	Refuse string

	mu      sync.Mutex
	refresh string   // the refresh token that is good now
	asked   []string // kinds of grants, in order
	pending int      // how often a device is to ask again
}

// Secret is the client secret that the provider knows.
const Secret = "client-s3cret"

// NewProvider starts a provider that ends with the test.
func NewProvider(t testing.TB, user string) *Provider {
	t.Helper()
	p := &Provider{User: user, Lifetime: time.Hour, refresh: "refresh-0", pending: 1}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("POST /device", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]any{"device_code": "device", "user_code": "ABCD-EFGH", "verification_uri": p.URL + "/enter", "expires_in": 60, "interval": 1})
	})
	mux.HandleFunc("GET /authorize", p.authorize)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// authorize sends the browser back with a code, as if its user had allowed it.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	back, err := url.Parse(r.FormValue("redirect_uri"))
	if err != nil || r.FormValue("code_challenge_method") != "S256" {
		http.Error(w, "no way back", http.StatusBadRequest)
		return
	}
	back.RawQuery = url.Values{"state": {r.FormValue("state")}, "code": {"code"}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kind := r.FormValue("grant_type")
	p.asked = append(p.asked, kind)
	_, secret, basic := r.BasicAuth()
	if !basic {
		secret = r.FormValue("client_secret")
	}
	switch {
	case p.Refuse != "":
		answer(w, http.StatusBadRequest, map[string]any{"error": p.Refuse, "error_description": "refused by the test"})
		return
	case secret != Secret:
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	case kind == "refresh_token" && r.FormValue("refresh_token") != p.refresh:
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
		return
	case kind == "urn:ietf:params:oauth:grant-type:device_code" && p.pending > 0:
		p.pending--
		answer(w, http.StatusBadRequest, map[string]any{"error": "authorization_pending"})
		return
	case kind == "authorization_code" && r.FormValue("code_verifier") == "":
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_request"})
		return
	}
	given := map[string]any{"token_type": "Bearer", "access_token": Token(p.User, time.Now().Add(p.Lifetime)), "expires_in": int(p.Lifetime.Seconds())}
	if kind != "client_credentials" {
		p.refresh = fmt.Sprintf("refresh-%d", len(p.asked))
		given["refresh_token"] = p.refresh
	}
	if p.Lapses > 0 {
		given["refresh_token_expires_in"] = p.Lapses
	}
	answer(w, http.StatusOK, given)
}

// Refresh is the refresh token that is good now.
func (p *Provider) Refresh() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refresh
}

// Asked are the kinds of grants that tokens were asked for by, in order.
func (p *Provider) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // the test sees it
}
