package worker_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
)

// A model of the program, written from what it is meant to do and in the plainest
// way: lists that are searched from end to end, keys that can be read, fractions
// that are exact. It shares the names of the settings, verdicts and codes with the
// program, and none of its decisions.
type model struct {
	account *conversion.Account
	partner conversion.DuplicateRules
	now     time.Time
	calls   []conversion.Call // those that are known
	cost    map[string]money  // of calls, as rows have told it
	deals   []*deal           // the conversions, in the order they were made
	uploads []*heard
	// applied are the rows that must not be applied again, by what they say and the
	// how manieth such of their file they were.
	applied map[string]bool
	places  int
}

// money is a sum in a currency, or none.
type money struct {
	cents    int64
	currency string
	given    bool
}

func (m money) String() string {
	if !m.given {
		return "none"
	}
	return fmt.Sprintf("%d.%02d %s", m.cents/100, m.cents%100, m.currency)
}

// deal is a conversion.
type deal struct {
	id       int64
	call     string // the provider's id; "" for a web conversion
	at       time.Time
	toldBy   []conversion.KeyPart // what it is told from others by
	place    int                  // the higher, the later it came under its key
	facts    map[string]string    // details by name, as reports call them; blanks are left out
	customer map[string]string
	sale     money
	received money
	payout   money
	status   string
	// A row has set the payout or what is received, or added to it.
	payoutSet, receivedSet bool
}

// heard is an upload and what became of its rows.
type heard struct {
	id       int64
	file     *sentFile
	received time.Time
	answers  []answer
}

// answer is what becomes of a row. Any of the codes may be told of it first.
type answer struct {
	verdict       conversion.Verdict
	codes         []conversion.Code
	before, after money
	again         bool // an earlier file had the row, and it was applied then
}

func rejects(codes ...conversion.Code) answer {
	return answer{verdict: conversion.Rejected, codes: codes}
}

func newModel(h *history) *model {
	return &model{account: h.account, partner: h.partner, calls: h.calls[:h.known], cost: map[string]money{}, applied: map[string]bool{}}
}

// --- what rows say

// said is what a row says.
type said struct {
	wrong                           []conversion.Code
	record, transaction, external   string
	click                           string
	hasStart                        bool
	from, to                        time.Time // the stretch of time that its start may mean
	caller, called                  string
	seconds                         int // the call's length; -1 if not told
	web                             bool
	names                           bool // it is about a conversion that it names
	dealID                          int64
	dealReference, dealType         string
	dealCampaign                    string
	dealByClick                     bool
	facts                           map[string]string
	customer                        map[string]string
	sale, received, payout, cost    money
	addSale, addReceived            bool
	addPayout, keepPayout, revshare bool
	link, reverse, costOnly         bool
	saleDecides                     bool // what is received follows the sale, even if a row had set it
	happensNow                      bool // the event takes place when the file comes
	status, note                    string
	countsFrom                      string // effective_date_option
	day                             int    // the custom day
}

// fault notes something wrong.
func (s *said) fault(code conversion.Code) { s.wrong = append(s.wrong, code) }

// hear reads a row.
func (m *model) hear(file *sentFile, row sentRow) *said {
	s := &said{seconds: -1, facts: map[string]string{}, customer: map[string]string{}}
	if row.torn {
		s.fault(conversion.RowMalformed)
		return s
	}
	cells := row.cells
	currency := "USD"
	for _, column := range []string{"sale_currency", "currency"} {
		if cells[column] != "" {
			currency = cells[column]
		}
	}
	if currency == "XYZ" {
		s.fault(conversion.CurrencyInvalid)
	}
	amount := func(column string) money { return s.amount(cells[column], currency) }
	switch file.dialect {
	case "invoca":
		m.hearInvoca(s, cells, amount)
	case "invoca-signal":
		m.hearSignal(s, cells, amount)
	case "redtrack":
		m.hearRedtrack(s, cells, amount)
	case "cake":
		m.hearCake(s, cells, amount)
	case "impact-modify":
		m.hearImpact(s, cells, amount)
	}
	if s.payout.given && m.account.NoRowPayouts {
		s.fault(conversion.OptionInvalid)
	}
	for name, value := range s.facts {
		if value == "" {
			delete(s.facts, name)
		}
	}
	return s
}

func (m *model) hearInvoca(s *said, cells map[string]string, amount func(string) money) {
	s.web = s.flag(cells["web_conversion"])
	s.dealReference = cells["parent_reference_id"]
	s.names = s.dealReference != ""
	s.link = s.names && m.account.LinkChildren
	start := cells["start_time_t"]
	if start == "" {
		start = cells["start_time"]
	}
	if s.start(start, m.account.Zone); start == "" && !s.web && !s.names && cells["web_conversion"] != "perhaps" {
		s.fault(conversion.StartTimeMissing)
	}
	s.caller, s.called = s.phone(cells["calling_phone_number"]), s.phone(cells["called_phone_number"])
	if text := cells["duration_in_seconds"]; text != "" {
		s.seconds, _ = strconv.Atoi(text)
	}
	s.facts["reference_id"], s.facts["event_type"], s.facts["reason_code"] = cells["reference_id"], s.eventType(m.account, cells["event_type"]), cells["reason_code"]
	s.facts["event_id"], s.facts["campaign"], s.facts["publisher"] = cells["event no"], cells["advertiser_campaign_id"], cells["affiliate_id_from_network"]
	s.facts["sku_list"], s.facts["quantity_list"] = cells["sku_list"], cells["quantity_list"]
	if quantities := cells["quantity_list"]; quantities != "" {
		if strings.Count(quantities, ",") != strings.Count(cells["sku_list"], ",") || cells["sku_list"] == "" {
			s.fault(conversion.ListLengthsDiffer)
		}
		if quantities == "0" {
			s.fault(conversion.QuantityInvalid)
		}
	}
	if text := cells["email_address"]; text != "" {
		s.customer["email_address"] = text
	}
	s.sale = amount("sale_amount")
	s.payout = amount("paid")
	s.status = s.oneOf(cells["state"], "approved", "pending", "declined", "other", "rejected", "returned")
	if s.web && !s.names && (cells["reference_id"] == "" || cells["advertiser_campaign_id"] == "" || cells["affiliate_id_from_network"] == "") {
		s.fault(conversion.OptionMissing)
	}
}

func (m *model) hearSignal(s *said, cells map[string]string, amount func(string) money) {
	s.transaction, s.record, s.external = cells["transaction_id"], cells["call_record_id"], cells["external_call_unique_id"]
	if s.start(cells["call_start_time"], m.account.Zone); cells["call_start_time"] == "" && s.transaction+s.record+s.external == "" {
		s.fault(conversion.StartTimeMissing)
	}
	if s.transaction == "" { // the helpers are not looked at otherwise
		s.caller = s.phone(cells["calling_phone_number"])
	}
	name := cells["name"]
	for _, t := range m.account.EventTypes {
		if strings.EqualFold(t.Name, name) {
			name = t.Name
		}
	}
	if s.facts["event_type"] = s.eventType(m.account, name); name == "" {
		s.fault(conversion.EventTypeUnknown)
	}
	s.facts["event_id"], s.happensNow = cells["partner_unique_id"], true
	s.sale = amount("revenue")
	if cells["value"] != "" {
		s.facts["value"] = fmt.Sprint(s.flag(cells["value"]))
	}
}

func (m *model) hearRedtrack(s *said, cells map[string]string, amount func(string) money) {
	if s.click = cells["clickid"]; s.click == "" {
		s.fault(conversion.OptionMissing)
	}
	s.facts["event_type"], s.facts["event_id"] = s.eventType(m.account, cells["type"]), cells["rdtk_event_id"]
	s.status = s.oneOf(cells["status"], "approved", "pending", "declined", "other")
	s.payout, s.cost = amount("sum"), amount("cost")
	s.costOnly = s.cost.given && !s.payout.given && cells["type"]+cells["status"]+cells["rdtk_event_id"] == ""
}

func (m *model) hearCake(s *said, cells map[string]string, amount func(string) money) {
	nonZero := func(column string) string { return strings.TrimPrefix(" "+cells[column], " 0") }
	id := strings.TrimSpace(nonZero("conversion_id"))
	s.dealID, _ = strconv.ParseInt(id, 10, 64)
	s.click = strings.TrimSpace(nonZero("request_session_id"))
	s.dealReference, s.dealCampaign, s.dealByClick = cells["transaction_id"], strings.TrimSpace(nonZero("offer_id")), s.click != ""
	if s.names = true; id == "" && s.dealReference == "" && s.click == "" {
		s.fault(conversion.OptionMissing)
	}
	s.payout, s.keepPayout = amount("payout"), true
	adds := cells["add_to_existing_payout"]
	if adds == "" {
		adds = m.account.Options["add_to_existing_payout"]
	}
	if s.addPayout = s.flag(adds) && s.payout.given; adds == "" && s.payout.given {
		s.fault(conversion.OptionMissing)
	}
	option := cells["received_option"]
	if option == "" {
		option = m.account.Options["received_option"]
	}
	received := amount("received")
	switch option {
	case "total_sale_amount", "additional_sale_amount":
		s.sale, s.addSale, s.saleDecides = received, option == "additional_sale_amount", received.given
	case "total_revenue", "additional_revenue":
		s.received, s.addReceived = received, option == "additional_revenue"
	case "no_change":
	case "":
		if received.given {
			s.fault(conversion.OptionMissing)
		}
	default:
		s.fault(conversion.OptionInvalid)
	}
	if kind := cells["disposition_type"]; kind != "no_change" {
		s.status = s.oneOf(kind, "pending", "rejected", "approved", "returned")
	}
	s.revshare, s.note = s.flag(cells["update_revshare_payout"]), cells["note_to_append"]
	if s.countsFrom = cells["effective_date_option"]; s.countsFrom == "custom" {
		at, err := time.ParseInLocation("01/02/2006 15:04:05", cells["custom_date"], m.account.Zone)
		if err != nil {
			s.fault(conversion.OptionMissing)
		}
		s.day = m.day(at)
	}
}

func (m *model) hearImpact(s *said, cells map[string]string, amount func(string) money) {
	s.names = true
	switch {
	case cells["ActionId"] != "":
		s.dealID, _ = strconv.ParseInt(cells["ActionId"], 10, 64)
	case cells["OrderId"] == "" || cells["ActionTrackerId"] == "":
		s.fault(conversion.OptionMissing)
	default:
		s.dealReference, s.dealType = cells["OrderId"], s.eventType(m.account, cells["ActionTrackerId"])
	}
	s.sale = amount("Amount")
	s.reverse = s.sale.given && s.sale.cents == 0
	if s.facts["disposition"] = cells["Reason"]; cells["Reason"] == "" {
		s.fault(conversion.OptionMissing)
	}
	if text := cells["CustomerStatus"]; text != "" {
		s.customer["CustomerStatus"] = text
	}
}

// amount reads dollars and cents.
func (s *said) amount(cell, currency string) money {
	if cell == "" {
		return money{}
	}
	exact, ok := new(big.Rat).SetString(cell)
	if !ok || exact.Sign() < 0 {
		s.fault(conversion.AmountInvalid)
		return money{}
	}
	return money{new(big.Int).Div(exact.Mul(exact, big.NewRat(100, 1)).Num(), exact.Denom()).Int64(), currency, true}
}

func (s *said) flag(cell string) bool {
	switch cell {
	case "", "0", "no", "false":
		return false
	case "1", "true":
		return true
	}
	s.fault(conversion.OptionInvalid)
	return false
}

func (s *said) oneOf(cell string, known ...string) string {
	if cell != "" && !slices.Contains(known, cell) {
		s.fault(conversion.StatusUnknown)
	}
	return cell
}

// eventType finds an event type by its name, letter by letter, or a code of it.
func (s *said) eventType(a *conversion.Account, cell string) string {
	for _, t := range a.EventTypes {
		if cell == t.Name || slices.Contains(t.Codes, cell) {
			return t.Name
		}
	}
	if cell != "" {
		s.fault(conversion.EventTypeUnknown)
	}
	return ""
}

// phone reads a number. A caller who hid theirs is no clue.
func (s *said) phone(cell string) string {
	switch {
	case cell == "anonymous":
		return ""
	case cell != "" && cell[0] != '+':
		s.fault(conversion.PhoneInvalid)
	}
	return cell
}

// start reads when the call started: a second, or the minute that it was in.
func (s *said) start(cell string, zone *time.Location) {
	if cell == "" {
		return
	}
	at, precision, err := time.Time{}, time.Second, error(nil)
	if n, notDigits := strconv.ParseInt(cell, 10, 64); notDigits == nil {
		at = time.Unix(n, 0)
	} else if at, err = time.Parse(time.RFC3339, cell); err != nil {
		precision = time.Minute
		at, err = time.ParseInLocation("2006/01/02 15:04", cell, zone)
	}
	if err != nil {
		s.fault(conversion.StartTimeInvalid)
		return
	}
	s.hasStart, s.from, s.to = true, at.UTC(), at.Add(precision-time.Millisecond).UTC()
}

// --- which call a row means

// find names the call that a row means, or says why none can be named.
func (m *model) find(s *said, u *heard) (*conversion.Call, conversion.Code) {
	if s.web {
		return nil, ""
	}
	if s.record+s.transaction+s.external+s.click != "" {
		return m.findByID(s, u)
	}
	if !s.hasStart {
		return nil, conversion.CallNotFound
	}
	if m.account.Match.Lookback > 0 && s.to.Before(u.received.Add(-m.account.Match.Lookback)) {
		return nil, conversion.CallTooOld
	}
	if s.from.After(u.received.Add(5 * time.Minute)) {
		return nil, conversion.CallInFuture
	}
	return m.nearest(s, m.calls)
}

// findByID finds the call that all known ids of a row name. A start time that means
// another call contradicts them.
func (m *model) findByID(s *said, u *heard) (*conversion.Call, conversion.Code) {
	var named *conversion.Call
	for _, id := range []struct {
		given string
		of    func(conversion.Call) string
	}{
		{s.record, func(c conversion.Call) string { return c.CallID }}, {s.transaction, func(c conversion.Call) string { return c.TransactionID }},
		{s.external, func(c conversion.Call) string { return c.ExternalID }}, {s.click, func(c conversion.Call) string { return c.ClickID }},
	} {
		var known []conversion.Call
		for _, c := range m.calls {
			if id.given != "" && id.of(c) == id.given {
				known = append(known, c)
			}
		}
		switch {
		case len(known) == 0:
		case len(known) > 1: // only clicks are shared, and their rows say no more here
			return nil, conversion.CallAmbiguous
		case named != nil && named.CallID != known[0].CallID:
			return nil, conversion.CluesConflict
		default:
			named = &known[0]
		}
	}
	if named == nil {
		return nil, conversion.CallNotFound
	}
	if s.hasStart {
		other, _ := m.nearest(s, m.calls)
		if other != nil && other.CallID != named.CallID || s.off(named) > m.window(s) {
			return nil, conversion.CluesConflict
		}
	}
	if s.caller != "" && named.Caller != 0 && named.Caller.String() != s.caller {
		return nil, conversion.CluesConflict
	}
	if m.account.Match.Lookback > 0 && !s.names && named.Start.Time().Before(u.received.Add(-m.account.Match.Lookback)) {
		return nil, conversion.CallTooOld
	}
	return named, ""
}

func (m *model) window(s *said) time.Duration {
	if s.caller == "" {
		return m.account.Match.WindowWithoutCaller
	}
	return m.account.Match.Window
}

// off is how far a call began from the time that the row tells.
func (s *said) off(c *conversion.Call) time.Duration {
	at := c.Start.Time()
	switch {
	case at.Before(s.from):
		return s.from.Sub(at)
	case at.After(s.to):
		return at.Sub(s.to)
	}
	return 0
}

// nearest is the call that fits a row's start time, if it beats all others by the
// margin or alone began in the very second.
func (m *model) nearest(s *said, calls []conversion.Call) (*conversion.Call, conversion.Code) {
	distance := func(c *conversion.Call) time.Duration {
		if s.seconds < 0 {
			return s.off(c)
		}
		return s.off(c) + 20*time.Duration(max(s.seconds-c.Duration, c.Duration-s.seconds))*time.Second
	}
	var fitting []*conversion.Call
	for i := range calls {
		c := &calls[i]
		if s.off(c) <= m.window(s) && (s.caller == "" || c.Caller.String() == s.caller) && (s.called == "" || c.Called == 0 || c.Called.String() == s.called) {
			fitting = append(fitting, c)
		}
	}
	if len(fitting) == 0 {
		return nil, conversion.CallNotFound
	}
	best := fitting[0]
	for _, c := range fitting {
		if distance(c) < distance(best) || distance(c) == distance(best) && s.off(c) < s.off(best) {
			best = c
		}
	}
	exact := func(c *conversion.Call) bool { return s.to.Sub(s.from) < time.Second && s.off(c) == 0 }
	rivals, exactRivals := 0, 0
	for _, c := range fitting {
		if c != best && distance(c)-distance(best) < m.account.Match.Margin {
			rivals++
			if exact(c) {
				exactRivals++
			}
		}
	}
	if rivals == 0 || exact(best) && exactRivals == 0 {
		return best, ""
	}
	return nil, conversion.CallAmbiguous
}

// --- what rows do

// rules are the duplicate rules that hold for an event type in an upload, and the
// parts of the key.
func (m *model) rules(u *heard, s *said) ([]conversion.KeyPart, conversion.Mode, bool) {
	key, mode, repeats := conversion.DefaultKey, conversion.ModeUpdate, conversion.RepeatsOnce
	switch u.file.dialect {
	case "redtrack":
		key = []conversion.KeyPart{conversion.KeyCall, conversion.KeyEventType}
	case "invoca-signal":
		if key = []conversion.KeyPart{conversion.KeyCall, conversion.KeyEventType}; s.facts["event_id"] != "" {
			key[0] = conversion.KeyEventID
		}
	}
	levels := []conversion.DuplicateRules{m.account.Duplicates} // the weakest first
	if u.file.source == "partner" {
		levels = append(levels, m.partner)
	}
	for _, t := range m.account.EventTypes {
		if t.Name == s.facts["event_type"] {
			levels = append(levels, t.Duplicates)
		}
	}
	for _, level := range levels {
		if len(level.Key) > 0 {
			key = level.Key
		}
		if level.Mode != "" {
			mode = level.Mode
		}
		if level.Repeats != "" {
			repeats = level.Repeats
		}
	}
	if mode == conversion.ModeIgnoreSameEvent && !slices.Contains(key, conversion.KeyEventID) {
		key = append(slices.Clone(key), conversion.KeyEventID)
	}
	return slices.Sorted(slices.Values(key)), mode, repeats == conversion.RepeatsOnce
}

// key writes down what a conversion is told from others by. A web conversion has no
// call; its campaign, publisher and reference stand for it.
func key(by []conversion.KeyPart, call string, facts map[string]string) string {
	text := ""
	if parent := facts["parent"]; parent != "" {
		text = fmt.Sprintf("child %q of %q ", facts["reference_id"], facts["parent_reference_id"])
	}
	for _, part := range by {
		value := facts[string(part)]
		if part == conversion.KeyCall {
			if value = call; call == "" {
				value = "web " + facts["campaign"] + "/" + facts["publisher"] + "/" + facts["reference_id"]
			}
		}
		text += fmt.Sprintf("%s=%q ", part, value)
	}
	return text
}

// prior is the conversion that came last under a key; nil for none.
func (m *model) prior(by []conversion.KeyPart, call string, facts map[string]string) *deal {
	var last *deal
	for _, d := range m.deals {
		if slices.Equal(d.toldBy, by) && key(by, d.call, d.facts) == key(by, call, facts) && (last == nil || d.place > last.place) {
			last = d
		}
	}
	return last
}

// newest is the newest conversion for which a condition holds; nil for none.
func (m *model) newest(fits func(*deal) bool) *deal {
	var newest *deal
	for _, d := range m.deals {
		if fits(d) && (newest == nil || d.id > newest.id) {
			newest = d
		}
	}
	return newest
}

// take decides a file.
func (m *model) take(file *sentFile, now time.Time) {
	m.now = now
	u := &heard{id: int64(len(m.uploads) + 1), file: file, received: now}
	m.uploads = append(m.uploads, u)
	rejected := 0
	for i := range file.rows {
		a, copied := m.copied(u, i)
		switch {
		case copied:
		case m.account.ErrorLimit > 0 && rejected >= m.account.ErrorLimit:
			a = rejects(conversion.NotReached)
		default:
			a = m.decide(u, i)
		}
		if a.verdict == conversion.Rejected {
			rejected++
		}
		u.answers = append(u.answers, a)
	}
}

// learn has calls become known, and decides the rows that wait for one.
func (m *model) learn(calls []conversion.Call, now time.Time) {
	m.now, m.calls = now, calls
	for _, u := range m.uploads {
		for i := range u.answers {
			if u.answers[i].verdict != conversion.Waiting {
				continue
			}
			a, copied := m.copied(u, i)
			if !copied {
				a = m.decide(u, i)
			}
			u.answers[i] = a
		}
	}
}

// copied reports whether another upload of the same bytes has applied a row.
func (m *model) copied(u *heard, row int) (answer, bool) {
	for _, other := range m.uploads {
		if other != u && row < len(other.answers) && other.file.content() == u.file.content() {
			switch other.answers[row].verdict {
			case conversion.Rejected, conversion.Waiting, conversion.Ignored:
			default:
				return answer{verdict: conversion.Unchanged}, true
			}
		}
	}
	return answer{}, false
}

// decide decides one row.
func (m *model) decide(u *heard, row int) answer {
	s := m.hear(u.file, u.file.rows[row])
	if len(s.wrong) > 0 {
		return rejects(s.wrong...)
	}
	call, why := m.find(s, u)
	made := &deal{id: conversion.MakeID(u.id, row+2)}
	a := m.apply(u, s, call, why, made, m.content(u, row))
	if s.cost.given && call != nil && !a.again && a.verdict != conversion.Rejected && a.verdict != conversion.Waiting && a.verdict != conversion.Ignored && m.cost[call.CallID] != s.cost {
		m.cost[call.CallID] = s.cost
		if a.verdict == conversion.Unchanged {
			a.verdict = conversion.Updated
		}
	}
	return a
}

// content is all that a row says, and how many rows before it in its file say the
// same.
func (m *model) content(u *heard, row int) string {
	says := func(i int) string { return fmt.Sprintf("%+v", *m.hear(u.file, u.file.rows[i])) }
	before := 0
	for i := range row {
		if says(i) == says(row) {
			before++
		}
	}
	return fmt.Sprint(says(row), " after ", before)
}

func (m *model) apply(u *heard, s *said, call *conversion.Call, why conversion.Code, made *deal, content string) answer {
	by, _, once := m.rules(u, s)
	switch {
	case s.names:
		return m.applyToNamed(u, s, call, why, made, content, by, once)
	case s.web:
	case call == nil:
		return m.unmatched(u, s, why)
	case s.costOnly:
		return answer{verdict: conversion.Unchanged}
	}
	callID := ""
	if call != nil {
		callID = call.CallID
	}
	prior := m.prior(by, callID, s.facts)
	// An id that is part of the key belongs to what is under the key; one that isn't, to
	// whatever has it.
	reference, event := s.facts["reference_id"], s.facts["event_id"]
	has := func(part conversion.KeyPart) bool { return slices.Contains(by, part) }
	var same *deal
	switch {
	case reference != "" && has(conversion.KeyReferenceID), event != "" && has(conversion.KeyEventID) && !has(conversion.KeyCall):
		same = prior
	case reference != "":
		same = m.newest(func(d *deal) bool { return d.facts["reference_id"] == reference })
	}
	if call != nil && same != nil && same.call != "" && same.call != callID {
		return rejects(conversion.CluesConflict)
	}
	return m.byKey(u, s, call, nil, prior, made, content)
}

// byKey decides a row by the conversion that is held under its key, if any; one that is
// made is added to the parent, if there is one.
func (m *model) byKey(u *heard, s *said, call *conversion.Call, parent, prior *deal, made *deal, content string) answer {
	by, mode, once := m.rules(u, s)
	has := func(part conversion.KeyPart) bool { return slices.Contains(by, part) }
	its := call
	if call == nil && prior != nil {
		its = m.callOf(prior)
	}
	if has(conversion.KeyReferenceID) && s.facts["reference_id"] == "" {
		return rejects(conversion.OptionMissing)
	}
	if has(conversion.KeyEventID) && s.facts["event_id"] == "" && (mode == conversion.ModeIgnoreSameEvent || !has(conversion.KeyCall)) {
		return rejects(conversion.EventIDMissing)
	}
	adding := once && (mode == conversion.ModeCreate || mode == conversion.ModeCreateMarked || mode == conversion.ModeIncrementPayout)
	if adding && m.applied[content] {
		return answer{verdict: conversion.Unchanged, again: true}
	}
	var a answer
	switch {
	case prior == nil, mode == conversion.ModeCreate, mode == conversion.ModeCreateMarked:
		m.fill(made, s, call, parent, by, u)
		verdict := conversion.Created
		if mode == conversion.ModeCreateMarked {
			if made.facts["repeat"] = "new"; prior != nil {
				made.facts["repeat"], verdict = "repeated", conversion.Repeated
			}
		}
		a = m.keep(made, s, verdict)
	case mode == conversion.ModeIgnore, mode == conversion.ModeIgnoreSameEvent:
		a = answer{verdict: conversion.Ignored}
	case mode == conversion.ModeIncrementPayout:
		m.fill(made, s, its, parent, by, u)
		a = m.increment(prior, made.payout, s)
	default:
		a = m.update(prior, s, its)
	}
	if adding && changes(a) {
		m.applied[content] = true
	}
	return a
}

// changes reports whether an answer says that the ledger was changed.
func changes(a answer) bool {
	return slices.Contains([]conversion.Verdict{conversion.Created, conversion.Repeated, conversion.Incremented, conversion.Updated}, a.verdict)
}

// unmatched has a row without a call wait for it, if it may still come.
func (m *model) unmatched(u *heard, s *said, why conversion.Code) answer {
	since := u.received
	if s.hasStart {
		since = s.to
	}
	if why == conversion.CallNotFound && m.account.WaitForCalls > 0 && since.Add(m.account.WaitForCalls).After(m.now) {
		return answer{verdict: conversion.Waiting, codes: []conversion.Code{why}}
	}
	return rejects(why)
}

// applyToNamed decides a row about a conversion that it names.
func (m *model) applyToNamed(u *heard, s *said, call *conversion.Call, why conversion.Code, made *deal, content string, by []conversion.KeyPart, once bool) answer {
	if s.dealByClick && s.dealID == 0 && s.dealReference == "" && call == nil {
		return m.unmatched(u, s, why)
	}
	fits := func(d *deal) bool {
		return (s.dealType == "" || d.facts["event_type"] == s.dealType) && (s.dealCampaign == "" || d.facts["campaign"] == "" || d.facts["campaign"] == s.dealCampaign)
	}
	var named []*deal // one for each way that the row names it
	if s.dealID != 0 {
		named = append(named, m.newest(func(d *deal) bool { return d.id == s.dealID && fits(d) }))
	}
	if s.dealReference != "" {
		has := func(d *deal) bool { return d.facts["reference_id"] == s.dealReference && fits(d) }
		one := m.newest(has)
		if s.dealID != 0 && named[0] != nil && has(named[0]) {
			one = named[0]
		}
		named = append(named, one)
		if u.file.dialect != "impact-modify" && s.dealID == 0 {
			for _, d := range m.deals {
				if has(d) {
					named = append(named, d) // none is meant more than the others
				}
			}
		}
	}
	if s.dealByClick {
		named = append(named, m.newest(func(d *deal) bool { return call != nil && d.call == call.CallID && fits(d) }))
	}
	if len(named) == 0 || slices.Contains(named, nil) {
		return rejects(conversion.ConversionNotFound)
	}
	d := named[0]
	for _, other := range named {
		if other != d {
			return rejects(conversion.CluesConflict)
		}
	}
	if call != nil && d.call != "" && d.call != call.CallID {
		return rejects(conversion.CluesConflict)
	}
	if s.link {
		child := &deal{}
		m.fill(child, s, m.callOf(d), d, by, u)
		if prior := m.prior(by, d.call, child.facts); s.facts["reference_id"] != "" {
			return m.byKey(u, s, m.callOf(d), d, prior, made, content)
		}
	}
	adding := once && (s.addSale || s.addReceived || s.addPayout || s.link || s.note != "")
	if adding && m.applied[content] {
		return answer{verdict: conversion.Unchanged, again: true}
	}
	var a answer
	if s.link {
		m.fill(made, s, m.callOf(d), d, by, u)
		a = m.keep(made, s, conversion.Created)
	} else {
		a = m.update(d, s, m.callOf(d))
	}
	if adding && changes(a) {
		m.applied[content] = true
	}
	return a
}

// callOf is a conversion's call; nil for none.
func (m *model) callOf(d *deal) *conversion.Call {
	for i := range m.calls {
		if d.call != "" && m.calls[i].CallID == d.call {
			return &m.calls[i]
		}
	}
	return nil
}

// fill makes a new conversion of what a row says, and of what is known of its call
// and of the conversion that it is added to, if there are such.
func (m *model) fill(d *deal, s *said, call *conversion.Call, parent *deal, by []conversion.KeyPart, u *heard) {
	d.toldBy, d.facts, d.customer = by, maps.Clone(s.facts), maps.Clone(s.customer)
	d.sale, d.received, d.payout, d.status = s.sale, s.received, s.payout, s.status
	if d.status == "" {
		d.status = string(m.account.DefaultStatus)
	}
	d.at = u.received
	if s.hasStart {
		d.at = s.from
	}
	known := func(name, value string) {
		if d.facts[name] == "" && value != "" {
			d.facts[name] = value
		}
	}
	if parent != nil {
		d.facts["parent"], d.facts["parent_reference_id"] = fmt.Sprint(parent.id), s.dealReference
		known("campaign", parent.facts["campaign"])
		known("publisher", parent.facts["publisher"])
	}
	if call != nil {
		d.call, d.at = call.CallID, call.Start.Time()
		known("campaign", call.Campaign)
		known("publisher", call.Publisher)
	}
	if s.happensNow {
		d.at = u.received
	}
	if d.receivedSet = d.received.given; !d.receivedSet {
		d.received = m.pays(m.account.Received, d, call)
	}
	if d.payoutSet = d.payout.given; !d.payoutSet {
		d.payout = m.pays(m.account.Payouts, d, call)
	}
}

// keep adds a new conversion to the ledger.
func (m *model) keep(d *deal, s *said, verdict conversion.Verdict) answer {
	if m.locked(s, d.at, true) {
		return rejects(conversion.PeriodLocked)
	}
	m.places++
	d.place = m.places
	m.deals = append(m.deals, d)
	return answer{verdict: verdict, after: d.payout}
}

func (m *model) day(at time.Time) int {
	year, month, day := at.In(m.account.Zone).Date()
	return year*10000 + int(month)*100 + day
}

// locked reports whether a change would count for a closed day, or change what is of
// one without saying which open day it counts for.
func (m *model) locked(s *said, at time.Time, isNew bool) bool {
	own, counts := m.day(at), m.day(m.now)
	switch {
	case s.countsFrom == "custom":
		counts = s.day
	case s.countsFrom == "conversion_date", isNew:
		counts = own
	}
	return counts < m.account.LockBefore || !isNew && own < m.account.LockBefore && s.countsFrom == ""
}

// increment adds to a payout.
func (m *model) increment(d *deal, added money, s *said) answer {
	switch {
	case d.status == "reversed":
		return rejects(conversion.ConversionReversed)
	case !added.given || added.cents == 0:
		return answer{verdict: conversion.Unchanged}
	case slices.Contains([]string{"declined", "rejected", "returned"}, s.status):
		return answer{verdict: conversion.Unchanged}
	case d.payout.given && d.payout.currency != added.currency && !s.payout.given:
		return answer{verdict: conversion.Unchanged}
	case d.payout.given && d.payout.currency != added.currency:
		return rejects(conversion.CurrencyMismatch)
	case m.locked(s, d.at, false):
		return rejects(conversion.PeriodLocked)
	}
	before := d.payout
	d.payout, d.payoutSet = money{before.cents + added.cents, added.currency, true}, true
	return answer{verdict: conversion.Incremented, before: before, after: d.payout}
}

// update gives a conversion what a row says; blanks leave alone.
func (m *model) update(d *deal, s *said, call *conversion.Call) answer {
	if d.status == "reversed" {
		if s.reverse {
			return answer{verdict: conversion.Unchanged}
		}
		return rejects(conversion.ConversionReversed)
	}
	for _, pair := range [][2]money{{d.sale, s.sale}, {d.received, s.received}, {d.payout, s.payout}} {
		if pair[0].given && pair[1].given && pair[0].currency != pair[1].currency {
			return rejects(conversion.CurrencyMismatch)
		}
	}
	now := *d
	now.facts, now.customer = maps.Clone(d.facts), maps.Clone(d.customer)
	for name, value := range s.facts {
		if name == "reference_id" && s.dealReference != "" && d.facts["reference_id"] != "" {
			continue // it goes on being found under the name that the row used
		}
		if name == "sku_list" && value != d.facts[name] {
			delete(now.facts, "quantity_list") // they belong to the SKUs
		}
		now.facts[name] = value
	}
	if quantities := s.facts["quantity_list"]; quantities != "" {
		now.facts["quantity_list"] = quantities
	}
	maps.Copy(now.customer, s.customer)
	if s.note != "" {
		now.facts["note"] = strings.TrimPrefix(d.facts["note"]+"\n"+s.note, "\n")
	}
	if s.status != "" {
		now.status = s.status
	}
	now.sale, now.received = given(d.sale, s.sale, s.addSale), given(d.received, s.received, s.addReceived)
	if s.reverse && d.sale.cents != 0 {
		now.status, now.payoutSet, now.receivedSet = "reversed", false, false
		now.sale.cents, now.received.cents, now.payout.cents = 0, 0, 0
	} else {
		m.payAgain(d, &now, s, call)
	}
	if same(d, &now) {
		return answer{verdict: conversion.Unchanged}
	}
	if m.locked(s, d.at, false) {
		return rejects(conversion.PeriodLocked)
	}
	if key(d.toldBy, d.call, d.facts) != key(d.toldBy, d.call, now.facts) {
		m.places++
		now.place = m.places
	}
	before := d.payout
	*d = now
	return answer{verdict: conversion.Updated, before: before, after: d.payout}
}

// given is what an amount that is given makes of one that is held.
func given(held, given money, adds bool) money {
	switch {
	case !given.given:
		return held
	case adds && held.given:
		return money{held.cents + given.cents, given.currency, true}
	}
	return given
}

// same reports whether two states of a conversion say the same.
func same(a, b *deal) bool {
	return maps.Equal(a.facts, b.facts) && maps.Equal(a.customer, b.customer) && a.sale == b.sale && a.received == b.received && a.payout == b.payout && a.status == b.status
}

// payAgain has what a conversion earns and pays follow what has changed. What a row
// has set stays.
func (m *model) payAgain(was, now *deal, s *said, call *conversion.Call) {
	now.receivedSet = s.received.given || was.receivedSet && !s.saleDecides
	if now.sale != was.sale && !now.receivedSet {
		if earned := m.pays(m.account.Received, now, call); earned.given && (!was.received.given || was.received.currency == earned.currency) {
			now.received = earned
		}
	}
	rule := m.rule(m.account.Payouts, now, call)
	switch {
	case s.revshare && rule != nil && rule.HasPercent:
		now.payoutSet = false
	case s.payout.given:
		now.payout, now.payoutSet = given(was.payout, s.payout, s.addPayout), true
		return
	case s.keepPayout, was.payoutSet, now.sale == was.sale && now.received == was.received && !judgedOtherwise(was.facts, now.facts):
		return
	}
	switch paid := m.pays(m.account.Payouts, now, call); {
	case was.payout.given && !paid.given:
		now.payout.cents = 0
	case was.payout.given && paid.currency != was.payout.currency:
	default:
		now.payout = paid
	}
}

// judgedOtherwise reports whether facts differ that payout rules look at.
func judgedOtherwise(was, now map[string]string) bool {
	return slices.ContainsFunc([]string{"event_type", "reason_code", "sku_list", "campaign", "publisher", "value"}, func(fact string) bool { return was[fact] != now[fact] })
}

// rule is the first rule whose conditions a conversion meets; nil for none.
func (m *model) rule(rules []conversion.PayoutRule, d *deal, call *conversion.Call) *conversion.PayoutRule {
	in := func(of []string, value string) bool { return len(of) == 0 || slices.Contains(of, value) }
	for i := range rules {
		r := &rules[i]
		sold := len(r.SKUs) == 0
		for sku := range strings.SplitSeq(d.facts["sku_list"], ",") {
			sold = sold || slices.Contains(r.SKUs, sku)
		}
		publisher, _ := path.Match(r.Publisher, d.facts["publisher"])
		large := !r.MinSale.Given || d.sale.given && d.sale.currency == string(r.MinSale.Currency) && d.sale.cents >= r.MinSale.Minor
		long := r.MinDuration == 0 || call != nil && time.Duration(call.Duration)*time.Second >= r.MinDuration
		countable := !r.HasPercent || d.sale.given && (!r.Cap.Given || string(r.Cap.Currency) == d.sale.currency)
		if d.facts["value"] != "false" && in(r.ReasonCodes, d.facts["reason_code"]) && in(r.EventTypes, d.facts["event_type"]) && sold && (r.Publisher == "" || publisher) && large && long && countable {
			return r
		}
	}
	return nil
}

// pays is what rules give for a conversion: a fixed sum, or a share of the sale
// rounded to the cent, of two equally near cents the even one.
func (m *model) pays(rules []conversion.PayoutRule, d *deal, call *conversion.Call) money {
	r := m.rule(rules, d, call)
	switch {
	case r == nil:
		return money{}
	case !r.HasPercent:
		return money{r.Fixed.Minor, string(r.Fixed.Currency), true}
	}
	rate, _ := new(big.Rat).SetString(r.Percent.String())
	exact := new(big.Rat).Mul(big.NewRat(d.sale.cents, 100), rate)
	whole, rest := new(big.Int).QuoRem(exact.Num(), exact.Denom(), new(big.Int))
	twice := new(big.Int).Lsh(rest, 1)
	if more := twice.Cmp(exact.Denom()); more > 0 || more == 0 && whole.Bit(0) == 1 {
		whole.Add(whole, big.NewInt(1))
	}
	share := money{whole.Int64(), d.sale.currency, true}
	if r.Cap.Given && share.cents > r.Cap.Minor {
		share.cents = r.Cap.Minor
	}
	return share
}

// --- the model beside the program

// holds is what the model's ledger comes to, by conversion and by call.
func (m *model) holds() map[string]string {
	all := map[string]string{}
	for _, d := range m.deals {
		all[fmt.Sprint(d.id)] = told(d.call, d.sale, d.received, d.payout, d.status, d.facts, d.customer)
	}
	for call, cost := range m.cost {
		all["cost of "+call] = cost.String()
	}
	return all
}

func told(call string, sale, received, payout money, status string, facts, customer map[string]string) string {
	return fmt.Sprintf("call %s sale %s received %s payout %s status %q %v %v", call, sale, received, payout, status, facts, customer)
}

// holds is what the program's ledger comes to, told as the model tells its own.
func (p *past) holds() map[string]string {
	p.t.Helper()
	all := map[string]string{}
	plain := func(a conversion.Amount) money { return money{a.Minor, string(a.Currency), a.Given} }
	err := p.db.ListConversions(p.t.Context(), "", 0, func(c *conversion.Conversion, _, callID string) error {
		facts, customer := map[string]string{}, map[string]string{}
		for _, part := range c.Parts() {
			if *part.Value != "" && part.Name != "payout_by" && part.Name != "received_by" && part.Name != "customer" {
				facts[part.Name] = *part.Value
			}
		}
		if c.Customer != "" {
			if err := json.Unmarshal([]byte(c.Customer), &customer); err != nil {
				return err
			}
		}
		all[fmt.Sprint(c.ID)] = told(callID, plain(c.Sale), plain(c.Received), plain(c.Payout), string(c.Status), facts, customer)
		return nil
	})
	if err == nil {
		err = p.db.ListCalls(p.t.Context(), "", 0, func(c conversion.Call, _ string) error {
			if c.Cost.Given {
				all["cost of "+c.CallID] = plain(c.Cost).String()
			}
			return nil
		})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return all
}

// wantAsModel compares what the program said of each row and what it holds with the
// model.
func (p *past) wantAsModel(m *model) {
	p.t.Helper()
	for _, u := range m.uploads {
		outcomes := p.outcomes(u.id)
		if len(outcomes) != len(u.answers) {
			p.t.Errorf("upload %d: %d rows were decided; the model has %d", u.id, len(outcomes), len(u.answers))
			continue
		}
		for i, want := range u.answers {
			got := outcomes[i]
			fits := got.Verdict == want.verdict && (got.Code == "" && len(want.codes) == 0 || slices.Contains(want.codes, got.Code))
			if fits && (want.before.given || want.after.given) {
				before, after := money{got.PayoutBefore.Minor, string(got.PayoutBefore.Currency), got.PayoutBefore.Given}, money{got.PayoutAfter.Minor, string(got.PayoutAfter.Currency), got.PayoutAfter.Given}
				fits = before == want.before && after == want.after
			}
			if !fits {
				p.t.Errorf("upload %d line %d is %s %s, payout %s → %s (%s %s)\nin the model it is %s %v, payout %s → %s\n%v", u.id, i+2, got.Verdict, got.Code, got.PayoutBefore, got.PayoutAfter, got.Message, got.Rule,
					want.verdict, want.codes, want.before, want.after, u.file.rows[i].cells)
			}
		}
	}
	got, want := p.holds(), m.holds()
	for _, name := range slices.Sorted(maps.Keys(merged(got, want))) {
		if got[name] != want[name] {
			p.t.Errorf("%s is\n%s\nin the model it is\n%s", name, got[name], want[name])
		}
	}
}

// The program decides as the model does, whatever the rules and the files.
func TestModel(t *testing.T) {
	eachHistory(t, 1, draw.filing, func(t *testing.T, h *history) {
		p, m := begin(t, h), newModel(h)
		for i, s := range h.steps {
			p.goOn(s)
			now := p.clock.Now()
			if s.file != nil {
				m.take(s.file, now)
			} else {
				m.learn(h.calls[:s.calls], now)
			}
			if p.wantAsModel(m); t.Failed() {
				t.Fatalf("it went otherwise in step %d", i+1)
			}
		}
	})
}

// What the model has found, in its smallest form.
func TestModelFound(t *testing.T) {
	for _, found := range []finding{
		{"a payout is in the currency that its row names, also if the row gives no sale", func(a *conversion.Account) { a.Columns = map[string]string{"paid": "payout"} }, func(b *bench) {
			at := callStart(0).Format(time.RFC3339)
			b.deliver("1.csv", "start_time,sale_amount,sale_currency,paid\n"+at+",,EUR,7.00\n")
			b.wantHeld("C0", "payout 7.00 EUR")
		}},
		{"a blank reference contradicts nothing", func(a *conversion.Account) {
			a.Duplicates.Key, a.LinkChildren = []conversion.KeyPart{conversion.KeyReferenceID}, true
		}, func(b *bench) {
			b.deliver("1.csv", parentHeader+own(0, "R0", "S", "10.00"))
			b.deliver("2.csv", parentHeader+child("R0", "S", "20.00")) // linked, and without a reference of its own
			b.wantVerdicts(b.deliver("3.csv", table(line(1, "", "S", "30.00"))).ID, "rejected:option_missing")
		}},
		{"an address alone changes no payout", nil, func(b *bench) {
			const header = "start_time,calling_phone_number,reference_id,sale_amount,email_address\n"
			row := fmt.Sprintf("%s,+%d,R0,", callStart(0).Format(time.RFC3339), int64(caller(0)))
			b.deliver("1.csv", header+row+"10.00,\n")
			b.deliver("2.csv", "transaction_id,received,received_option\nR0,200.00,total_sale_amount\n") // leaves the payout
			b.wantHeld("C0", "payout 1.00 USD")
			b.deliver("3.csv", header+row+",jo@acme.example\n")
			b.wantHeld("C0", "payout 1.00 USD")
		}},
		{"a row that was applied in an earlier file says nothing of its call's cost again", func(a *conversion.Account) { a.Duplicates.Mode = conversion.ModeCreate }, func(b *bench) {
			b.deliver("1.csv", clicks+"K0,,,10.00,,0.50\n")
			b.deliver("2.csv", clicks+"K0,,,11.00,,0.75\n")
			b.wantVerdicts(b.deliver("3.csv", clicks+"K0,,,10.00,,0.50\nK0,,,12.00,,\n").ID, "unchanged created")
			b.wantCost("0.75")
		}},
		{"a row that is ignored says nothing of its call's cost", func(a *conversion.Account) { a.Duplicates.Mode = conversion.ModeIgnore }, func(b *bench) {
			b.deliver("1.csv", clicks+"K0,,,10.00,,0.50\n")
			b.wantVerdicts(b.deliver("2.csv", clicks+"K0,,,11.00,,0.75\n").ID, "ignored")
			b.wantCost("0.50")
		}},
		{"a call may be of any age for what corrects its conversion", nil, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
			b.account.Match.Lookback = time.Minute
			b.wantVerdicts(b.deliver("2.csv", table(line(1, "R1", "S", "10.00"))).ID, "rejected:call_too_old")
			b.wantVerdicts(b.deliver("3.csv", "transaction_id,received,received_option\nR0,20.00,total_sale_amount\n").ID, "updated")
			b.wantHeld("C0", "sale 20.00 USD")
		}},
	} {
		t.Run(found.what, found.run)
	}
}

// wantHeld checks what the only conversion of a call comes to.
func (b *bench) wantHeld(call, want string) {
	b.t.Helper()
	err := b.db.ListConversions(b.t.Context(), "", 0, func(c *conversion.Conversion, _, callID string) error {
		text := fmt.Sprintf("sale %s %s, payout %s %s", c.Sale, c.Sale.Currency, c.Payout, c.Payout.Currency)
		if callID == call && !strings.Contains(text, want) {
			b.t.Errorf("call %s has %s, want %s", call, text, want)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}
