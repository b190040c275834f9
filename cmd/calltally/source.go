package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/desk"
	"calltally/ingest/folder"
	"calltally/ingest/mailbox"
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
	AuthservID   string `yaml:"authserv_id"`
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
		switch {
		case s.Trust != "" && s.Trust != "recipient":
			return faultAt(at+".trust", "%q is not recipient, which takes knowing an upload address as proof of the sender; leave it out to believe the mail server (authserv_id) and signatures only", s.Trust)
		case s.Trust != "" && s.AuthservID != "":
			return faultAt(at+".authserv_id", "with trust: recipient, nobody is asked about senders; take one of the two out")
		case strings.ContainsAny(s.AuthservID, " \t;\"()"):
			return faultAt(at+".authserv_id", "%q is not the name that a mail server signs Authentication-Results with, such as mx.mail.example; or none, if it writes no name", s.AuthservID)
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
	"grant": {kindIMAP}, "ca_file": {kindIMAP}, "folder": {kindIMAP}, "trust": {kindIMAP}, "authserv_id": {kindIMAP}, "idle": {kindIMAP}, "max_bytes": {kindIMAP},
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
	switch s.Kind {
	case kindIMAP:
		planned.Source, err = c.mailbox(s, at, log)
		return planned, err
	case kindFolder:
		planned.Source = c.drop(s, folder.Folder(c.relative(s.Path)), settle)
		return planned, nil
	case kindHTTP:
		planned.Source = &desk.Desk{Label: s.Name, Account: s.Account, Takes: s.takes(), Dialect: s.Dialect}
		return planned, nil
	}
	place, err := c.sftpFolder(s, at)
	planned.Source = c.drop(s, place, settle)
	return planned, err
}

// drop makes the source of a place that files are dropped in.
func (c *config) drop(s *sourceConfig, place ingest.Place, settle time.Duration) *ingest.Drop {
	return &ingest.Drop{
		Label: s.Name, Place: place, Account: s.Account, Takes: s.takes(), Dialect: s.Dialect,
		Settle: settle, Done: s.Done, Leave: s.Leave, MaxBytes: c.limits().Bytes, Now: time.Now,
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
		Vouchers: mailbox.Vouchers{Recipient: s.Trust == "recipient", Server: s.AuthservID, Allows: c.allows, LookupTXT: net.DefaultResolver.LookupTXT},
		MaxBytes: 70 << 20, Idle: s.Idle == nil || *s.Idle, Now: time.Now, Log: log,
		Server: mailbox.Server{Address: server.address, TLS: server.tls, StartTLS: !server.secure, Plain: server.plain, User: server.user, Password: server.password, Login: server.login},
	}
	if s.MaxBytes > 0 {
		box.MaxBytes = s.MaxBytes
	}
	return box, nil
}

// allows reports whether any account takes files from an address.
func (c *config) allows(address string) bool {
	return slices.ContainsFunc(c.Accounts, func(a accountConfig) bool {
		return (&conversion.Account{Senders: a.Senders}).AllowsSender(address)
	})
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
