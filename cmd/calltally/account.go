package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/mail"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"calltally/conversion"
	"calltally/ingest"
)

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
	Sheet           string            `yaml:"sheet"`
	Addresses       []string          `yaml:"addresses"`
	Senders         []string          `yaml:"senders"`
	ReportTo        []string          `yaml:"report_to"`
	NegativeAmounts bool              `yaml:"negative_amounts"`
	HoldOver        holdOverConfig    `yaml:"hold_over"`
	ErrorLimit      int               `yaml:"error_limit"`
	Match           matchConfig       `yaml:"match"`
	WaitForCalls    string            `yaml:"wait_for_calls"`
	Duplicates      duplicatesConfig  `yaml:"duplicates"`
	EventTypes      []eventTypeConfig `yaml:"event_types"`
	Payouts         []payoutConfig    `yaml:"payouts"`
	Received        []payoutConfig    `yaml:"received"`
	RowPayouts      string            `yaml:"row_payouts"`
	DefaultStatus   string            `yaml:"default_status"`
	LockBefore      string            `yaml:"lock_before"`
	Parents         string            `yaml:"parent_reference"`
	DryRunAddresses []string          `yaml:"dry_run_addresses"`
	Options         optionsConfig     `yaml:"options"`
}

// holdOverConfig says over which amounts a file must be approved.
type holdOverConfig struct {
	Row  string `yaml:"row"`
	File string `yaml:"file"`
}

// limits reads the amounts, in whatever currency they are.
func (h holdOverConfig) limits(at string) (limits conversion.AmountLimits, err error) {
	for _, l := range []struct {
		key, text string
		into      *decimal.Decimal
	}{{"row", h.Row, &limits.Row}, {"file", h.File, &limits.File}} {
		if l.text == "" {
			continue
		}
		if *l.into, err = decimal.NewFromString(l.text); err != nil || len(l.text) > 20 || !l.into.IsPositive() {
			return limits, faultAt(at+"."+l.key, "%q is not an amount above zero such as 1000.00, without a currency", l.text)
		}
	}
	return limits, nil
}

// holding reads over which amounts a file must be approved.
func (a *accountConfig) holding(at string, to *conversion.Account) (err error) {
	to.HoldOver, err = a.HoldOver.limits(at + ".hold_over")
	return err
}

// optionsConfig says what a row's blank options mean.
type optionsConfig struct {
	AddToExistingPayout string `yaml:"add_to_existing_payout"`
	ReceivedOption      string `yaml:"received_option"`
	EffectiveDate       string `yaml:"effective_date_option"`
}

type matchConfig struct {
	Window              string `yaml:"window"`
	WindowWithoutCaller string `yaml:"window_without_caller"`
	Margin              string `yaml:"margin"`
	Lookback            string `yaml:"lookback"`
	ByEventTime         bool   `yaml:"by_event_time"`
}

type duplicatesConfig struct {
	Key        []string `yaml:"key"`
	Mode       string   `yaml:"mode"`
	RepeatRows string   `yaml:"repeat_rows"`
}

type eventTypeConfig struct {
	Name       string           `yaml:"name"`
	Codes      []string         `yaml:"codes"`
	Duplicates duplicatesConfig `yaml:",inline"`
}

// account turns one account's settings into an account.
func (a *accountConfig) account(at, zone string) (*conversion.Account, error) {
	if a.ID == "" {
		return nil, faultAt(at, "the account has no id: give it one, such as id: \"23\"")
	}
	account := &conversion.Account{
		ID: a.ID, Name: a.Name, Region: strings.ToUpper(a.Region), Columns: a.Columns, Sheet: a.Sheet, Addresses: a.Addresses, Senders: a.Senders, ReportTo: a.ReportTo,
		NegativeAmounts: a.NegativeAmounts, ErrorLimit: a.ErrorLimit, Dialect: a.Dialect, DecimalMark: '.', DryRunAddresses: a.DryRunAddresses,
	}
	for _, step := range []func(string, *conversion.Account) error{
		func(at string, to *conversion.Account) error { return a.place(at, zone, to) }, a.words, a.matching, a.duplicates, a.payouts, a.changing, a.holding,
	} {
		if err := step(at, account); err != nil {
			return nil, err
		}
	}
	return account, nil
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
	to.DateOrder = conversion.DateOrder(cmp.Or(a.DateOrder, string(conversion.DateOrderAuto)))
	orders := []conversion.DateOrder{conversion.DateOrderAuto, conversion.DateOrderMDY, conversion.DateOrderDMY, conversion.DateOrderYMD}
	if !slices.Contains(orders, to.DateOrder) {
		return faultAt(at+".date_order", "%q is not one of auto, mdy, dmy, ymd", a.DateOrder)
	}
	if err := checkDialect(at+".dialect", a.Dialect, conversion.TakesConversions); err != nil {
		return err
	}
	headers := map[string]string{}
	for _, theirs := range slices.Sorted(maps.Keys(a.Columns)) {
		ours, folded := a.Columns[theirs], ingest.FoldHeader(theirs)
		if other, ok := headers[folded]; ok {
			return faultAt(at+".columns", "the columns %q and %q are the same in a header, where case, spaces, - and _ don't count. Keep one of them", other, theirs)
		}
		headers[folded] = theirs
		if !ingest.ColumnNamed(ours) {
			return faultAt(at+".columns", "the column %q is mapped to %q, which is no column that we know", theirs, ours)
		}
	}
	for i, pattern := range a.Senders {
		if _, err := path.Match(pattern, "x"); err != nil || !bareAddress(pattern) {
			return faultAt(fmt.Sprintf("%s.senders[%d]", at, i), "%q is not an address or a pattern such as *@acme.example", pattern)
		}
	}
	for _, list := range []struct {
		key       string
		addresses []string
	}{{"addresses", a.Addresses}, {"dry_run_addresses", a.DryRunAddresses}, {"report_to", a.ReportTo}} {
		for i, address := range list.addresses {
			if !bareAddress(address) {
				return faultAt(fmt.Sprintf("%s.%s[%d]", at, list.key, i), "%q is not an address such as ops@acme.example, without a name", address)
			}
		}
	}
	if a.ErrorLimit < 0 {
		return faultAt(at+".error_limit", "error_limit is less than nothing; 0 means no limit")
	}
	return nil
}

// bareAddress reports whether a text is a mail address and nothing else. In a
// pattern, * and ? may stand for any part.
func bareAddress(text string) bool {
	parsed, err := mail.ParseAddress(text)
	return err == nil && parsed.Address == text
}

func checkDialect(at, name string, takes conversion.Takes) error {
	if d := ingest.DialectNamed(name); name != "" && name != "auto" && (d == nil || d.Takes != takes) {
		return faultAt(at, "%q is not one of auto, %s", name, strings.Join(ingest.DialectNames(takes), ", "))
	}
	return nil
}

func (a *accountConfig) matching(at string, to *conversion.Account) error {
	m := &to.Match
	m.ByEventTime = a.Match.ByEventTime
	err := durations(at+".match", []durationSetting{
		{"window", a.Match.Window, 5 * time.Minute, &m.Window},
		{"window_without_caller", a.Match.WindowWithoutCaller, time.Minute, &m.WindowWithoutCaller},
		{"margin", a.Match.Margin, 10 * time.Second, &m.Margin},
		{"lookback", a.Match.Lookback, 90 * 24 * time.Hour, &m.Lookback},
	})
	if err != nil {
		return err
	}
	if err := durations(at, []durationSetting{{"wait_for_calls", a.WaitForCalls, 168 * time.Hour, &to.WaitForCalls}}); err != nil {
		return err
	}
	if m.ByEventTime && m.Lookback == 0 {
		return faultAt(at+".match.by_event_time", "by_event_time looks back for a caller's latest call, so lookback can't be 0; set it to some days, such as 720h")
	}
	if m.Window > 12*time.Hour || m.WindowWithoutCaller > 12*time.Hour {
		return faultAt(at+".match", "a window over 12 h would match calls of another day; choose minutes")
	}
	return nil
}

func (a *accountConfig) duplicates(at string, to *conversion.Account) (err error) {
	if to.Duplicates, err = a.Duplicates.rules(at + ".duplicates"); err != nil {
		return err
	}
	for i, t := range a.EventTypes {
		typeAt := fmt.Sprintf("%s.event_types[%d]", at, i)
		if t.Name == "" {
			return faultAt(typeAt, "the event type has no name")
		}
		for _, name := range append([]string{t.Name}, t.Codes...) {
			if to.EventType(name) != nil {
				return faultAt(typeAt, "the event type %q is there twice", name)
			}
		}
		rules, err := t.Duplicates.rules(typeAt)
		if err != nil {
			return err
		}
		to.EventTypes = append(to.EventTypes, conversion.EventType{Name: t.Name, Codes: t.Codes, Duplicates: rules})
	}
	return nil
}

// rules reads duplicate rules; what is not set is left open.
func (d duplicatesConfig) rules(at string) (rules conversion.DuplicateRules, err error) {
	if d.Mode != "" {
		rules.Mode = conversion.Mode(d.Mode)
		if !slices.Contains(conversion.Modes, rules.Mode) {
			return rules, faultAt(at+".mode", "%q is not one of %s", d.Mode, joinWords(conversion.Modes))
		}
	}
	for i, name := range d.Key {
		part := cmp.Or(conversion.KeyNames[name], conversion.KeyPart(name))
		if !slices.Contains(conversion.KeyParts, part) {
			return rules, faultAt(fmt.Sprintf("%s.key[%d]", at, i), "%q is not one of %s, %s", name, joinWords(conversion.KeyParts), strings.Join(slices.Sorted(maps.Keys(conversion.KeyNames)), ", "))
		}
		rules.Key = append(rules.Key, part)
	}
	rules.Repeats, err = oneOf(at+".repeat_rows", d.RepeatRows, conversion.RepeatsOnce, conversion.RepeatsApply)
	return rules, err
}

// oneOf reads a setting that is one of some words, or not set.
func oneOf[W ~string](at, text string, words ...W) (W, error) {
	if text != "" && !slices.Contains(words, W(text)) {
		return "", faultAt(at, "%q is not one of %s", text, joinWords(words))
	}
	return W(text), nil
}

// changing reads what holds for rows that change what is held.
func (a *accountConfig) changing(at string, to *conversion.Account) (err error) {
	if a.LockBefore != "" {
		day, err := time.Parse(time.DateOnly, a.LockBefore)
		if err != nil {
			return faultAt(at+".lock_before", "%q is not a day such as 2026-06-01", a.LockBefore)
		}
		to.LockBefore = conversion.DayOf(day)
	}
	if to.DefaultStatus, err = oneOf(at+".default_status", a.DefaultStatus, conversion.StatusApproved, conversion.StatusPending, conversion.StatusDeclined, conversion.StatusOther); err != nil {
		return err
	}
	parents, err := oneOf(at+".parent_reference", a.Parents, "update", "link")
	if err != nil {
		return err
	}
	payouts, err := oneOf(at+".row_payouts", a.RowPayouts, "allow", "refuse")
	if err != nil {
		return err
	}
	to.LinkChildren, to.NoRowPayouts = parents == "link", payouts == "refuse"
	to.Options = map[string]string{}
	for _, option := range []struct {
		name, text string
		words      []string
	}{
		{"add_to_existing_payout", a.Options.AddToExistingPayout, []string{"true", "false"}},
		{"received_option", a.Options.ReceivedOption, ingest.ReceivedOptions},
		{"effective_date_option", a.Options.EffectiveDate, []string{string(conversion.OnToday), string(conversion.OnConversion)}},
	} {
		if to.Options[option.name], err = oneOf(at+".options."+option.name, option.text, option.words...); err != nil {
			return err
		}
	}
	return nil
}

func joinWords[W ~string](words []W) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}
