package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/emersion/go-message/mail"

	"calltally/report/reply"
)

type repliesConfig struct {
	SMTP         string `yaml:"smtp"`
	PasswordFile string `yaml:"password_file"`
	Password     string `yaml:"password"`
	Grant        string `yaml:"grant"`
	CAFile       string `yaml:"ca_file"`
	From         string `yaml:"from"`
	Results      string `yaml:"results"`
	// LettersAnHour is how many letters a recipient has in an hour; 20 if it isn't set, and 0
	// for as many as there are.
	LettersAnHour *int `yaml:"letters_an_hour"`
}

const usualLettersAnHour = 20

func (r *repliesConfig) lettersAnHour() int {
	if r.LettersAnHour == nil {
		return usualLettersAnHour
	}
	return *r.LettersAnHour
}

// mailServer is a mail server's address, from a URL such as
// imaps://user@host:port.
type mailServer struct {
	address, host  string
	user, password string
	secure         bool // TLS from the start
	plain          bool // no TLS: loopback only
	tls            *tls.Config
	login          mailLogin // by a grant; nil for a password
}

// mailSettings are what is set of a mail server. scheme is imap or smtp.
type mailSettings struct {
	url, password, passwordFile, grant, caFile string
	at, scheme                                 string
}

// mail are the settings of a mailbox's server.
func (s *sourceConfig) mail(at string) mailSettings {
	return mailSettings{s.URL, s.Password, s.PasswordFile, s.Grant, s.CAFile, at, "imap"}
}

// mailServer reads a mail server's settings. With an s the scheme means TLS from the start,
// without it STARTTLS. A server on this machine may go without TLS.
func (c *config) mailServer(set mailSettings) (*mailServer, error) {
	at, scheme := set.at, set.scheme
	urlAt := at + ".url"
	if scheme == "smtp" {
		urlAt = at + ".smtp"
	}
	u, err := url.Parse(set.url)
	if err != nil || u.Host == "" || u.Scheme != scheme && u.Scheme != scheme+"s" {
		return nil, faultAt(urlAt, "%q is not an address such as %ss://uploads@mail.example", set.url, scheme)
	}
	if _, inURL := u.User.Password(); inURL {
		return nil, faultAt(urlAt, "the address holds a password; put it in a file and name that with password_file")
	}
	s := &mailServer{host: u.Hostname(), user: u.User.Username(), secure: u.Scheme == scheme+"s"}
	port := u.Port()
	if port == "" {
		port = map[string]string{"imap": "143", "imaps": "993", "smtp": "587", "smtps": "465"}[u.Scheme]
	}
	s.address = net.JoinHostPort(s.host, port)
	s.plain = u.RawQuery == "tls=off"
	if u.RawQuery != "" && !s.plain || strings.Trim(u.Path, "/") != "" {
		return nil, faultAt(urlAt, "the address goes on after the host; only ?tls=off may follow it, and a mailbox's folder is set with folder")
	}
	if s.plain && !loopback(s.host) {
		return nil, faultAt(urlAt, "tls=off is only for servers on this machine; take it out")
	}
	if s.password, err = c.secret(at+".password_file", set.password, set.passwordFile); err != nil {
		return nil, err
	}
	if set.grant != "" {
		g, err := c.grantNamed(set.grant, at)
		if err != nil {
			return nil, err
		}
		if s.password != "" || s.user == "" {
			return nil, faultAt(at+".grant", "with a grant, the address names the mailbox and no password is set, such as %ss://uploads%%40acme.example@%s", scheme, u.Host)
		}
		s.login = bearerLogin(s.user, g)
	}
	s.tls = &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}
	if set.caFile != "" {
		pem, err := os.ReadFile(c.relative(set.caFile))
		if err != nil {
			return nil, faultAt(at+".ca_file", "the certificate can't be read: %v", err)
		}
		s.tls.RootCAs = x509.NewCertPool()
		if !s.tls.RootCAs.AppendCertsFromPEM(pem) {
			return nil, faultAt(at+".ca_file", "%s holds no certificate in PEM form", set.caFile)
		}
	}
	return s, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *config) checkReplies() error {
	if _, err := c.sender(); err != nil {
		return c.at(err)
	}
	if c.Replies != nil && c.Replies.lettersAnHour() < 0 {
		return c.at(faultAt("$.replies.letters_an_hour", "letters_an_hour can't be less than nothing; 0 means as many as there are"))
	}
	return c.checkCircles()
}

// checkCircles refuses reports to addresses that files come to: they would come back.
func (c *config) checkCircles() error {
	uploads := map[string]string{}
	for _, a := range c.Accounts {
		for _, address := range slices.Concat(a.Addresses, a.DryRunAddresses) {
			uploads[strings.ToLower(address)] = "an upload address of account " + a.ID
		}
	}
	for i := range c.Sources {
		s := &c.Sources[i]
		if at, err := url.Parse(s.URL); err == nil && s.Kind == kindIMAP && at.User != nil {
			uploads[strings.ToLower(at.User.Username())] = "the mailbox of source " + s.Name
		}
	}
	refuse := func(at string, to []string) error {
		for i, address := range to {
			if what := uploads[strings.ToLower(address)]; what != "" {
				return c.at(faultAt(fmt.Sprintf("%s[%d]", at, i), "%s is %s: reports sent there would come back as uploads; name another address", address, what))
			}
		}
		return nil
	}
	for i, a := range c.Accounts {
		if err := refuse(fmt.Sprintf("$.accounts[%d].report_to", i), a.ReportTo); err != nil {
			return err
		}
	}
	if c.Reconcile == nil {
		return nil
	}
	return refuse("$.reconcile.digest_to", c.Reconcile.DigestTo)
}

// sender makes what sends reports; nil if no relay is configured.
func (c *config) sender() (*reply.Sender, error) {
	r := c.Replies
	if r == nil {
		return nil, nil
	}
	server, err := c.mailServer(mailSettings{r.SMTP, r.Password, r.PasswordFile, r.Grant, r.CAFile, "$.replies", "smtp"})
	if err != nil {
		return nil, err
	}
	from, err := mail.ParseAddress(r.From)
	if err != nil {
		return nil, faultAt("$.replies.from", "%q is not an address such as Conversion uploads <uploads@calltally.example>", r.From)
	}
	hello, err := os.Hostname()
	if err != nil || hello == "" {
		hello = "localhost"
	}
	return &reply.Sender{
		Address: server.address, TLS: server.tls, Implicit: server.secure, Plain: server.plain,
		User: server.user, Password: server.password, Login: server.login, From: *from, Hello: hello,
	}, nil
}
