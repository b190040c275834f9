package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/worker"
)

// config is the configuration file. Every part checks itself when it is turned
// into what the program works with, and an error names its place in the file.
type config struct {
	Store     string          `yaml:"store"`
	TimeZone  string          `yaml:"time_zone"`
	Accounts  []accountConfig `yaml:"accounts"`
	Grants    []grantConfig   `yaml:"grants"`
	Sources   []sourceConfig  `yaml:"sources"`
	Replies   *repliesConfig  `yaml:"replies"`
	Reconcile *reconcileJob   `yaml:"reconcile"`
	Limits    limitsConfig    `yaml:"limits"`
	Attempts  int             `yaml:"attempts"`
	Retain    retainConfig    `yaml:"retain"`
	Web       *webConfig      `yaml:"web"`

	file    string
	text    []byte
	granted map[string]*grant // by name
}

type reconcileJob struct {
	Schedule string   `yaml:"schedule"`
	DigestTo []string `yaml:"digest_to"`
}

// retainConfig says how long is kept what is not the ledger.
type retainConfig struct {
	Files     string `yaml:"files"`
	Customers string `yaml:"customers"`
}

// shortestRetention is the least that may be set: by then, what came at night was looked at.
const shortestRetention = 24 * time.Hour

func (r retainConfig) retention() (kept worker.Retention, err error) {
	for _, d := range []durationSetting{{"files", r.Files, 0, &kept.Files}, {"customers", r.Customers, 0, &kept.Customers}} {
		if err := durations("$.retain", []durationSetting{d}); err != nil {
			return kept, err
		}
		if *d.into != 0 && *d.into < shortestRetention {
			return kept, faultAt("$.retain."+d.key, "what is kept for less than a day can't be looked into; set at least 24h, or leave it out to keep it for ever")
		}
	}
	return kept, nil
}

type limitsConfig struct {
	Bytes   int64 `yaml:"bytes"`
	Rows    int   `yaml:"rows"`
	Columns int   `yaml:"columns"`
}

// loadConfig reads and checks a configuration file.
func loadConfig(file string) (*config, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{fmt.Errorf("there is no configuration %s: name one with --config, or write one with “calltally init”", file)}
	}
	if err != nil {
		return nil, usageError{err}
	}
	c, err := parseConfig(file, text)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

func parseConfig(file string, text []byte) (c *config, err error) {
	defer func() {
		if p := recover(); p != nil { // the library's, on some files that are hardly YAML
			err = fmt.Errorf("%s:1:1: the file can't be read as YAML; begin with one that “calltally init” writes", file)
		}
	}()
	c = &config{}
	decoder := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict(), yaml.CustomUnmarshaler(readText))
	err = decoder.Decode(c)
	c.file, c.text = file, text // a file without any content clears all
	var value badValue
	switch {
	case errors.As(err, &value):
		return nil, c.atText(value)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, c.notRead(err)
	}
	if err := decoder.Decode(&config{}); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: a second document follows after “---”; a configuration is one document", file)
	}
	if c.Store == "" {
		return nil, c.at(faultAt("$", "store is missing: name the file that holds the ledger, such as “store: calltally.db”"))
	}
	if len(c.Accounts) == 0 {
		return nil, c.at(faultAt("$", "accounts is missing: at least one account is needed, with an id"))
	}
	if _, err := c.accounts(); err != nil {
		return nil, err
	}
	if err := c.checkGrants(); err != nil {
		return nil, err
	}
	if err := c.checkSources(); err != nil {
		return nil, err
	}
	if err := c.checkWeb(); err != nil {
		return nil, err
	}
	if err := c.checkReplies(); err != nil {
		return nil, err
	}
	if err := c.checkLimits(); err != nil {
		return nil, err
	}
	if err := c.checkDigest(); err != nil {
		return nil, err
	}
	_, err = c.schedule()
	return c, err
}

// checkDigest refuses digests that nobody could be sent.
func (c *config) checkDigest() error {
	if c.Reconcile == nil {
		return nil
	}
	for i, address := range c.Reconcile.DigestTo {
		if !bareAddress(address) {
			return c.at(faultAt(fmt.Sprintf("$.reconcile.digest_to[%d]", i), "%q is not an address such as ops@calltally.example, without a name", address))
		}
	}
	if len(c.Reconcile.DigestTo) > 0 && c.Replies == nil {
		return c.at(faultAt("$.reconcile.digest_to", "digests are sent by the relay of replies, and there is none; add replies"))
	}
	return nil
}

// checkLimits refuses limits that would refuse everything, try nothing or keep nothing.
func (c *config) checkLimits() error {
	if _, err := c.Retain.retention(); err != nil {
		return c.at(err)
	}
	if c.Attempts < 0 {
		return c.at(faultAt("$.attempts", "attempts can't be less than nothing; leave it out for 5"))
	}
	for key, limit := range map[string]int64{"bytes": c.Limits.Bytes, "rows": int64(c.Limits.Rows), "columns": int64(c.Limits.Columns)} {
		if limit < 0 {
			return c.at(faultAt("$.limits."+key, "a limit can't be less than nothing; leave it out for the usual one"))
		}
	}
	return nil
}

// readText reads a text as it is written: a number keeps its zeros, and ${NAME}
// stands for an environment variable.
func readText(into *string, raw []byte) error {
	written := strings.TrimSpace(string(raw))
	if strings.HasPrefix(written, "[") || strings.HasPrefix(written, "{") || strings.HasPrefix(written, "- ") {
		return badValue{written, expected(reflect.String) + " belongs here"}
	}
	*into = written
	if !plainNumber.MatchString(written) {
		if err := yaml.Unmarshal(raw, into); err != nil {
			return badValue{written, "this can't be read: " + err.Error()}
		}
	}
	for _, m := range envName.FindAllStringSubmatch(*into, -1) {
		value, ok := os.LookupEnv(m[1])
		if !ok {
			return badValue{m[0], fmt.Sprintf("the environment variable %s is not set", m[1])}
		}
		*into = strings.ReplaceAll(*into, m[0], value)
	}
	return nil
}

var (
	plainNumber = regexp.MustCompile(`^[+-]?[0-9][0-9_.]*$`)
	envName     = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
)

// accounts turns the accounts' settings into accounts.
func (c *config) accounts() ([]*conversion.Account, error) {
	var all []*conversion.Account
	addresses := map[string]string{}
	for i := range c.Accounts {
		at := fmt.Sprintf("$.accounts[%d]", i)
		a, err := c.Accounts[i].account(at, c.TimeZone)
		if err != nil {
			return nil, c.at(err)
		}
		for _, other := range all {
			if other.ID == a.ID {
				return nil, c.at(faultAt(at+".id", "the id %q is used twice; every account needs its own", a.ID))
			}
			for _, by := range [][2]string{{"id", a.ID}, {"name", a.Name}} {
				if called := by[1]; called != "" && (strings.EqualFold(called, other.Name) || called == other.ID) {
					return nil, c.at(faultAt(at+"."+by[0], "account %s is called %q as well, and a call log may name an account by that; every account needs its own", other.ID, called))
				}
			}
		}
		for j, address := range slices.Concat(a.Addresses, a.DryRunAddresses) {
			if owner, taken := addresses[strings.ToLower(address)]; taken {
				place := fmt.Sprintf("%s.addresses[%d]", at, j)
				if j >= len(a.Addresses) {
					place = fmt.Sprintf("%s.dry_run_addresses[%d]", at, j-len(a.Addresses))
				}
				return nil, c.at(faultAt(place, "the address %s belongs to account %s already; an address names one account", address, owner))
			}
			addresses[strings.ToLower(address)] = a.ID
		}
		all = append(all, a)
	}
	return all, nil
}

// duration reads a length of time such as 90s, 5m or 168h.
func duration(at, text string, otherwise time.Duration) (time.Duration, error) {
	if text == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(text)
	if text == "0" {
		d, err = 0, nil
	}
	if err != nil || d < 0 {
		return 0, faultAt(at, "%q is not a length of time such as 90s, 5m or 168h", text)
	}
	return d, nil
}

// durations reads several lengths of time below one place.
func durations(at string, all []durationSetting) (err error) {
	for _, d := range all {
		if *d.into, err = duration(at+"."+d.key, d.text, d.otherwise); err != nil {
			return err
		}
	}
	return nil
}

type durationSetting struct {
	key, text string
	otherwise time.Duration
	into      *time.Duration
}

// schedule reads the nightly run's schedule; nil if there is none.
func (c *config) schedule() (*worker.Schedule, error) {
	if c.Reconcile == nil {
		return nil, nil
	}
	zone, err := c.zone()
	if err != nil {
		return nil, err
	}
	s, err := worker.ParseSchedule(c.Reconcile.Schedule, zone)
	if err != nil {
		return nil, c.at(faultAt("$.reconcile.schedule", "%v", err))
	}
	return &s, nil
}

// zone is the time zone of schedules and of days that are named; UTC if none is set.
func (c *config) zone() (*time.Location, error) {
	if c.TimeZone == "" {
		return time.UTC, nil
	}
	zone, err := conversion.ParseZone(c.TimeZone)
	if err != nil {
		return nil, c.at(faultAt("$.time_zone", "%v", err))
	}
	return zone, nil
}

// limits returns what a file may cost at most.
func (c *config) limits() ingest.Limits {
	usual := ingest.DefaultLimits
	return ingest.Limits{
		Bytes: cmp.Or(c.Limits.Bytes, usual.Bytes), Rows: cmp.Or(c.Limits.Rows, usual.Rows), Columns: cmp.Or(c.Limits.Columns, usual.Columns),
	}
}

// relative resolves a path that the file names: it counts from the file's own
// folder.
func (c *config) relative(name string) string {
	if filepath.IsAbs(name) || name == "" {
		return name
	}
	return filepath.Join(filepath.Dir(c.file), name)
}

// othersMay are the rights of those who are neither the owner nor in the group.
const othersMay = 0o007

// secret is a secret that is set, or else the one in a file.
func (c *config) secret(at, set, file string) (string, error) {
	if file == "" {
		return set, nil
	}
	if err := c.guarded(at, file); err != nil {
		return "", err
	}
	text, err := os.ReadFile(c.relative(file))
	if err != nil {
		return "", c.at(faultAt(at, "the secret can't be read: %v", err))
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// guarded refuses a file with a secret that everybody on the machine may read. That there is
// none is told when it is read.
func (c *config) guarded(at, file string) error {
	if info, err := os.Stat(c.relative(file)); file != "" && err == nil && info.Mode().Perm()&othersMay != 0 {
		return c.at(faultAt(at, "everybody on this machine may read the secret in %s; take that away with “chmod o= %s”", file, file))
	}
	return nil
}
