package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/shopspring/decimal"

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
	Sources   []sourceConfig  `yaml:"sources"`
	Replies   *repliesConfig  `yaml:"replies"`
	Reconcile *reconcileJob   `yaml:"reconcile"`
	Limits    limitsConfig    `yaml:"limits"`

	file string
	text []byte
}

type accountConfig struct {
	ID              string            `yaml:"id"`
	Name            string            `yaml:"name"`
	Region          string            `yaml:"region"`
	TimeZone        string            `yaml:"time_zone"`
	Currency        string            `yaml:"currency"`
	Locale          string            `yaml:"locale"`
	DateOrder       string            `yaml:"date_order"`
	Dialect         string            `yaml:"dialect"`
	Columns         map[string]string `yaml:"columns"`
	Addresses       []string          `yaml:"addresses"`
	Senders         []string          `yaml:"senders"`
	ReportTo        []string          `yaml:"report_to"`
	NegativeAmounts bool              `yaml:"negative_amounts"`
	ErrorLimit      int               `yaml:"error_limit"`
	Match           matchConfig       `yaml:"match"`
	WaitForCalls    *time.Duration    `yaml:"wait_for_calls"`
	Duplicates      duplicatesConfig  `yaml:"duplicates"`
	EventTypes      []eventTypeConfig `yaml:"event_types"`
	Payouts         []payoutConfig    `yaml:"payouts"`
}

type matchConfig struct {
	Window              *time.Duration `yaml:"window"`
	WindowWithoutCaller *time.Duration `yaml:"window_without_caller"`
	Margin              *time.Duration `yaml:"margin"`
	Lookback            *time.Duration `yaml:"lookback"`
	ByEventTime         bool           `yaml:"by_event_time"`
}

type duplicatesConfig struct {
	Key        []string `yaml:"key"`
	Mode       string   `yaml:"mode"`
	RepeatRows string   `yaml:"repeat_rows"`
}

type eventTypeConfig struct {
	Name             string `yaml:"name"`
	duplicatesConfig `yaml:",inline"`
}

type payoutConfig struct {
	ReasonCode  []string      `yaml:"reason_code"`
	EventType   []string      `yaml:"event_type"`
	SKU         []string      `yaml:"sku"`
	Campaign    string        `yaml:"campaign"`
	Publisher   string        `yaml:"publisher"`
	MinSale     string        `yaml:"min_sale"`
	MinDuration time.Duration `yaml:"min_duration"`
	Fixed       string        `yaml:"fixed"`
	Percent     string        `yaml:"percent"`
	Cap         string        `yaml:"cap"`
}

type reconcileJob struct {
	Schedule string   `yaml:"schedule"`
	DigestTo []string `yaml:"digest_to"`
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

func parseConfig(file string, text []byte) (*config, error) {
	c := &config{file: file, text: text}
	if err := yaml.UnmarshalWithOptions(text, c, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %s", file, strings.TrimSpace(syntaxHint(err)))
	}
	if err := expandEnv(reflect.ValueOf(c).Elem(), "$"); err != nil {
		return nil, c.at(err)
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
	if err := c.checkSources(); err != nil {
		return nil, err
	}
	if err := c.checkReplies(); err != nil {
		return nil, err
	}
	_, err := c.schedule()
	return c, err
}

// syntaxHint shows where a file is no YAML, or has a key that we don't know.
func syntaxHint(err error) string {
	text := yaml.FormatError(err, false, true)
	if m := regexp.MustCompile(`unknown field "([^"]+)"`).FindStringSubmatch(text); m != nil {
		if near := nearestKey(m[1]); near != "" {
			text += fmt.Sprintf("\ndid you mean %q?", near)
		}
	}
	return text
}

// fault is something wrong at a place in the file.
type fault struct {
	path, sentence string
}

func (f fault) Error() string { return f.sentence }

func faultAt(path, format string, args ...any) error {
	return fault{path, fmt.Sprintf(format, args...)}
}

// at shows a fault with its file, line and column and the lines around it.
func (c *config) at(err error) error {
	var f fault
	if !errors.As(err, &f) {
		return err
	}
	node, line, column := c.locate(f.path)
	if node == "" {
		return fmt.Errorf("%s: %s", c.file, f.sentence)
	}
	return fmt.Errorf("%s:%d:%d: %s\n%s", c.file, line, column, f.sentence, strings.TrimRight(node, "\n"))
}

// locate finds a path in the file; the nearest parent that is there will do.
func (c *config) locate(at string) (annotated string, line, column int) {
	for at != "$" && at != "" {
		if p, err := yaml.PathString(at); err == nil {
			if node, err := p.ReadNode(strings.NewReader(string(c.text))); err == nil {
				source, _ := p.AnnotateSource(c.text, false)
				position := node.GetToken().Position
				return string(source), position.Line, position.Column
			}
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	return "", 0, 0
}

// nearestKey finds the key that a misspelt one may stand for.
func nearestKey(wrong string) string {
	best, distance := "", 3
	for _, key := range knownKeys(reflect.TypeFor[config](), nil) {
		if d := editDistance(wrong, key); d < distance {
			best, distance = key, d
		}
	}
	return best
}

func knownKeys(t reflect.Type, keys []string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return keys
	}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name != "" {
			keys = append(keys, name)
		}
		keys = knownKeys(t.Field(i).Type, keys)
	}
	return keys
}

// editDistance is the number of letters to add, drop or change.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// expandEnv puts environment variables in the place of values written as
// ${NAME}.
func expandEnv(v reflect.Value, at string) error {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return expandEnv(v.Elem(), at)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			if name == "" {
				continue
			}
			if err := expandEnv(v.Field(i), at+"."+name); err != nil {
				return err
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if err := expandEnv(v.Index(i), fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case reflect.String:
		return expandText(v, at)
	}
	return nil
}

var envValue = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

func expandText(v reflect.Value, at string) error {
	m := envValue.FindStringSubmatch(v.String())
	if m == nil || !v.CanSet() {
		return nil
	}
	value, ok := os.LookupEnv(m[1])
	if !ok {
		return faultAt(at, "the environment variable %s is not set", m[1])
	}
	v.SetString(value)
	return nil
}

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
		}
		for j, address := range a.Addresses {
			if owner, taken := addresses[strings.ToLower(address)]; taken {
				return nil, c.at(faultAt(fmt.Sprintf("%s.addresses[%d]", at, j), "the address %s belongs to account %s already; an address names one account", address, owner))
			}
			addresses[strings.ToLower(address)] = a.ID
		}
		all = append(all, a)
	}
	return all, nil
}

// account turns one account's settings into an account.
func (a *accountConfig) account(at, zone string) (*conversion.Account, error) {
	if a.ID == "" {
		return nil, faultAt(at, "the account has no id: give it one, such as id: \"23\"")
	}
	account := &conversion.Account{
		ID: a.ID, Name: a.Name, Region: strings.ToUpper(a.Region), Columns: a.Columns, Addresses: a.Addresses, Senders: a.Senders, ReportTo: a.ReportTo,
		NegativeAmounts: a.NegativeAmounts, ErrorLimit: a.ErrorLimit, WaitForCalls: orDefault(a.WaitForCalls, 168*time.Hour),
		Dialect: a.Dialect, DecimalMark: '.',
		Match: conversion.MatchRules{
			Window: orDefault(a.Match.Window, 5*time.Minute), WindowWithoutCaller: orDefault(a.Match.WindowWithoutCaller, time.Minute),
			Margin: orDefault(a.Match.Margin, 10*time.Second), Lookback: orDefault(a.Match.Lookback, 90*24*time.Hour),
		},
	}
	for _, step := range []func(string, *conversion.Account) error{
		func(at string, to *conversion.Account) error { return a.place(at, zone, to) }, a.words, a.matching, a.duplicates, a.payouts,
	} {
		if err := step(at, account); err != nil {
			return nil, err
		}
	}
	return account, nil
}

func orDefault(d *time.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return *d
}

// place reads where the account is: zone, currency, locale, region.
func (a *accountConfig) place(at, zone string, to *conversion.Account) (err error) {
	zoneAt := at + ".time_zone"
	if a.TimeZone != "" {
		zone = a.TimeZone
	} else {
		zoneAt = "$.time_zone"
	}
	if zone != "" {
		if to.Zone, err = conversion.ParseZone(zone); err != nil {
			return faultAt(zoneAt, "%v", err)
		}
	}
	to.Currency = "USD"
	if a.Currency != "" {
		if to.Currency, err = conversion.ParseCurrency(a.Currency); err != nil {
			return faultAt(at+".currency", "%v", err)
		}
	}
	if a.Locale != "" {
		mark, ok := decimalMark(a.Locale)
		if !ok {
			return faultAt(at+".locale", "%q is not a locale such as en-US or de-DE", a.Locale)
		}
		to.DecimalMark = mark
	}
	if a.Region != "" && !knownRegion(to.Region) {
		return faultAt(at+".region", "%q is not a country such as US or DE", a.Region)
	}
	return nil
}

// words reads the settings that are one of a list.
func (a *accountConfig) words(at string, to *conversion.Account) error {
	to.DateOrder = conversion.DateOrder(orText(a.DateOrder, string(conversion.DateOrderAuto)))
	orders := []conversion.DateOrder{conversion.DateOrderAuto, conversion.DateOrderMDY, conversion.DateOrderDMY, conversion.DateOrderYMD}
	if !slices.Contains(orders, to.DateOrder) {
		return faultAt(at+".date_order", "%q is not one of auto, mdy, dmy, ymd", a.DateOrder)
	}
	if err := checkDialect(at+".dialect", a.Dialect, conversion.TakesConversions); err != nil {
		return err
	}
	for theirs, ours := range a.Columns {
		if !ingest.ColumnNamed(ours) {
			return faultAt(at+".columns", "the column %q is mapped to %q, which is no column that we know", theirs, ours)
		}
	}
	for i, pattern := range a.Senders {
		if _, err := path.Match(pattern, "x"); err != nil || !strings.Contains(pattern, "@") {
			return faultAt(fmt.Sprintf("%s.senders[%d]", at, i), "%q is not an address or a pattern such as *@acme.example", pattern)
		}
	}
	for _, list := range []struct {
		key       string
		addresses []string
	}{{"addresses", a.Addresses}, {"report_to", a.ReportTo}} {
		for i, address := range list.addresses {
			if !strings.Contains(address, "@") {
				return faultAt(fmt.Sprintf("%s.%s[%d]", at, list.key, i), "%q is not an address", address)
			}
		}
	}
	if a.ErrorLimit < 0 {
		return faultAt(at+".error_limit", "error_limit is less than nothing; 0 means no limit")
	}
	return nil
}

func checkDialect(at, name string, takes conversion.Takes) error {
	if d := ingest.DialectNamed(name); name != "" && name != "auto" && (d == nil || d.Takes != takes) {
		return faultAt(at, "%q is not one of auto, %s", name, strings.Join(ingest.DialectNames(takes), ", "))
	}
	return nil
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (a *accountConfig) matching(at string, to *conversion.Account) error {
	if a.Match.ByEventTime {
		return faultAt(at+".match.by_event_time", "no dialect has an event time yet, so by_event_time can't be used; take it out")
	}
	m := to.Match
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"window", m.Window}, {"window_without_caller", m.WindowWithoutCaller}, {"margin", m.Margin}, {"lookback", m.Lookback}} {
		if d.value < 0 {
			return faultAt(at+".match."+d.key, "%s is less than nothing", d.key)
		}
	}
	if m.Window > 12*time.Hour || m.WindowWithoutCaller > 12*time.Hour {
		return faultAt(at+".match", "a window over 12 h would match calls of another day; choose minutes")
	}
	return nil
}

func (a *accountConfig) duplicates(at string, to *conversion.Account) (err error) {
	base := conversion.DuplicateRules{Key: conversion.DefaultKey, Mode: conversion.ModeUpdate}
	if to.Duplicates, err = a.Duplicates.rules(at+".duplicates", base); err != nil {
		return err
	}
	for i, t := range a.EventTypes {
		typeAt := fmt.Sprintf("%s.event_types[%d]", at, i)
		if t.Name == "" {
			return faultAt(typeAt, "the event type has no name")
		}
		rules, err := t.rules(typeAt, to.Duplicates)
		if err != nil {
			return err
		}
		to.EventTypes = append(to.EventTypes, conversion.EventType{Name: t.Name, Duplicates: rules})
	}
	return nil
}

// rules reads duplicate rules; what is not set is as in base.
func (d duplicatesConfig) rules(at string, base conversion.DuplicateRules) (conversion.DuplicateRules, error) {
	rules := base
	if d.Mode != "" {
		rules.Mode = conversion.Mode(d.Mode)
		if !slices.Contains(conversion.Modes, rules.Mode) {
			return rules, faultAt(at+".mode", "%q is not one of %s", d.Mode, joinWords(conversion.Modes))
		}
	}
	if len(d.Key) > 0 {
		rules.Key = nil
		for i, part := range d.Key {
			if !slices.Contains(conversion.KeyParts, conversion.KeyPart(part)) {
				return rules, faultAt(fmt.Sprintf("%s.key[%d]", at, i), "%q is not one of %s", part, joinWords(conversion.KeyParts))
			}
			rules.Key = append(rules.Key, conversion.KeyPart(part))
		}
	}
	switch d.RepeatRows {
	case "":
	case "once":
		rules.ApplyRepeats = false
	case "apply":
		rules.ApplyRepeats = true
	default:
		return rules, faultAt(at+".repeat_rows", "%q is not one of once, apply", d.RepeatRows)
	}
	return rules, nil
}

func joinWords[W ~string](words []W) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}

func (a *accountConfig) payouts(at string, to *conversion.Account) error {
	for i, p := range a.Payouts {
		rule, err := p.rule(fmt.Sprintf("%s.payouts[%d]", at, i), to.Currency)
		if err != nil {
			return err
		}
		to.Payouts = append(to.Payouts, rule)
	}
	return nil
}

func (p payoutConfig) rule(at string, currency conversion.Currency) (conversion.PayoutRule, error) {
	rule := conversion.PayoutRule{ReasonCodes: p.ReasonCode, EventTypes: p.EventType, SKUs: p.SKU, Campaign: p.Campaign, Publisher: p.Publisher, MinDuration: p.MinDuration}
	for _, amount := range []struct {
		key, text string
		into      *conversion.Amount
	}{{"fixed", p.Fixed, &rule.Fixed}, {"cap", p.Cap, &rule.Cap}, {"min_sale", p.MinSale, &rule.MinSale}} {
		var err error
		if *amount.into, err = conversion.ParseAmount(amount.text, currency, '.'); err != nil {
			return rule, faultAt(at+"."+amount.key, "%q is %v", amount.text, err)
		}
	}
	if p.Percent != "" {
		percent, err := decimal.NewFromString(p.Percent)
		if err != nil || percent.IsNegative() || percent.GreaterThan(decimal.NewFromInt(1000)) {
			return rule, faultAt(at+".percent", "%q is not a percentage such as 10 or 2.5", p.Percent)
		}
		rule.Percent, rule.HasPercent = percent, true
	}
	if rule.HasPercent == rule.Fixed.Given {
		return rule, faultAt(at, "a payout rule pays either fixed or percent; give one of them")
	}
	return rule, nil
}

// schedule reads the nightly run's schedule; nil if there is none.
func (c *config) schedule() (*worker.Schedule, error) {
	if c.Reconcile == nil {
		return nil, nil
	}
	zone := time.UTC
	if c.TimeZone != "" {
		var err error
		if zone, err = conversion.ParseZone(c.TimeZone); err != nil {
			return nil, c.at(faultAt("$.time_zone", "%v", err))
		}
	}
	s, err := worker.ParseSchedule(c.Reconcile.Schedule, zone)
	if err != nil {
		return nil, c.at(faultAt("$.reconcile.schedule", "%v", err))
	}
	return &s, nil
}

// limits returns what a file may cost at most.
func (c *config) limits() ingest.Limits {
	limits := ingest.DefaultLimits
	if c.Limits.Bytes > 0 {
		limits.Bytes = c.Limits.Bytes
	}
	if c.Limits.Rows > 0 {
		limits.Rows = c.Limits.Rows
	}
	if c.Limits.Columns > 0 {
		limits.Columns = c.Limits.Columns
	}
	return limits
}

// relative resolves a path that the file names: it counts from the file's own
// folder.
func (c *config) relative(name string) string {
	if filepath.IsAbs(name) || name == "" {
		return name
	}
	return filepath.Join(filepath.Dir(c.file), name)
}

// secret reads a secret from its file.
func (c *config) secret(at, file string) (string, error) {
	text, err := os.ReadFile(c.relative(file))
	if err != nil {
		return "", c.at(faultAt(at, "the secret can't be read: %v", err))
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
