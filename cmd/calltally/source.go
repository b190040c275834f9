package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message/mail"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/desk"
	"calltally/ingest/folder"
	"calltally/ingest/mailbox"
	"calltally/ingest/sftp"
	"calltally/report/reply"
	"calltally/worker"
)

type sourceConfig struct {
	Name         string `yaml:"name"`
	Kind         string `yaml:"kind"`
	URL          string `yaml:"url"`
	PasswordFile string `yaml:"password_file"`
	Password     string `yaml:"password"`
	Grant        string `yaml:"grant"`
	CAFile       string `yaml:"ca_file"`
	Folder       string `yaml:"folder"`
	Path         string `yaml:"path"`
	Account      string `yaml:"account"`
	Takes        string `yaml:"takes"`
	Dialect      string `yaml:"dialect"`
	Trust        string `yaml:"trust"`
	Idle         *bool  `yaml:"idle"`
	Every        string `yaml:"every"`
	Settle       string `yaml:"settle"`
	MaxBytes     int64  `yaml:"max_bytes"`
	DryRun       bool   `yaml:"dry_run"`
	// What follows is for SFTP.
	KeyFile        string   `yaml:"key_file"`
	PassphraseFile string   `yaml:"passphrase_file"`
	Agent          bool     `yaml:"agent"`
	KnownHosts     string   `yaml:"known_hosts"`
	Fingerprints   []string `yaml:"fingerprints"`
	// Token is for requests.
	TokenFile string `yaml:"token_file"`
	Token     string `yaml:"token"`
	// Done and Leave are for all places that files are dropped in.
	Done  string `yaml:"done"`
	Leave bool   `yaml:"leave"`
	// Duplicates prevail over the account's rules, and its event types' over them.
	Duplicates duplicatesConfig `yaml:"duplicates"`
}

type repliesConfig struct {
	SMTP         string `yaml:"smtp"`
	PasswordFile string `yaml:"password_file"`
	Password     string `yaml:"password"`
	Grant        string `yaml:"grant"`
	CAFile       string `yaml:"ca_file"`
	From         string `yaml:"from"`
	Results      string `yaml:"results"`
}

const (
	kindIMAP   = "imap"
	kindFolder = "folder"
	kindSFTP   = "sftp"
	kindHTTP   = "http"
)

var sourceKinds = []string{kindIMAP, kindFolder, kindSFTP, kindHTTP}

// checkSources checks the sources without touching them.
func (c *config) checkSources() error {
	names, paths := map[string]bool{}, map[string]string{}
	for i := range c.Sources {
		s := &c.Sources[i]
		at := fmt.Sprintf("$.sources[%d]", i)
		if err := c.checkSource(s, at); err != nil {
			return c.at(err)
		}
		if names[s.Name] {
			return c.at(faultAt(at+".name", "two sources are named %q; every source needs a name of its own", s.Name))
		}
		names[s.Name] = true
		if s.Kind != kindFolder {
			continue
		}
		path := filepath.Clean(c.relative(s.Path))
		for other, name := range paths {
			if within(path, other) || within(other, path) {
				return c.at(faultAt(at+".path", "the folder overlaps with that of source %s (%s)", name, other))
			}
		}
		paths[path] = s.Name
	}
	return nil
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+string(filepath.Separator))
}

func (c *config) checkSource(s *sourceConfig, at string) error {
	if s.Name == "" || s.Name == worker.CommandLine {
		return faultAt(at, "the source needs a name of its own, such as name: uploads")
	}
	takes := s.takes()
	if takes != conversion.TakesConversions && takes != conversion.TakesCalls {
		return faultAt(at+".takes", "%q is not one of conversions, calls", s.Takes)
	}
	if err := checkDialect(at+".dialect", s.Dialect, takes); err != nil {
		return err
	}
	if s.Account != "" && !c.hasAccount(s.Account) {
		return faultAt(at+".account", "there is no account %q among the accounts", s.Account)
	}
	if _, _, err := s.pace(at); err != nil {
		return err
	}
	if _, err := s.Duplicates.rules(at + ".duplicates"); err != nil {
		return err
	}
	if err := s.checkKeys(at); err != nil {
		return err
	}
	switch s.Kind {
	case kindIMAP:
		if s.Trust != "" && s.Trust != "recipient" {
			return faultAt(at+".trust", "%q is not recipient, the only way to trust senders so far", s.Trust)
		}
		_, err := c.mailServer(s.mail(at))
		return err
	case kindFolder:
		if s.Path == "" {
			return faultAt(at, "the folder has no path: name the folder that files are dropped in")
		}
		return s.checkDrop(at)
	case kindSFTP:
		if _, err := c.sftpFolder(s, at); err != nil {
			return err
		}
		return s.checkDrop(at)
	case kindHTTP:
		if s.Account == "" {
			return faultAt(at, "the source has no account: name the account that its files belong to")
		}
		return nil
	}
	return faultAt(at+".kind", "%q is not one of %s", s.Kind, strings.Join(sourceKinds, ", "))
}

// checkDrop checks what places that files are dropped in share.
func (s *sourceConfig) checkDrop(at string) error {
	if s.Account == "" {
		return faultAt(at, "the folder has no account: name the account that its files belong to")
	}
	if s.Done != "" && (strings.Trim(s.Done, ".") == "" || strings.ContainsAny(s.Done, `/\`)) {
		return faultAt(at+".done", "%q is not the ending of a file's name, such as .done", s.Done)
	}
	return nil
}

// takes is what the source's files hold.
func (s *sourceConfig) takes() conversion.Takes {
	return conversion.Takes(cmp.Or(s.Takes, string(conversion.TakesConversions)))
}

// keysOf lists the settings that mean something for the sources of some kinds only.
var keysOf = map[string][]string{
	"url": {kindIMAP, kindSFTP}, "password": {kindIMAP, kindSFTP}, "password_file": {kindIMAP, kindSFTP},
	"grant": {kindIMAP}, "ca_file": {kindIMAP}, "folder": {kindIMAP}, "trust": {kindIMAP}, "idle": {kindIMAP}, "max_bytes": {kindIMAP},
	"token": {kindHTTP}, "token_file": {kindHTTP},
	"path":   {kindFolder},
	"settle": {kindFolder, kindSFTP}, "done": {kindFolder, kindSFTP}, "leave": {kindFolder, kindSFTP},
	"key_file": {kindSFTP}, "passphrase_file": {kindSFTP}, "agent": {kindSFTP}, "known_hosts": {kindSFTP}, "fingerprints": {kindSFTP},
}

// checkKeys refuses settings that mean nothing for the source's kind.
func (s *sourceConfig) checkKeys(at string) error {
	fields := reflect.ValueOf(*s)
	for i := range fields.NumField() {
		key := fields.Type().Field(i).Tag.Get("yaml")
		kinds, some := keysOf[key]
		if some && !fields.Field(i).IsZero() && !slices.Contains(kinds, s.Kind) && slices.Contains(sourceKinds, s.Kind) {
			return faultAt(at+"."+key, "%s is no setting of a source of kind %s; take it out", key, s.Kind)
		}
	}
	if s.MaxBytes < 0 {
		return faultAt(at+".max_bytes", "max_bytes can't be less than nothing; leave it out for the usual limit")
	}
	return nil
}

func (c *config) hasAccount(id string) bool {
	for _, a := range c.Accounts {
		if a.ID == id {
			return true
		}
	}
	return false
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
	s := &mailServer{host: u.Hostname(), user: u.User.Username(), secure: u.Scheme == scheme+"s", password: set.password}
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
	if set.passwordFile != "" {
		if s.password, err = c.secret(at+".password_file", set.passwordFile); err != nil {
			return nil, err
		}
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
	_, err := c.sender()
	if err != nil {
		return c.at(err)
	}
	return nil
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

// plans makes the sources.
func (c *config) plans(log *slog.Logger) ([]worker.Plan, error) {
	var plans []worker.Plan
	for i := range c.Sources {
		plan, err := c.plan(&c.Sources[i], fmt.Sprintf("$.sources[%d]", i), log)
		if err != nil {
			return nil, c.at(err)
		}
		plans = append(plans, plan)
	}
	return plans, nil
}

func (c *config) plan(s *sourceConfig, at string, log *slog.Logger) (worker.Plan, error) {
	every, settle, err := s.pace(at)
	if err != nil {
		return worker.Plan{}, err
	}
	duplicates, err := s.Duplicates.rules(at + ".duplicates")
	if err != nil {
		return worker.Plan{}, err
	}
	planned := worker.Plan{Every: every, Duplicates: duplicates, DryRun: s.DryRun}
	takes := s.takes()
	switch s.Kind {
	case kindIMAP:
		planned.Source, err = c.mailbox(s, at, log)
		return planned, err
	case kindFolder:
		planned.Source = s.drop(folder.Folder(c.relative(s.Path)), settle)
		return planned, nil
	case kindHTTP:
		planned.Source = &desk.Desk{Label: s.Name, Account: s.Account, Takes: takes, Dialect: s.Dialect}
		return planned, nil
	}
	place, err := c.sftpFolder(s, at)
	planned.Source = s.drop(place, settle)
	return planned, err
}

// drop makes the source of a place that files are dropped in.
func (s *sourceConfig) drop(place ingest.Place, settle time.Duration) *ingest.Drop {
	return &ingest.Drop{
		Label: s.Name, Place: place, Account: s.Account, Takes: s.takes(), Dialect: s.Dialect,
		Settle: settle, Done: s.Done, Leave: s.Leave, Now: time.Now,
	}
}

// mailbox makes the source of a mailbox.
func (c *config) mailbox(s *sourceConfig, at string, log *slog.Logger) (*mailbox.Mailbox, error) {
	server, err := c.mailServer(s.mail(at))
	if err != nil {
		return nil, err
	}
	box := &mailbox.Mailbox{
		Label: s.Name, Folder: cmp.Or(s.Folder, "INBOX"), Account: s.Account, Takes: s.takes(), Dialect: s.Dialect,
		TrustRecipient: s.Trust == "recipient", MaxBytes: 70 << 20, Idle: s.Idle == nil || *s.Idle, Log: log,
		Server: mailbox.Server{Address: server.address, TLS: server.tls, StartTLS: !server.secure, Plain: server.plain, User: server.user, Password: server.password, Login: server.login},
	}
	if s.MaxBytes > 0 {
		box.MaxBytes = s.MaxBytes
	}
	return box, nil
}

// sftpFolder reads where an SFTP source is and how to get there, from a URL such as
// sftp://acme@files.example/outgoing. A path that begins with /~/ begins where a login
// does.
func (c *config) sftpFolder(s *sourceConfig, at string) (*sftp.Folder, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.Scheme != "sftp" || u.RawQuery != "" || u.Fragment != "" {
		return nil, faultAt(at+".url", "%q is not an address such as sftp://acme@files.example/outgoing", s.URL)
	}
	if _, inURL := u.User.Password(); inURL {
		return nil, faultAt(at+".url", "the address holds a password; put it in a file and name that with password_file")
	}
	if u.User.Username() == "" {
		return nil, faultAt(at+".url", "the address names no user; write it as sftp://acme@files.example/outgoing")
	}
	f := &sftp.Folder{Address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "22")), User: u.User.Username(), Path: cmp.Or(u.Path, "/")}
	if home, ok := strings.CutPrefix(u.Path, "/~"); ok {
		f.Path = cmp.Or(strings.TrimPrefix(home, "/"), ".")
	}
	if f.Login, err = c.sftpLogin(s, at); err != nil {
		return nil, err
	}
	switch {
	case s.KnownHosts != "" && len(s.Fingerprints) > 0:
		return nil, faultAt(at+".fingerprints", "the server is told by known_hosts or by fingerprints, not by both; take one out")
	case len(s.Fingerprints) > 0:
		f.Trusts, err = sftp.Fingerprints(s.Fingerprints...)
		if err != nil {
			return nil, faultAt(at+".fingerprints", "%v", err)
		}
	case s.KnownHosts != "":
		f.Trusts, err = sftp.KnownHosts(c.relative(s.KnownHosts))
		if err != nil {
			return nil, faultAt(at+".known_hosts", "the known hosts can't be read: %v", err)
		}
	default:
		return nil, faultAt(at, "nothing says which server is the right one: name a file with known_hosts, or the server's key with fingerprints")
	}
	return f, nil
}

// sftpLogin reads how to log in.
func (c *config) sftpLogin(s *sourceConfig, at string) (login sftp.Login, err error) {
	login = sftp.Login{KeyFile: c.relative(s.KeyFile), Password: s.Password}
	if s.PasswordFile != "" {
		if login.Password, err = c.secret(at+".password_file", s.PasswordFile); err != nil {
			return login, err
		}
	}
	if s.PassphraseFile != "" {
		if login.Passphrase, err = c.secret(at+".passphrase_file", s.PassphraseFile); err != nil {
			return login, err
		}
	}
	if s.Agent {
		if login.Agent = os.Getenv("SSH_AUTH_SOCK"); login.Agent == "" {
			return login, faultAt(at+".agent", "no SSH agent runs: SSH_AUTH_SOCK is not set")
		}
	}
	if login == (sftp.Login{}) {
		return login, faultAt(at, "nothing says how to log in: set key_file, agent: true or password_file")
	}
	return login, nil
}

// pace reads how often a source is looked at, and how long a dropped file must
// stay as it is.
func (s *sourceConfig) pace(at string) (every, settle time.Duration, err error) {
	usual, still := time.Minute, 30*time.Second
	if s.Kind == kindFolder {
		usual, still = 10*time.Second, 2*time.Second
	}
	err = durations(at, []durationSetting{{"every", s.Every, usual, &every}, {"settle", s.Settle, still, &settle}})
	if err == nil && every < time.Second {
		err = faultAt(at+".every", "every must be at least 1s")
	}
	return every, settle, err
}
