package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/endpoints"
)

// grantConfig is the right to mailboxes that a provider grants by access tokens.
type grantConfig struct {
	Name     string `yaml:"name"`
	Provider string `yaml:"provider"`
	// To says who was granted it: user, the mailbox's owner by a browser, or app, the program
	// itself by an administrator.
	To               string `yaml:"to"`
	Tenant           string `yaml:"tenant"` // Microsoft's name for an organisation
	ClientID         string `yaml:"client_id"`
	ClientSecret     string `yaml:"client_secret"`
	ClientSecretFile string `yaml:"client_secret_file"`
	SecretExpires    string `yaml:"secret_expires"` // the day, if somebody noted it
	Tokens           string `yaml:"tokens"`         // the file that they are kept in
	// What follows is for any other provider.
	AuthorizeURL string   `yaml:"authorize_url"`
	DeviceURL    string   `yaml:"device_url"`
	TokenURL     string   `yaml:"token_url"`
	Scopes       []string `yaml:"scopes"`
}

const (
	grantToUser = "user"
	grantToApp  = "app"
)

// provider is what is known of those who grant.
type provider struct {
	endpoint func(tenant string) oauth2.Endpoint
	scopes   map[string][]string // by whom it is granted to
	tenants  bool
}

var providers = map[string]provider{
	// https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
	"google": {
		endpoint: func(string) oauth2.Endpoint {
			google := endpoints.Google
			google.DeviceAuthURL = "" // it doesn't grant mail
			return google
		},
		scopes: map[string][]string{grantToUser: {"https://mail.google.com/"}},
	},
	// https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
	"microsoft": {
		endpoint: endpoints.AzureAD,
		scopes: map[string][]string{
			grantToUser: {"https://outlook.office.com/IMAP.AccessAsUser.All", "https://outlook.office.com/SMTP.Send", "offline_access"},
			grantToApp:  {"https://outlook.office365.com/.default"},
		},
		tenants: true,
	},
	"other": {endpoint: func(string) oauth2.Endpoint { return oauth2.Endpoint{} }},
}

// checkGrants checks the grants and makes them: whoever uses one shares it with the others.
func (c *config) checkGrants() error {
	c.granted = map[string]*grant{}
	for i := range c.Grants {
		at := fmt.Sprintf("$.grants[%d]", i)
		g, err := c.grant(&c.Grants[i], at)
		if err != nil {
			return c.at(err)
		}
		if c.granted[g.name] != nil {
			return c.at(faultAt(at+".name", "two grants are named %q; every grant needs a name of its own", g.name))
		}
		c.granted[g.name] = g
	}
	return nil
}

func (c *config) grant(s *grantConfig, at string) (*grant, error) {
	if s.Name == "" || strings.ContainsAny(s.Name, `/\ `) {
		return nil, faultAt(at, "the grant needs a name without blanks, such as name: google")
	}
	p, ok := providers[s.Provider]
	if !ok {
		return nil, faultAt(at+".provider", "%q is not one of google, microsoft, other", s.Provider)
	}
	if s.To == "" {
		s.To = grantToUser
	}
	scopes, ok := p.scopes[s.To]
	switch {
	case s.Provider == "other" && slices.Contains([]string{grantToUser, grantToApp}, s.To):
		scopes = s.Scopes
	case !ok:
		return nil, faultAt(at+".to", "%s grants no mailboxes to %q; leave it out for user", s.Provider, s.To)
	case len(s.Scopes) > 0:
		scopes = s.Scopes
	}
	if p.tenants && s.To == grantToApp && s.Tenant == "" {
		return nil, faultAt(at, "the grant has no tenant: name the organisation's, such as tenant: acme.example")
	}
	if s.ClientID == "" {
		return nil, faultAt(at, "the grant has no client_id: register the program with the provider, which gives it one")
	}
	g := &grant{name: s.Name, app: s.To == grantToApp, now: time.Now}
	g.client = oauth2.Config{ClientID: s.ClientID, Scopes: scopes, Endpoint: p.endpoint(s.Tenant)}
	for _, set := range []struct {
		key, url string
		into     *string
	}{
		{"authorize_url", s.AuthorizeURL, &g.client.Endpoint.AuthURL}, {"device_url", s.DeviceURL, &g.client.Endpoint.DeviceAuthURL}, {"token_url", s.TokenURL, &g.client.Endpoint.TokenURL},
	} {
		if set.url == "" {
			continue
		}
		if u, err := url.Parse(set.url); err != nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
			return nil, faultAt(at+"."+set.key, "%q is not an address that begins with https://; secrets would cross the network unencrypted", set.url)
		}
		*set.into = set.url
	}
	if g.client.Endpoint.TokenURL == "" {
		return nil, faultAt(at, "the grant has no token_url: name the address that gives access tokens")
	}
	var err error
	if g.client.ClientSecret, err = c.secret(at+".client_secret_file", s.ClientSecret, s.ClientSecretFile); err != nil {
		return nil, err
	}
	if g.app && g.client.ClientSecret == "" {
		return nil, faultAt(at, "the grant has no client secret: name its file with client_secret_file")
	}
	if s.SecretExpires != "" {
		if g.expires, err = time.Parse(time.DateOnly, s.SecretExpires); err != nil {
			return nil, faultAt(at+".secret_expires", "%q is not a day such as 2027-03-31", s.SecretExpires)
		}
	}
	if !g.app {
		g.file = c.relative(s.Tokens)
		if s.Tokens == "" {
			g.file = c.relative(s.Name + ".tokens")
		}
	}
	return g, nil
}

// grantNamed finds the grant that a source or the relay uses.
func (c *config) grantNamed(name, at string) (*grant, error) {
	if g := c.granted[name]; g != nil {
		return g, nil
	}
	return nil, faultAt(at+".grant", "there is no grant %q among the grants", name)
}

// alarms are sentences on what ends soon, for those who look after the worker.
func (c *config) alarms() (all []string) {
	for i := range c.Grants {
		if alarm := c.granted[c.Grants[i].Name].alarm(); alarm != "" {
			all = append(all, alarm)
		}
	}
	return all
}
