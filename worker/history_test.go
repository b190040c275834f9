package worker_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/folder"
	"calltally/store"
	"calltally/worker"
)

// A history is an account with its rules and what happens to it, all made up from
// a seed: files that come, come again or come in part once more, calls that come
// late, undos and replays. There are few calls, references and amounts, so that
// rows often speak of the same conversion.
type history struct {
	seed    uint64
	account *conversion.Account
	// partner are the duplicate rules of the source "partner"; the source "desk"
	// has none of its own.
	partner conversion.DuplicateRules
	calls   []conversion.Call
	known   int // how many of the calls are known from the start
	steps   []step
}

// step is one thing that happens. One of file, calls, undo and replay is set.
type step struct {
	later  time.Duration // how long after the one before
	file   *sentFile
	calls  int // how many of the calls are known from now on
	undo   int // the upload so many back is taken back; the last one is 1
	replay int // … or decided again
	dice   int // what else is tried on the occasion
}

// sentFile is a file as its sender sees it.
type sentFile struct {
	source, dialect string
	columns         []string
	rows            []sentRow
}

// sentRow is what a row says, by column; none of it is blank.
type sentRow struct {
	cells map[string]string
	torn  bool // it has a cell more than the header
}

// content is the file's bytes. Row i stands on line i+2.
func (f *sentFile) content() string {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Write(f.columns)
	for _, row := range f.rows {
		var cells []string
		for _, column := range f.columns {
			cells = append(cells, row.cells[column])
		}
		if row.torn {
			cells = append(cells, "more")
		}
		w.Write(cells)
	}
	w.Flush()
	return b.String()
}

// String tells the history in a failed test's log.
func (h *history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\naccount %+v\nevent types %+v\npayouts %+v\nreceived %+v\npartner %+v\n", h.seed, h.account.Duplicates, h.account.EventTypes, h.account.Payouts, h.account.Received, h.partner)
	fmt.Fprintf(&b, "match %+v wait %s default status %q link %t row payouts %t options %v locked before %d error limit %d\n", h.account.Match, h.account.WaitForCalls, h.account.DefaultStatus,
		h.account.LinkChildren, !h.account.NoRowPayouts, h.account.Options, h.account.LockBefore, h.account.ErrorLimit)
	for i, c := range h.calls {
		late := ""
		if i >= h.known {
			late = "late "
		}
		fmt.Fprintf(&b, "%scall %s %s %d s %s → %s transaction %s external %s click %s campaign %s publisher %s\n", late, c.CallID, c.Start, c.Duration, c.Caller, c.Called, c.TransactionID, c.ExternalID, c.ClickID, c.Campaign, c.Publisher)
	}
	for i, s := range h.steps {
		fmt.Fprintf(&b, "step %d, %s later: ", i+1, s.later)
		switch {
		case s.file != nil:
			fmt.Fprintf(&b, "%s sends %s\n%s", s.file.source, s.file.dialect, s.file.content())
		case s.undo > 0:
			fmt.Fprintf(&b, "undo %d back\n", s.undo)
		case s.replay > 0:
			fmt.Fprintf(&b, "replay %d back\n", s.replay)
		default:
			fmt.Fprintf(&b, "calls up to %d\n", s.calls)
		}
	}
	return b.String()
}

// files are the files so far.
func (h *history) files() []*sentFile {
	var files []*sentFile
	for _, s := range h.steps {
		if s.file != nil {
			files = append(files, s.file)
		}
	}
	return files
}

// rowsOf are all rows of a dialect so far.
func (h *history) rowsOf(dialect string) []sentRow {
	var rows []sentRow
	for _, file := range h.files() {
		if file.dialect == dialect {
			rows = append(rows, file.rows...)
		}
	}
	return rows
}

// histories is how many histories a test goes through: all of them, or a share.
func histories(t *testing.T, share int) uint64 {
	t.Helper()
	all := 50
	if text := os.Getenv("CALLTALLY_HISTORIES"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("CALLTALLY_HISTORIES is %q, which is no number", text)
		}
		all = n
	}
	return uint64(max(all/share, 1))
}

// eachHistory runs a test for one history after another, as many at a time as
// there are processors, and tells the history of those that fail.
func eachHistory(t *testing.T, share int, make func(draw, uint64) *history, test func(*testing.T, *history)) {
	t.Helper()
	for seed := range histories(t, share) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			h := make(newDraw(seed), seed)
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(h)
				}
			})
			test(t, h)
		})
	}
}

func (d draw) oneIn(n int) bool { return d.IntN(n) == 0 }

// history makes up a history in which anything may happen.
func (d draw) history(seed uint64) *history {
	h := d.opening(seed)
	for len(h.steps) < 3+d.IntN(6) {
		s, n := d.anyStep(h), len(h.steps)+1
		begun := slices.ContainsFunc(h.steps, func(s step) bool { return s.file != nil })
		switch chance := d.IntN(10); {
		case chance < 2 && begun:
			s = step{undo: 1 + d.IntN(n)}
		case chance == 2 && begun:
			s = step{replay: 1 + d.IntN(n)}
		}
		h.add(d, s)
	}
	return h
}

// filing makes up a history of nothing but files and calls.
func (d draw) filing(seed uint64) *history {
	h := d.opening(seed)
	for len(h.steps) < 3+d.IntN(6) {
		h.add(d, d.anyStep(h))
	}
	return h
}

func (h *history) add(d draw, s step) {
	s.dice = d.IntN(1 << 20)
	s.later = []time.Duration{time.Minute, time.Minute, time.Hour, 30 * time.Hour}[d.IntN(4)]
	if d.oneIn(20) {
		s.later = 8 * 24 * time.Hour // no row waits as long
	}
	h.steps = append(h.steps, s)
}

// opening makes up an account and its calls.
func (d draw) opening(seed uint64) *history {
	h := &history{seed: seed, account: testAccount()}
	d.settle(h.account)
	if d.oneIn(3) {
		h.partner = d.duplicates()
	}
	h.calls = d.calls()
	h.known = len(h.calls)
	if d.oneIn(3) {
		h.known = d.IntN(len(h.calls) + 1)
	}
	return h
}

// anyStep makes up a file, or has calls come.
func (d draw) anyStep(h *history) step {
	known, before := h.known, h.files()
	for _, s := range h.steps {
		known = max(known, s.calls)
	}
	if known < len(h.calls) && d.oneIn(4) {
		return step{calls: known + 1 + d.IntN(len(h.calls)-known)}
	}
	file := d.file(h)
	if len(before) > 0 {
		earlier := before[d.IntN(len(before))]
		switch d.IntN(5) {
		case 0:
			again := *earlier
			again.source = file.source
			file = &again
		case 1, 2:
			file = d.overlapping(earlier, file)
		}
	}
	return step{file: file}
}

// overlapping makes up a file that has some of another's rows, and some of its own
// if it is of the same dialect.
func (d draw) overlapping(earlier, own *sentFile) *sentFile {
	file := &sentFile{source: own.source, dialect: earlier.dialect, columns: earlier.columns}
	for _, row := range earlier.rows {
		for d.oneIn(2) && len(file.rows) < 10 {
			file.rows = append(file.rows, row)
		}
	}
	if own.dialect == earlier.dialect || len(file.rows) == 0 {
		file.dialect, file.columns = own.dialect, own.columns
		file.rows = append(file.rows, own.rows...)
	}
	if d.oneIn(2) {
		d.Shuffle(len(file.rows), func(i, j int) { file.rows[i], file.rows[j] = file.rows[j], file.rows[i] })
	}
	return file
}

var drawnKeys = [][]conversion.KeyPart{
	nil, nil, nil, nil, nil, nil, conversion.DefaultKey,
	{conversion.KeyCall, conversion.KeyEventType},
	{conversion.KeyReferenceID},
	{conversion.KeyReferenceID, conversion.KeyEventType},
	{conversion.KeyCall, conversion.KeyEventID},
}

// duplicates makes up duplicate rules; each may be left open.
func (d draw) duplicates() conversion.DuplicateRules {
	rules := conversion.DuplicateRules{Key: drawnKeys[d.IntN(len(drawnKeys))]}
	if !d.oneIn(4) {
		rules.Mode = conversion.Modes[d.IntN(len(conversion.Modes))]
	}
	if d.oneIn(3) {
		rules.Repeats = []conversion.Repeats{conversion.RepeatsOnce, conversion.RepeatsApply}[d.IntN(2)]
	}
	return rules
}

// settle makes up an account's rules.
func (d draw) settle(a *conversion.Account) {
	a.Duplicates = d.duplicates()
	a.EventTypes = []conversion.EventType{{Name: "Sale", Codes: []string{"7"}}, {Name: "Lead", Codes: []string{"8"}}}
	for i := range a.EventTypes {
		if d.oneIn(2) {
			a.EventTypes[i].Duplicates = d.duplicates()
		}
	}
	a.Payouts = d.payoutRules()
	if d.oneIn(3) {
		a.Received = []conversion.PayoutRule{{HasPercent: true, Percent: decimal.RequireFromString("12.5")}}
	}
	a.NoRowPayouts, a.LinkChildren = d.oneIn(16), d.oneIn(5)
	a.DefaultStatus = conversion.Status(d.oneOf("", "", "approved", "pending"))
	if !d.oneIn(3) {
		a.WaitForCalls = 7 * 24 * time.Hour
	}
	if d.oneIn(6) {
		a.LockBefore = 20260331
	}
	if d.oneIn(12) {
		a.ErrorLimit = 1 + d.IntN(3)
	}
	a.Columns = map[string]string{"event no": "event_id", "paid": "payout", "state": "status"}
	if d.oneIn(4) {
		a.Options = map[string]string{"add_to_existing_payout": d.oneOf("true", "false"), "received_option": d.oneOf("total_sale_amount", "additional_revenue")}
	}
}

// payoutRules makes up rules some of whose shares end at half a cent.
func (d draw) payoutRules() []conversion.PayoutRule {
	percent := func(text string) conversion.PayoutRule {
		return conversion.PayoutRule{HasPercent: true, Percent: decimal.RequireFromString(text)}
	}
	fixed := conversion.PayoutRule{Fixed: conversion.Cents(500, "USD")}
	reason, sku, publisher, large, long, event, capped := percent("50"), percent("33"), fixed, percent("12.5"), fixed, percent("5"), percent("25")
	reason.ReasonCodes, sku.SKUs, publisher.Publisher, event.EventTypes = []string{"S"}, []string{"X", "Z"}, "pub*", []string{"Lead"}
	large.MinSale, long.MinDuration, capped.Cap = conversion.Cents(2000, "USD"), 70*time.Second, conversion.Cents(300, "USD")
	pool := []conversion.PayoutRule{percent("10"), fixed, reason, sku, publisher, large, long, event, capped}
	var rules []conversion.PayoutRule
	for range d.IntN(4) {
		rules = append(rules, pool[d.IntN(len(pool))])
	}
	return rules
}

// calls makes up calls of few callers, some of them close to each other, some of
// one click.
func (d draw) calls() []conversion.Call {
	starts := []time.Duration{0, []time.Duration{8 * time.Second, 15 * time.Second, 2 * time.Minute}[d.IntN(3)], 20 * time.Minute, -24 * time.Hour}
	var calls []conversion.Call
	for i, off := range starts {
		calls = append(calls, conversion.Call{
			CallID: fmt.Sprint("C", i), TransactionID: fmt.Sprint("T", i), ExternalID: fmt.Sprint("X", i), ClickID: fmt.Sprint("K", i),
			Start: conversion.MillisOf(callStart(0).Add(off)), Duration: 60 + 15*d.IntN(3), Caller: caller(d.IntN(3)), Called: conversion.Phone(18005550100 + d.IntN(2)),
			Campaign: d.oneOf("camp", "camp", "other"), Publisher: d.oneOf("pub", "acme"),
		})
	}
	if d.oneIn(4) {
		calls[3].ClickID = "K0"
	}
	d.Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
	return calls
}

// columns are the columns of the dialects' files. What an account calls event no,
// paid and state is mapped to event_id, payout and status.
var columns = map[string][]string{
	"invoca": {"start_time", "start_time_t", "calling_phone_number", "called_phone_number", "duration_in_seconds", "reference_id", "parent_reference_id", "event_type", "reason_code",
		"sku_list", "quantity_list", "sale_amount", "sale_currency", "web_conversion", "advertiser_campaign_id", "affiliate_id_from_network", "email_address", "event no", "paid", "state"},
	"invoca-signal": {"transaction_id", "call_record_id", "external_call_unique_id", "call_start_time", "calling_phone_number", "name", "partner_unique_id", "revenue", "value"},
	"redtrack":      {"clickid", "type", "status", "sum", "currency", "rdtk_event_id", "cost"},
	"cake": {"conversion_id", "request_session_id", "transaction_id", "offer_id", "payout", "add_to_existing_payout", "received", "received_option", "disposition_type",
		"update_revshare_payout", "effective_date_option", "custom_date", "note_to_append"},
	"impact-modify": {"ActionId", "OrderId", "ActionTrackerId", "Amount", "Reason", "CustomerStatus"},
}

// file makes up a file of 2 to 10 rows.
func (d draw) file(h *history) *sentFile {
	dialect := d.oneOf("invoca", "invoca", "invoca", "redtrack", "redtrack", "cake", "cake", "cake", "impact-modify", "invoca-signal")
	if len(h.files()) == 0 { // nothing is held yet that a file could change
		dialect = d.oneOf("invoca", "invoca", "invoca", "redtrack", "invoca-signal")
	}
	file := &sentFile{source: d.oneOf("desk", "desk", "partner"), dialect: dialect, columns: columns[dialect]}
	for n := 2 + d.IntN(d.IntN(8)+2); len(file.rows) < n; {
		if len(file.rows) > 0 && d.oneIn(6) { // the same row once more
			file.rows = append(file.rows, file.rows[d.IntN(len(file.rows))])
			continue
		}
		row := sentRow{cells: map[string]string{}, torn: d.oneIn(80)}
		cells := d.cells(dialect, h)
		if earlier := h.rowsOf(dialect); len(earlier) > 0 && d.oneIn(3) {
			cells = d.reworded(earlier[d.IntN(len(earlier))].cells, cells)
		}
		if d.oneIn(12) {
			d.damage(cells)
		}
		for column, cell := range cells {
			if cell != "" && slices.Contains(file.columns, column) {
				row.cells[column] = cell
			}
		}
		if len(row.cells) > 0 { // a blank line is no row
			file.rows = append(file.rows, row)
		}
	}
	return file
}

// reworded is a row that says some things otherwise than an earlier one, or not any
// more.
func (d draw) reworded(earlier, others map[string]string) map[string]string {
	cells := maps.Clone(earlier)
	for _, column := range slices.Sorted(maps.Keys(others)) {
		if d.oneIn(6) {
			cells[column] = d.oneOf("", others[column])
		}
	}
	for _, column := range []string{"sale_amount", "paid", "sum", "payout", "email_address"} {
		if cells[column] != "" && d.oneIn(3) {
			cells[column] = ""
		}
	}
	return cells
}

// damage spoils a row, if it has such a cell.
func (d draw) damage(cells map[string]string) {
	for _, cell := range [][2]string{
		{d.oneOf("sale_amount", "sum", "payout", "Amount", "revenue", "received", "paid"), d.oneOf("oops", "-5.00")},
		{d.oneOf("calling_phone_number", "reference_id"), "911911911911911911"},
		{d.oneOf("event_type", "type", "name", "ActionTrackerId"), "sale"},
		{d.oneOf("status", "disposition_type", "state", "received_option"), "bogus"},
		{d.oneOf("start_time", "call_start_time", "clickid", "Reason", "name"), d.oneOf("", "K9", "yesterday")},
		{d.oneOf("sale_currency", "currency"), "XYZ"},
		{d.oneOf("quantity_list", "conversion_id"), "0"},
		{d.oneOf("add_to_existing_payout", "value", "web_conversion"), "perhaps"},
	} {
		if d.oneIn(4) {
			cells[cell[0]] = cell[1]
		}
	}
}

func (d draw) cells(dialect string, h *history) map[string]string {
	call := h.calls[d.IntN(len(h.calls))]
	switch dialect {
	case "invoca":
		return d.invocaCells(h, call)
	case "invoca-signal":
		return d.signalCells(call)
	case "redtrack":
		return map[string]string{
			"clickid": call.ClickID, "type": d.oneOf("Sale", "Lead", "Lead", "", "7"),
			"status": d.oneOf("", "", "approved", "pending", "declined"), "sum": d.drawnAmount(), "currency": d.oneOf("", "", "", "", "", "", "", "", "EUR"),
			"rdtk_event_id": d.oneOf("e1", "e1", "e2", ""), "cost": d.oneOf("", "", "0.50", "0.75"),
		}
	case "cake":
		return d.cakeCells(h, call)
	}
	cells := map[string]string{"Amount": d.oneOf("", "0", "10.00", "30.35", "30.35"), "Reason": d.oneOf("returned", "typo"), "CustomerStatus": d.oneOf("", "new")}
	if d.oneIn(3) {
		cells["ActionId"] = d.knownID(h)
	} else {
		cells["OrderId"], cells["ActionTrackerId"] = d.knownReference(h, call), d.oneOf("Sale", "7", "Lead", "8")
	}
	return cells
}

func (d draw) drawnAmount() string {
	return d.oneOf("", "0", "10.00", "20.25", "20.25", "30.35", "30.35")
}

// reference is mostly one that rows on the same call have: on another call it would
// be a contradiction.
func (d draw) reference(call conversion.Call) string {
	own := "R" + call.CallID[1:]
	return d.oneOf(own, own, own, own, own+"b", own+"b", "R0")
}

// knownReference is mostly one that a row of an earlier file gave.
func (d draw) knownReference(h *history, call conversion.Call) string {
	known := []string{d.reference(call)}
	for _, file := range h.files() {
		for _, row := range file.rows {
			if reference := row.cells["reference_id"]; reference != "" {
				known = append(known, reference)
			}
		}
	}
	return d.oneOf(known...)
}

// knownID is mostly the id of a conversion which a row of an earlier file made.
func (d draw) knownID(h *history) string {
	ids := []string{conversion.FormatID(conversion.MakeID(int64(len(h.files())+1), 2))}
	for n, file := range h.files() {
		if file.dialect == "cake" || file.dialect == "impact-modify" {
			continue
		}
		for i := range file.rows {
			ids = append(ids, conversion.FormatID(conversion.MakeID(int64(n+1), i+2)))
		}
	}
	return d.oneOf(ids...)
}

// start writes when a call started: mostly right, in several ways.
func (d draw) start(call conversion.Call) string {
	at := call.Start.Time()
	switch d.IntN(40) {
	case 0:
		at = at.Add(-100 * 24 * time.Hour)
	case 1:
		at = at.Add(100 * 24 * time.Hour)
	case 2, 3:
		at = at.Add(-time.Hour)
	case 4, 5, 6, 7:
		at = at.Add([]time.Duration{3 * time.Second, -20 * time.Second, 70 * time.Second, 11 * time.Second}[d.IntN(4)])
	case 8, 9, 10:
		return at.In(testAccount().Zone).Format("2006/01/02 15:04")
	}
	return at.Format(time.RFC3339)
}

func (d draw) invocaCells(h *history, call conversion.Call) map[string]string {
	cells := map[string]string{
		"reference_id": d.oneOf("", d.reference(call), d.reference(call), d.reference(call), d.reference(call)), "event_type": d.oneOf("", "", "Sale", "Lead", "7"), "reason_code": d.oneOf("", "S", "S", "L"),
		"sale_amount": d.drawnAmount(), "email_address": d.oneOf("", "", "jo@acme.example", "al@acme.example"), "event no": d.oneOf("e1", "e1", "e2", ""),
		"paid": d.oneOf("", "", "", "", "5.00", "7.00"), "state": d.oneOf("", "", "", "", "approved", "returned"),
	}
	if d.oneIn(6) {
		cells["sku_list"], cells["quantity_list"] = "X,Y", d.oneOf("", "", "2,3")
	}
	switch kind := d.IntN(12); {
	case kind == 0:
		cells["web_conversion"], cells["advertiser_campaign_id"], cells["affiliate_id_from_network"], cells["reference_id"] = "1", d.oneOf("camp", "camp", "camp", ""), "pub", d.oneOf("W", "W", "V")
		return cells
	case kind < 3 && len(h.files()) > 0:
		cells["parent_reference_id"] = d.knownReference(h, call)
		if d.oneIn(2) {
			return cells
		}
	}
	if cells["start_time"] = d.start(call); d.oneIn(8) {
		cells["start_time_t"] = strconv.FormatInt(int64(call.Start/1000), 10)
	}
	cells["calling_phone_number"] = d.oneOf(call.Caller.String(), call.Caller.String(), call.Caller.String(), call.Caller.String(), call.Caller.String(), "", "anonymous", caller(d.IntN(4)).String())
	switch d.IntN(20) {
	case 0:
		cells["sale_currency"] = "EUR"
	case 1:
		cells["called_phone_number"] = "+18005550199"
	case 2, 3:
		cells["called_phone_number"] = call.Called.String()
	case 4, 5, 6:
		cells["duration_in_seconds"] = strconv.Itoa(call.Duration)
	case 7:
		cells["advertiser_campaign_id"] = "camp"
	}
	return cells
}

func (d draw) signalCells(call conversion.Call) map[string]string {
	cells := map[string]string{
		"name": d.oneOf("sale", "SALE", "Lead", "Lead", "7"), "partner_unique_id": d.oneOf("", "e1", "e1", "e2"), "revenue": d.drawnAmount(), "value": d.oneOf("", "", "", "true", "no"),
	}
	switch d.IntN(5) {
	case 0:
		cells["transaction_id"] = call.TransactionID
	case 1:
		cells["call_record_id"] = call.CallID
	case 2:
		cells["external_call_unique_id"], cells["call_record_id"] = call.ExternalID, d.oneOf("", call.CallID, "C1")
	}
	if len(cells) == 4 || d.oneIn(4) {
		cells["call_start_time"] = d.start(call)
		cells["calling_phone_number"] = d.oneOf("", call.Caller.String(), call.Caller.String(), caller(0).String())
	}
	return cells
}

func (d draw) cakeCells(h *history, call conversion.Call) map[string]string {
	cells := map[string]string{
		"offer_id": d.oneOf("", "", "", "", "", "0", "camp"), "payout": d.drawnAmount(), "received": d.oneOf("", d.drawnAmount()),
		"disposition_type": d.oneOf("", "", "", "approved", "returned", "no_change"), "note_to_append": d.oneOf("", "", "", "", "checked"),
	}
	if cells["payout"] != "" && !d.oneIn(20) {
		cells["add_to_existing_payout"] = d.oneOf("1", "0", "true", "false")
	}
	if cells["received"] != "" && !d.oneIn(20) {
		cells["received_option"] = d.oneOf("total_sale_amount", "additional_sale_amount", "total_revenue", "additional_revenue", "no_change")
	}
	if d.oneIn(8) {
		cells["update_revshare_payout"] = "1"
	}
	switch d.IntN(8) {
	case 0:
		cells["effective_date_option"] = d.oneOf("today", "conversion_date")
	case 1:
		cells["effective_date_option"], cells["custom_date"] = "custom", d.oneOf("03/30/2026 12:00:00", "04/01/2026 12:00:00", "04/01/2026 12:00:00")
	}
	switch d.IntN(8) {
	case 0, 1:
		cells["conversion_id"] = d.knownID(h)
	case 2, 3, 5:
		cells["request_session_id"] = call.ClickID
	case 4:
		cells["transaction_id"], cells["request_session_id"] = d.knownReference(h, call), d.oneOf(call.ClickID, "0")
	default:
		cells["transaction_id"] = d.knownReference(h, call)
	}
	return cells
}

// emptyStore are the bytes of a store that is ready and holds nothing: making one
// takes longer than most histories.
var emptyStore = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "calltally-empty-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "calltally.db")
	db, err := store.Open(context.Background(), file)
	if err == nil {
		err = db.Close()
	}
	content, read := os.ReadFile(file)
	return content, errors.Join(err, read)
})

// past is a history as it goes on, on a bench of its own.
type past struct {
	*bench
	h         *history
	delivered int
	// came are the deliveries so far, by upload.
	came map[int64]*sentFile
	// was is what a conversion came to after so many changes.
	was map[stage]string
	// learned is how many calls are known, knew how many were when an upload came.
	learned int
	knew    map[int64]int
}

type stage struct {
	conversion int64
	changes    int
}

// begin makes a bench for a history.
func begin(t *testing.T, h *history) *past {
	t.Helper()
	empty, err := emptyStore()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, clock: &clock{now: noon}, account: h.account, post: &postbox{}, file: filepath.Join(t.TempDir(), "calltally.db")}
	if err := os.WriteFile(b.file, empty, 0o666); err != nil {
		t.Fatal(err)
	}
	b.path = t.TempDir()
	b.drop = &ingest.Drop{Label: "drop", Place: folder.Folder(b.path), Account: b.account.ID, Takes: conversion.TakesConversions, Now: b.clock.Now}
	b.db = openStore(t, b.file)
	b.Worker = b.another(b.db)
	b.Log = slog.New(slog.DiscardHandler)
	b.Plans = []worker.Plan{
		{Source: &pile{name: "partner"}, Duplicates: h.partner},
		{Source: &pile{name: "desk, for trial"}, DryRun: true},
		{Source: &pile{name: "partner, for trial"}, Duplicates: h.partner, DryRun: true},
	}
	if err := b.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := &past{bench: b, h: h, came: map[int64]*sentFile{}, was: map[stage]string{}, knew: map[int64]int{}}
	p.learn(h.calls[:h.known])
	return p
}

// learn has the account know calls, one log for each.
func (p *past) learn(calls []conversion.Call) {
	p.t.Helper()
	p.learned = len(calls)
	for _, call := range calls {
		if _, err := p.db.SaveCalls(p.t.Context(), p.account.ID, []conversion.Call{call}); err != nil {
			p.t.Fatal(err)
		}
	}
}

// take has a worker take a file from a source and decide it.
func (p *past) take(w *worker.Worker, file *sentFile, source string) *conversion.Upload {
	p.t.Helper()
	content := file.content()
	p.delivered++
	upload, err := w.Accept(p.t.Context(), &ingest.Delivery{
		Source: source, Origin: fmt.Sprint("delivery ", p.delivered), Name: "file.csv", Account: p.account.ID, Takes: conversion.TakesConversions, Dialect: file.dialect,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	})
	if err == nil && upload.State == conversion.Received {
		err = w.Decide(p.t.Context(), upload)
	}
	if err != nil {
		p.t.Fatalf("%s from %s: %v\n%s", file.dialect, source, err, content)
	}
	p.knew[upload.ID] = p.learned
	if upload.State != conversion.Decided {
		p.t.Fatalf("%s from %s is %s (%v)\n%s", file.dialect, source, upload.State, upload.Refusal, content)
	}
	return upload
}

// outcomesIn reads an upload's outcomes from a store.
func (p *past) outcomesIn(s worker.Store, upload int64) []conversion.Outcome {
	p.t.Helper()
	var all []conversion.Outcome
	err := s.Outcomes(p.t.Context(), upload, 0, func(chunk []conversion.Outcome) (bool, error) {
		all = append(all, chunk...)
		return true, nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return all
}

// stands is what the ledger comes to: what each conversion is, by its id, and what
// each call costs.
func (p *past) stands() map[string]string {
	p.t.Helper()
	all := map[string]string{}
	err := p.db.ListConversions(p.t.Context(), "", 0, func(c *conversion.Conversion, _, callID string) error {
		text := fmt.Sprintf("call %s at %s, sale %s %s, received %s %s, payout %s %s, status %q, %+v", callID, c.OccurredAt,
			c.Sale, c.Sale.Currency, c.Received, c.Received.Currency, c.Payout, c.Payout.Currency, c.Status, c.Details)
		all[conversion.FormatID(c.ID)] = text
		p.was[stage{c.ID, c.Changes}] = text
		return nil
	})
	if err == nil {
		err = p.db.ListCalls(p.t.Context(), "", 0, func(c conversion.Call, _ string) error {
			if c.Cost.Given {
				all["cost of "+c.CallID] = c.Cost.String()
			}
			return nil
		})
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return all
}

// texts are what stands, without the ids: a file that is sent again makes new ones.
func texts(stands map[string]string) []string {
	parent := regexp.MustCompile(`Parent:\d+`)
	var all []string
	for name, text := range stands {
		if _, err := strconv.Atoi(name); err == nil {
			name = "conversion"
		}
		all = append(all, name+": "+parent.ReplaceAllString(text, "Parent:some"))
	}
	slices.Sort(all)
	return all
}

// wantStands checks what the ledger comes to.
func (p *past) wantStands(why string, want map[string]string) {
	p.t.Helper()
	got := p.stands()
	for _, name := range slices.Sorted(maps.Keys(merged(got, want))) {
		if got[name] != want[name] {
			p.t.Errorf("%s, but %s is\n%s\nwant\n%s", why, name, got[name], want[name])
		}
	}
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// spoken writes outcomes down, one line each. What names the upload itself is the
// same for each upload of a file.
func spoken(outcomes []conversion.Outcome, upload int64) []string {
	own := regexp.MustCompile(fmt.Sprintf(`\b%d(\d{7})\b`, upload))
	self := regexp.MustCompile(fmt.Sprintf(`\bupload %d\b`, upload))
	var lines []string
	for _, o := range outcomes {
		text := fmt.Sprintf("line %d %s %s %q %s=%q call %s %s conversion %d payout %s → %s rule %q near %v part %d shift %d",
			o.Line, o.Verdict, o.Code, o.Message, o.Column, o.Value, o.CallID, o.CallStart, o.ConversionID, o.PayoutBefore, o.PayoutAfter, o.Rule, o.Near, o.PartOf, o.Shift)
		lines = append(lines, self.ReplaceAllString(own.ReplaceAllString(text, "own$1"), "this upload"))
	}
	return lines
}

func (p *past) wantSpoken(why string, got, want []string) {
	p.t.Helper()
	if difference := firstDifference(got, want); difference != "" {
		p.t.Errorf("%s, but\n%s", why, difference)
	}
}

// of is the upload so many back.
func (p *past) of(back int) *conversion.Upload {
	all := p.uploads()
	return all[max(len(all)-back, 0)]
}

// goOn has the next thing happen.
func (p *past) goOn(s step) {
	p.t.Helper()
	p.clock.advance(s.later)
	switch {
	case s.file != nil:
		p.take(p.Worker, s.file, s.file.source)
	case s.undo > 0:
		if of := p.of(s.undo); !of.DryRun {
			p.takeBack(of, true)
		}
	case s.replay > 0:
		if of := p.of(s.replay); !of.DryRun && of.Undoes == 0 {
			p.decideAgain(of, true)
		}
	default:
		p.learn(p.h.calls[:s.calls])
		p.reconcile()
	}
}

// takeBack undoes an upload and returns what the undo is recorded as, and says.
func (p *past) takeBack(of *conversion.Upload, keep bool) (undo *conversion.Upload, said []conversion.Outcome) {
	p.t.Helper()
	err := p.Undo(p.t.Context(), of, keep, func(w *worker.Worker, u *conversion.Upload) error {
		undo, said = u, p.outcomesIn(w.Store, u.ID)
		return nil
	})
	if err != nil {
		p.t.Fatalf("undo upload %d: %v", of.ID, err)
	}
	return undo, said
}

// decideAgain replays an upload and returns what the replay is recorded as (nil if
// nothing differs), what differs, and what the replay says.
func (p *past) decideAgain(of *conversion.Upload, keep bool) (again *conversion.Upload, differs []worker.Difference, said []conversion.Outcome) {
	p.t.Helper()
	err := p.Replay(p.t.Context(), of, keep, func(w *worker.Worker, u *conversion.Upload, found worker.Comparison) error {
		if again, differs = u, found.Differences; u != nil {
			said = p.outcomesIn(w.Store, u.ID)
		}
		return nil
	})
	if err != nil {
		p.t.Fatalf("replay upload %d: %v", of.ID, err)
	}
	return again, differs, said
}

// Whatever happens to an account, the ledger adds up, files count once, and what
// was done can be taken back.
func TestHistory(t *testing.T) {
	eachHistory(t, 1, draw.history, func(t *testing.T, h *history) {
		p := begin(t, h)
		for i, s := range h.steps {
			switch {
			case s.file != nil:
				p.send(s)
			case s.undo > 0:
				p.undo(s)
			case s.replay > 0:
				p.replay(s)
			default:
				p.goOn(s)
			}
			p.check()
			if t.Failed() {
				t.Fatalf("it went wrong in step %d", i+1)
			}
		}
	})
}

// send has a file come, and tries what must hold of it.
func (p *past) send(s step) {
	p.t.Helper()
	p.clock.advance(s.later)
	before := p.stands()
	var rehearsed, tried []string
	if s.dice%2 == 0 {
		rehearsed = p.rehearse(s.file)
		p.wantStands("a rehearsal changes nothing", before)
	}
	if s.dice%3 == 0 {
		trial := p.take(p.Worker, s.file, s.file.source+", for trial")
		tried = spoken(p.outcomes(trial.ID), trial.ID)
		p.wantStands("a dry run changes nothing", before)
	}
	applied := p.applied(s.file)
	upload := p.take(p.Worker, s.file, s.file.source)
	after := p.stands()
	said := spoken(p.outcomes(upload.ID), upload.ID)
	if rehearsed != nil && !p.namesMadeBy(s.file, upload.ID) {
		p.wantSpoken("a rehearsal (want) says what the upload (got) then does", said, rehearsed)
	}
	if tried != nil && !p.namesMadeBy(s.file, upload.ID) {
		p.wantSpoken("a dry run (want) says what the upload (got) then does", said, tried)
	}
	p.wantAppliedOnce(upload, applied, before)
	if p.t.Failed() {
		return
	}
	switch s.dice / 6 % 5 {
	case 0:
		p.wantSettled(upload)
	case 1:
		p.undoAndSendAgain(s.file, upload, before, after)
	case 2:
		p.sendAgain(s.file)
	}
}

// rehearse decides a file and forgets it, and returns what was said.
func (p *past) rehearse(file *sentFile) (said []string) {
	p.t.Helper()
	err := p.db.Rehearse(p.t.Context(), func(s *store.Store) error {
		upload := p.take(p.On(s), file, file.source)
		said = spoken(p.outcomesIn(s, upload.ID), upload.ID)
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return said
}

// applied are the lines of a file that uploads of the same bytes have applied, and
// nobody has taken back. That one had found a line unchanged counts until anything is
// taken back of the conversion that it had found.
func (p *past) applied(file *sentFile) map[int]bool {
	p.t.Helper()
	digest := sha256.Sum256([]byte(file.content()))
	all := map[int]bool{}
	for _, u := range p.uploads() {
		if u.Digest != digest || u.DryRun || u.Undoes != 0 {
			continue
		}
		_, undone, err := p.db.ChangesBy(p.t.Context(), u.ID, 0, conversion.MaxLine)
		if err != nil {
			p.t.Fatal(err)
		}
		for _, o := range p.outcomes(u.ID) {
			gone := undone[conversion.MakeID(u.ID, o.Line)]
			if o.Verdict == conversion.Unchanged {
				gone = o.ConversionID == 0 || p.anyTakenBack(o.ConversionID)
			}
			if o.Verdict.Applied() && !gone {
				all[o.Line] = true
			}
		}
	}
	return all
}

// anyTakenBack reports whether any change of a conversion was ever taken back.
func (p *past) anyTakenBack(id int64) bool {
	p.t.Helper()
	ledger, err := p.db.Changes(p.t.Context(), &conversion.Conversion{ID: id})
	if err != nil {
		p.t.Fatal(err)
	}
	return slices.ContainsFunc(ledger, func(c *conversion.Change) bool { return c.Undoes != 0 })
}

// wantAppliedOnce checks that lines which were applied before are unchanged, and
// did nothing.
func (p *past) wantAppliedOnce(upload *conversion.Upload, applied map[int]bool, before map[string]string) {
	p.t.Helper()
	changes, _, err := p.db.ChangesBy(p.t.Context(), upload.ID, 0, conversion.MaxLine)
	if err != nil {
		p.t.Fatal(err)
	}
	outcomes := p.outcomes(upload.ID)
	for _, o := range outcomes {
		if applied[o.Line] && (o.Verdict != conversion.Unchanged || changes[o.Line] != nil) {
			p.t.Errorf("upload %d: line %d was applied before, but is %s by now (%+v)", upload.ID, o.Line, o.Verdict, changes[o.Line])
		}
	}
	if len(applied) == len(outcomes) {
		p.wantStands("all of the file was applied before", before)
	}
}

// sendAgain has a file that just came come once more.
func (p *past) sendAgain(file *sentFile) {
	p.t.Helper()
	p.clock.advance(time.Minute)
	before, applied := p.stands(), p.applied(file)
	p.wantAppliedOnce(p.take(p.Worker, file, file.source), applied, before)
}

// wantSettled checks that a replay of what was just decided comes to the same.
func (p *past) wantSettled(upload *conversion.Upload) {
	p.t.Helper()
	before, uploads := p.stands(), len(p.uploads())
	again, differs, _ := p.decideAgain(upload, true)
	if again != nil || len(differs) > 0 || len(p.uploads()) != uploads {
		p.t.Errorf("upload %d was just decided, but decided again it differs: %+v", upload.ID, differs)
	}
	p.wantStands("a replay of what was just decided changes nothing", before)
}

// undoAndSendAgain takes back a file that just came, and has it come once more.
func (p *past) undoAndSendAgain(file *sentFile, upload *conversion.Upload, before, after map[string]string) {
	p.t.Helper()
	verdicts := p.verdicts(upload.ID)
	undo, said := p.takeBack(upload, true)
	for _, o := range said {
		if o.Verdict == conversion.Rejected {
			p.t.Errorf("nothing came after upload %d, but line %d can't be taken back: %s", upload.ID, o.Line, o.Message)
		}
	}
	p.wantStands(fmt.Sprintf("upload %d has taken back upload %d", undo.ID, upload.ID), before)
	if p.t.Failed() || p.namesMadeBy(file, upload.ID) {
		return
	}
	again := p.take(p.Worker, file, file.source)
	if got := p.verdicts(again.ID); got != verdicts {
		p.t.Errorf("upload %d was undone and came again as upload %d: it is\n%s\nand was\n%s", upload.ID, again.ID, got, verdicts)
	}
	if difference := firstDifference(texts(p.stands()), texts(after)); difference != "" {
		p.t.Errorf("upload %d was undone and came again as upload %d, but\n%s", upload.ID, again.ID, difference)
	}
}

// namesMadeBy reports whether a file names a conversion by the id that one has which
// the upload makes, or the one before it.
func (p *past) namesMadeBy(file *sentFile, upload int64) bool {
	return slices.ContainsFunc(file.rows, func(row sentRow) bool {
		id, _ := strconv.ParseInt(row.cells["conversion_id"]+row.cells["ActionId"], 10, 64)
		return conversion.UploadOf(id) >= upload-1
	})
}

// undo takes an upload back, sees that what it did is gone and nothing else, and
// takes that back in turn.
func (p *past) undo(s step) {
	p.t.Helper()
	p.clock.advance(s.later)
	of := p.of(s.undo)
	if of.DryRun {
		p.wantNeither(of)
		return
	}
	before, done := p.stands(), p.deedsOf(of)
	_, foretold := p.takeBack(of, false)
	p.wantStands("a preview of an undo changes nothing", before)
	undo, said := p.takeBack(of, true)
	p.wantSpoken("a preview (want) says what the undo (got) then does", spoken(said, undo.ID), spoken(foretold, undo.ID))
	after := p.stands()
	p.wantTakenBack(of, done, said, before, after)
	if n := p.upload(of.ID).Tally.Of(conversion.Waiting); n > 0 {
		p.t.Errorf("upload %d was taken back, but %d of its rows wait", of.ID, n)
	}
	if s.dice%3 == 0 || p.t.Failed() {
		return
	}
	redo, said := p.takeBack(undo, true)
	p.wantStands(fmt.Sprintf("upload %d has taken back upload %d, which was an undo", redo.ID, undo.ID), before)
	for _, o := range said {
		if o.Verdict == conversion.Rejected {
			p.t.Errorf("nothing came after undo %d, but its line %d can't be taken back: %s", undo.ID, o.Line, o.Message)
		}
	}
	if s.dice%3 == 1 || p.t.Failed() {
		return
	}
	p.takeBack(redo, true)
	p.wantStands(fmt.Sprintf("upload %d, which restored what upload %d did, was taken back", redo.ID, of.ID), after)
}

// wantNeither checks that a dry run, which changed nothing, is neither taken back
// nor decided again.
func (p *past) wantNeither(of *conversion.Upload) {
	p.t.Helper()
	undone := p.Undo(p.t.Context(), of, true, func(*worker.Worker, *conversion.Upload) error { return nil })
	replayed := p.Replay(p.t.Context(), of, true, func(*worker.Worker, *conversion.Upload, worker.Comparison) error { return nil })
	if !errors.Is(undone, worker.ErrCannotUndo) || !errors.Is(replayed, worker.ErrCannotUndo) {
		p.t.Errorf("upload %d was a dry run; its undo says %v and its replay %v", of.ID, undone, replayed)
	}
}

// deeds are what an upload did to one conversion and what still stands of that,
// and what others did to it since, oldest first.
type deeds struct {
	id           int64
	mine, others []*conversion.Change
	before       conversion.Conversion // … that the upload is taken back
	undoneThen   bool                  // the conversion was undone when the upload first changed it
}

func (p *past) deedsOf(of *conversion.Upload) []deeds {
	p.t.Helper()
	changes, undone, err := p.db.ChangesBy(p.t.Context(), of.ID, 0, conversion.MaxLine)
	if err != nil {
		p.t.Fatal(err)
	}
	mine := map[int64][]*conversion.Change{}
	for _, change := range changes {
		if !undone[change.ID] {
			mine[change.Conversion] = append(mine[change.Conversion], change)
		}
	}
	var all []deeds
	for id, own := range mine {
		slices.SortFunc(own, func(a, b *conversion.Change) int { return a.Seq - b.Seq })
		c, _, _, err := p.db.Conversion(p.t.Context(), id)
		if err != nil {
			p.t.Fatal(err)
		}
		chain, err := p.db.Changes(p.t.Context(), c)
		if err != nil {
			p.t.Fatal(err)
		}
		first := own[0].Seq
		all = append(all, deeds{id, own, laterBy(chain, first, of.ID), *c, first > 0 && chain[first-1].After.Status == conversion.StatusUndone})
	}
	return all
}

// laterBy are the changes after one, by other uploads than the given, that still
// stand. One that takes back a change which came later itself is none.
func laterBy(chain []*conversion.Change, seq int, but int64) []*conversion.Change {
	gone := map[int64]bool{}
	when := map[int64]int{}
	for _, change := range slices.Backward(chain) {
		when[change.ID] = change.Seq
		if change.Undoes != 0 && !gone[change.ID] {
			gone[change.Undoes] = true
		}
	}
	var later []*conversion.Change
	for _, change := range chain {
		if change.Seq > seq && conversion.UploadOf(change.ID) != but && !gone[change.ID] && (change.Undoes == 0 || when[change.Undoes] <= seq) {
			later = append(later, change)
		}
	}
	return later
}

// wantTakenBack checks what an undo did to each conversion.
func (p *past) wantTakenBack(of *conversion.Upload, done []deeds, said []conversion.Outcome, before, after map[string]string) {
	p.t.Helper()
	outcomes := map[int]conversion.Outcome{}
	for _, o := range said {
		outcomes[o.Line] = o
	}
	left := maps.Clone(before)
	for _, d := range done {
		name := conversion.FormatID(d.id)
		var inTheWay []string
		var taken []*conversion.Change
		for _, change := range d.mine {
			o := outcomes[conversion.LineOf(change.ID)]
			switch {
			case o.Verdict == conversion.Updated:
				taken = append(taken, change)
			case o.Code == conversion.UndoConflict:
				inTheWay = append(inTheWay, o.Message)
			default:
				p.t.Errorf("upload %d changed conversion %d by line %d; taking that back is %s %s", of.ID, d.id, o.Line, o.Verdict, o.Code)
			}
		}
		switch {
		case len(inTheWay) > 0 && !p.named(inTheWay, d):
			p.t.Errorf("upload %d can't be taken back from conversion %d, which was changed since by %s, but the reasons are\n%s", of.ID, d.id, byWhom(d.others), strings.Join(inTheWay, "\n"))
		case len(inTheWay) == len(d.mine):
			// It stays as it is.
		case len(d.others) > 0 || len(inTheWay) > 0:
			p.wantPartlyTakenBack(of, d, taken)
			left[name] = after[name]
		default:
			was, known := p.was[stage{d.id, d.mine[0].Seq}]
			if !known && d.mine[0].Seq > 0 && !d.undoneThen {
				was = after[name] // it was never looked at in between
			}
			left[name] = was
		}
	}
	for _, name := range slices.Sorted(maps.Keys(merged(left, after))) {
		if _, err := strconv.Atoi(name); err == nil && left[name] != after[name] {
			p.t.Errorf("upload %d was taken back, but conversion %s is\n%s\nand should be\n%s", of.ID, name, after[name], left[name])
		}
	}
}

// named reports whether reasons name one of the uploads that stand in the way: one
// that changed the conversion since, or took its place.
func (p *past) named(reasons []string, d deeds) bool {
	text := strings.Join(reasons, " ")
	if regexp.MustCompile(`has taken its place since. Undo upload \d+ first|was applied again since, by upload \d+ `).MatchString(text) {
		return slices.ContainsFunc(d.mine, func(c *conversion.Change) bool { return c.Undoes != 0 || len(c.Details) > 0 })
	}
	return slices.ContainsFunc(d.others, func(c *conversion.Change) bool {
		return strings.Contains(text, fmt.Sprintf("upload %d ", conversion.UploadOf(c.ID)))
	})
}

func byWhom(changes []*conversion.Change) string {
	var all []string
	for _, c := range changes {
		all = append(all, fmt.Sprintf("upload %d line %d", conversion.UploadOf(c.ID), conversion.LineOf(c.ID)))
	}
	return strings.Join(all, ", ")
}

// wantPartlyTakenBack checks, part by part, a conversion that others have changed
// since: what only the upload changed is as before it, what only others changed
// stays, and of what both added the sum without the upload's stays.
func (p *past) wantPartlyTakenBack(of *conversion.Upload, d deeds, taken []*conversion.Change) {
	p.t.Helper()
	now, _, _, err := p.db.Conversion(p.t.Context(), d.id)
	if err != nil {
		p.t.Fatal(err)
	}
	was, is := parts(&d.before), parts(now)
	for name := range was {
		mine, others := touching(taken, name), touching(d.others, name)
		kept := touching(d.mine, name)
		want := was[name]
		switch {
		case len(mine) == 0:
		case name == "payout_by" && p.added(taken) && len(d.others) > 0: // others may have added as well
		case len(others) == 0 && len(kept) == len(mine):
			want = mine[0][0]
		case name == "payout" && p.added(taken) && p.added(d.others):
			now, before := minorOf(was[name]), int64(0)
			for _, m := range mine {
				before += minorOf(m[1]) - minorOf(m[0])
			}
			want = conversion.Cents(now-before, d.before.Payout.Currency).String()
		case len(kept) != len(mine):
			continue // what stays of the upload may be what it gave
		default:
			p.t.Errorf("upload %d and others (%s) both changed the %s of conversion %d, but it was taken back", of.ID, byWhom(d.others), name, d.id)
		}
		if is[name] != want {
			p.t.Errorf("upload %d was taken back, but the %s of conversion %d, %q before that, is %q; want %q", of.ID, name, d.id, was[name], is[name], want)
		}
	}
}

// added reports whether changes of a conversion did nothing to its payout but add to
// it, or take off what was added.
func (p *past) added(changes []*conversion.Change) bool {
	p.t.Helper()
	if len(changes) == 0 {
		return true
	}
	ledger, err := p.db.Changes(p.t.Context(), &conversion.Conversion{ID: changes[0].Conversion})
	if err != nil {
		p.t.Fatal(err)
	}
	byID := map[int64]*conversion.Change{}
	for _, c := range ledger {
		byID[c.ID] = c
	}
	return !slices.ContainsFunc(changes, func(c *conversion.Change) bool {
		first := c
		for first.Undoes != 0 {
			first = byID[first.Undoes]
		}
		return touches(c, "payout") && first.Verdict != conversion.Incremented
	})
}

// minorOf reads an amount of dollars or euros.
func minorOf(text string) int64 {
	n, _ := strconv.ParseInt(strings.Replace(text, ".", "", 1), 10, 64)
	return n
}

// parts are what a conversion comes to, part by part.
func parts(c *conversion.Conversion) map[string]string {
	all := map[string]string{"sale": c.Sale.String(), "received": c.Received.String(), "payout": c.Payout.String(), "status": string(c.Status)}
	for _, part := range c.Parts() {
		all[part.Name] = *part.Value
	}
	return all
}

// touching are a part's values before and after each of some changes of it.
func touching(changes []*conversion.Change, name string) (values [][2]string) {
	for _, c := range changes {
		before, after := parts(&conversion.Conversion{Standing: c.Before}), parts(&conversion.Conversion{Standing: c.After})
		for _, d := range c.Details {
			before[d.Name], after[d.Name] = d.Before, d.After
		}
		if before[name] != after[name] {
			values = append(values, [2]string{before[name], after[name]})
		}
	}
	return values
}

func touches(c *conversion.Change, name string) bool {
	return len(touching([]*conversion.Change{c}, name)) > 0
}

// replay decides an upload again. Where it comes to the same, nothing happens.
func (p *past) replay(s step) {
	p.t.Helper()
	p.clock.advance(s.later)
	of := p.of(s.replay)
	switch {
	case of.DryRun:
		p.wantNeither(of)
		return
	case of.Undoes != 0:
		p.wantNoReplay(of)
		return
	}
	before, uploads := p.stands(), len(p.uploads())
	previewed, foretold, _ := p.decideAgain(of, false)
	p.wantStands("a preview of a replay changes nothing", before)
	settled, unmoved := p.settled(of) && p.knew[of.ID] == p.learned, p.unmoved(of)
	again, differs, said := p.decideAgain(of, true)
	stuck := slices.ContainsFunc(said, func(o conversion.Outcome) bool { return o.Code == conversion.UndoConflict })
	if fmt.Sprintf("%+v", differs) != fmt.Sprintf("%+v", foretold) || (again == nil) != (previewed == nil) {
		p.t.Errorf("the preview of a replay says\n%+v\nbut then it is\n%+v", foretold, differs)
	}
	if again == nil && len(p.uploads()) != uploads {
		p.t.Errorf("a replay that differs in nothing was recorded")
	}
	if again == nil {
		p.wantStands("a replay that differs in nothing changes nothing", before)
	}
	if settled {
		p.wantStands(fmt.Sprintf("all of upload %d was applied, so its replay changes nothing", of.ID), before)
		if !stuck && (again != nil || len(differs) > 0) {
			p.t.Errorf("all of upload %d was applied, but decided again it differs: %+v", of.ID, differs)
		}
	}
	if unmoved && again != nil {
		p.t.Errorf("nothing was undone, and no calls came after upload %d, but decided again it differs: %+v", of.ID, differs)
	}
	if next, differs, _ := p.decideAgain(cmp.Or(again, of), true); !stuck && (next != nil || len(differs) > 0) {
		p.t.Errorf("a replay that was just done differs when it is done again: %+v", differs)
	}
}

// wantNoReplay checks that the replay of an undo, which decides nothing, does
// nothing.
func (p *past) wantNoReplay(of *conversion.Upload) {
	p.t.Helper()
	before := p.stands()
	err := p.Replay(p.t.Context(), of, true, func(*worker.Worker, *conversion.Upload, worker.Comparison) error { return nil })
	if err != nil && !errors.Is(err, worker.ErrCannotUndo) {
		p.t.Fatal(err)
	}
	p.wantStands(fmt.Sprintf("upload %d is an undo, so there is nothing to replay", of.ID), before)
}

// unmoved reports whether an upload must come to the same again, whatever files came
// since: the same calls are known, none of its rows waited, and nothing was undone.
func (p *past) unmoved(of *conversion.Upload) bool {
	p.t.Helper()
	for _, u := range p.uploads() {
		if u.Undoes != 0 || u.Replays != 0 || u.Tally.Of(conversion.Waiting) > 0 {
			return false
		}
	}
	return p.knew[of.ID] == p.learned
}

// settled reports whether an upload's rows were all applied and nothing of it was
// taken back.
func (p *past) settled(u *conversion.Upload) bool {
	p.t.Helper()
	_, undone, err := p.db.ChangesBy(p.t.Context(), u.ID, 0, conversion.MaxLine)
	if err != nil {
		p.t.Fatal(err)
	}
	return len(undone) == 0 && u.Undoes == 0 && !slices.ContainsFunc(p.outcomes(u.ID), func(o conversion.Outcome) bool { return !o.Verdict.Applied() })
}

// How many rows are decided together changes nothing, whatever happens.
func TestHistoryInChunks(t *testing.T) {
	eachHistory(t, 4, draw.history, func(t *testing.T, h *history) {
		whole, cut := begin(t, h), begin(t, h)
		cut.ReadRows = 1 + int(h.seed%3)
		cut.ChunkRows = cut.ReadRows * (1 + int(h.seed/3%4)) // the chunks of a transaction
		for i, s := range h.steps {
			whole.goOn(s)
			cut.goOn(s)
			cut.wantSpoken(fmt.Sprintf("step %d comes to the same in chunks of %d (got) and whole (want)", i+1, cut.ReadRows), cut.all(), whole.all())
			cut.check()
			if t.Failed() {
				return
			}
		}
	})
}

// all is all that was said and all that the ledger holds.
func (p *past) all() []string {
	p.t.Helper()
	var all []string
	for _, u := range p.uploads() {
		all = append(all, fmt.Sprintf("upload %d of %s: %s %q undoes %d replays %d", u.ID, u.Source, u.Tally, u.Diagnosis, u.Undoes, u.Replays))
		all = append(all, spoken(p.outcomes(u.ID), u.ID)...)
	}
	return append(all, p.ledger()...)
}

// Which call a row means depends neither on the rows around it nor on the order in
// which the calls became known.
func TestHistoryOrderChangesNoMatch(t *testing.T) {
	eachHistory(t, 3, draw.opening, func(t *testing.T, h *history) {
		d := newDraw(h.seed)
		h.account.Duplicates, h.account.ErrorLimit, h.partner = conversion.DuplicateRules{Mode: conversion.ModeCreate, Repeats: conversion.RepeatsApply}, 0, conversion.DuplicateRules{}
		h.account.EventTypes[0].Duplicates, h.account.EventTypes[1].Duplicates = conversion.DuplicateRules{}, conversion.DuplicateRules{}
		h.calls = append(h.calls, d.calls()...)
		for i := range h.calls { // more of them, close to each other
			c := &h.calls[i]
			c.CallID, c.TransactionID, c.ExternalID = fmt.Sprint("C", i), fmt.Sprint("T", i), fmt.Sprint("X", i)
			c.Start += conversion.Millis(1000 * d.IntN(40))
		}
		h.known = len(h.calls)
		for _, dialect := range []string{"invoca", "invoca-signal"} {
			file := &sentFile{source: "desk", dialect: dialect, columns: append(slices.Clone(columns[dialect]), "row")}
			for i := range 10 {
				row := sentRow{cells: map[string]string{"row": fmt.Sprint("row ", i)}} // nothing ties rows together
				for column, cell := range d.cells(dialect, h) {
					if cell != "" && column != "reference_id" && column != "parent_reference_id" && column != "web_conversion" {
						row.cells[column] = cell
					}
				}
				if row.cells["partner_unique_id"] != "" {
					row.cells["partner_unique_id"] = fmt.Sprint("e", i)
				}
				file.rows = append(file.rows, row)
			}
			match := func(calls []conversion.Call, chunk int) []string {
				h.calls = calls
				p := begin(t, h)
				p.ChunkRows = chunk
				var matches []string
				for i, o := range p.outcomes(p.take(p.Worker, file, file.source).ID) {
					matches = append(matches, fmt.Sprintf("%s: %s %s call %s %s, near %v, %s", file.rows[i].cells["row"], o.Verdict, o.Code, o.CallID, o.CallStart, o.Near, o.Message))
				}
				slices.Sort(matches)
				return matches
			}
			want := match(h.calls, 0)
			calls := slices.Clone(h.calls)
			d.Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
			d.Shuffle(len(file.rows), func(i, j int) { file.rows[i], file.rows[j] = file.rows[j], file.rows[i] })
			if difference := firstDifference(match(calls, 1+d.IntN(4)), want); difference != "" {
				t.Errorf("rows and calls in another order match otherwise:\n%s\n%s", difference, file.content())
			}
		}
	})
}

// Files that overlap come to what one file comes to that has each row as often as
// the one of them that has it most often, where rows add something.
func TestHistoryOfOverlappingFilesEqualsTheirUnion(t *testing.T) {
	eachHistory(t, 3, draw.opening, func(t *testing.T, h *history) {
		d := newDraw(h.seed)
		adds := []conversion.Mode{conversion.ModeCreate, conversion.ModeCreateMarked, conversion.ModeIncrementPayout}
		h.account.Duplicates = conversion.DuplicateRules{Mode: adds[d.IntN(3)], Key: []conversion.KeyPart{conversion.KeyCall, conversion.KeyEventType}}
		h.account.EventTypes[0].Duplicates, h.account.EventTypes[1].Duplicates = conversion.DuplicateRules{}, conversion.DuplicateRules{Mode: adds[d.IntN(3)]}
		h.account.Received, h.account.ErrorLimit, h.account.NoRowPayouts, h.partner, h.known = nil, 0, false, conversion.DuplicateRules{}, len(h.calls)
		dialect := d.oneOf("invoca", "redtrack", "cake")
		var base []*sentFile // what cake's rows are about
		if dialect == "cake" {
			base = append(base, d.addingFile("invoca", d.addingRows(h, "invoca")))
		}
		pool := d.addingRows(h, dialect)
		overlapping := slices.Clone(base)
		union := d.addingFile(dialect, nil)
		most := make([]int, len(pool))
		for range 3 {
			file, count := d.addingFile(dialect, nil), make([]int, len(pool))
			for range 1 + d.IntN(8) {
				i := d.IntN(len(pool))
				file.rows = append(file.rows, pool[i])
				if count[i]++; count[i] > most[i] {
					most[i]++
					union.rows = append(union.rows, pool[i])
				}
			}
			overlapping = append(overlapping, file)
		}
		comesTo := func(files ...*sentFile) []string {
			p := begin(t, h)
			p.ReadRows, p.ChunkRows = d.IntN(3), d.IntN(6)
			for _, file := range files {
				p.take(p.Worker, file, file.source)
				p.check()
			}
			return texts(p.stands())
		}
		if difference := firstDifference(comesTo(overlapping...), comesTo(append(base, union)...)); difference != "" {
			t.Errorf("the files (got) come to something else than their union (want):\n%s", difference)
			for _, file := range append(overlapping, union) {
				t.Log(file.content())
			}
		}
	})
}

func (d draw) addingFile(dialect string, rows []sentRow) *sentFile {
	return &sentFile{source: "desk", dialect: dialect, columns: columns[dialect], rows: rows}
}

// addingRows makes up a few rows that differ, each of which adds something whenever
// it is applied.
func (d draw) addingRows(h *history, dialect string) []sentRow {
	var rows []sentRow
	for i := range 5 {
		call := h.calls[d.IntN(len(h.calls))]
		cells := map[string]string{
			"start_time": call.Start.String(), "calling_phone_number": call.Caller.String(), "event_type": d.oneOf("", "Lead"), "reason_code": d.oneOf("S", "L"), "sale_amount": d.drawnAmount(),
			"sale_currency": d.oneOf("", "", "", "EUR"), "email_address": fmt.Sprintf("row%d@acme.example", i),
		}
		switch dialect {
		case "redtrack":
			cells = map[string]string{"clickid": call.ClickID, "type": d.oneOf("", "Lead"), "sum": d.drawnAmount(), "rdtk_event_id": fmt.Sprint("e", i)}
		case "cake":
			cells = map[string]string{"request_session_id": call.ClickID, "payout": fmt.Sprintf("%d.25", i), "add_to_existing_payout": "1"}
			if d.oneIn(2) {
				cells["received"], cells["received_option"] = d.oneOf("10.00", "20.25"), d.oneOf("additional_sale_amount", "additional_revenue")
			}
		}
		row := sentRow{cells: map[string]string{}}
		for column, cell := range cells {
			if cell != "" {
				row.cells[column] = cell
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// What the histories have found, in its smallest form.
func TestHistoryFound(t *testing.T) {
	for _, found := range []finding{
		{"an undo of an undo restores conversions that share a key", createsAll, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(0, "R0", "S", "10.00")))
			undo, _ := b.undo(1, true)
			redo, _ := b.undo(undo.ID, true)
			b.wantVerdicts(redo.ID, "updated updated")
			b.wantSales("C0=10.00", "C0=10.00")
		}},
		{"an undo of an undo restores beside what was there before it", createsAll, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
			b.deliver("2.csv", table(line(0, "R0", "S", "20.00")))
			undo, _ := b.undo(1, true)
			redo, _ := b.undo(undo.ID, true)
			b.wantVerdicts(redo.ID, "updated")
			b.wantSales("C0=10.00", "C0=20.00")
		}},
		{"a replay of a file that came before leaves what was applied then", nil, func(b *bench) {
			b.deliver("ten.csv", sold("10.00"))
			b.deliver("twenty.csv", sold("20.00"))
			again := b.deliver("ten.csv", sold("10.00"))
			b.wantVerdicts(again.ID, "unchanged")
			if replay, differs := b.replay(again.ID, true); replay != nil {
				b.t.Errorf("the replay found %+v", differs)
			}
			b.wantSales("C0=20.00")
		}},
		{"a replay of a file that came before makes no second conversion", createsAll, func(b *bench) {
			b.deliver("ten.csv", sold("10.00"))
			again := b.deliver("ten.csv", sold("10.00"))
			b.replay(again.ID, true)
			b.wantSales("C0=10.00")
		}},
		{"a replay of a replay judges rows as of when their file came", nil, func(b *bench) {
			b.clock.advance(89 * 24 * time.Hour)
			b.deliver("ten.csv", sold("10.00"))
			b.clock.advance(2 * 24 * time.Hour)
			b.account.Payouts[0].Percent = decimal.NewFromInt(20)
			first, _ := b.replay(1, true)
			b.wantVerdicts(first.ID, "created")
			if second, differs := b.replay(first.ID, true); second != nil {
				b.t.Errorf("nothing has changed since, but the second replay found %+v", differs)
			}
			b.wantSales("C0=10.00")
		}},
		{"rows that wait go on waiting as long as they did when they are replayed", waits, func(b *bench) {
			b.deliver("1.csv", clicks+"K9,,,5.00,,\nK0,,,1.00,,\n")
			b.clock.advance(6 * 24 * time.Hour)
			b.account.DefaultStatus = conversion.StatusPending
			again, _ := b.replay(1, true)
			b.wantVerdicts(again.ID, "waiting:call_not_found created")
			b.clock.advance(2 * 24 * time.Hour)
			b.reconcile()
			b.wantVerdicts(again.ID, "rejected:call_not_found created")
		}},
		{"the replay of an undo decides nothing", nil, func(b *bench) {
			b.deliver("ten.csv", sold("10.00"))
			undo, _ := b.undo(1, true)
			err := b.Replay(b.t.Context(), undo, true, func(*worker.Worker, *conversion.Upload, worker.Comparison) error { return nil })
			if err != nil && !errors.Is(err, worker.ErrCannotUndo) {
				b.t.Fatal(err)
			}
			b.wantSales()
		}},
		{"an undo takes back all that an upload said of a call's cost", nil, func(b *bench) {
			b.deliver("1.csv", clicks+"K0,,,5.00,,0.50\nK0,,,6.00,,0.75\n")
			undo, _ := b.undo(1, true)
			b.wantCost("")
			again, _ := b.undo(1, true)
			b.wantVerdicts(again.ID, "unchanged unchanged")
			b.undo(undo.ID, true)
			b.wantCost("0.75")
		}},
		{"a replay leaves what others have changed since, whatever other rows of the file say", nil, func(b *bench) {
			b.deliver("1.csv", clicks+"K0,,,5.00,,\nK0,,,5.00,,\n")
			b.deliver("2.csv", clicks+"K0,,,50.00,,\n")
			b.replay(1, true)
			if got := b.standings(); !slices.Equal(got, []string{"C0, payout 50.00"}) {
				b.t.Errorf("held are %v, want a payout of 50.00", got)
			}
		}},
		{"a replay of a replay leaves what the first left", createsAll, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "L", "20.00")))
			b.account.Payouts = append([]conversion.PayoutRule{{ReasonCodes: []string{"L"}, Fixed: conversion.Cents(500, "USD")}}, b.account.Payouts...)
			first, _ := b.replay(1, true)
			b.wantVerdicts(first.ID, "unchanged created")
			for _, of := range []int64{first.ID, 1} {
				if next, differs := b.replay(of, true); next != nil {
					b.t.Errorf("the next replay, of upload %d, found %+v", of, differs)
				}
			}
			b.wantSales("C0=10.00", "C1=20.00")
		}},
		{"a replay leaves what stands in its way to the upload, whatever is replayed next", nil, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00")))
			b.deliver("2.csv", table(line(0, "R0", "S", "12.00")))
			b.account.Payouts = []conversion.PayoutRule{{Fixed: conversion.Cents(300, "USD")}}
			first, _ := b.replay(1, true)
			b.wantVerdicts(first.ID, "rejected:undo_conflict unchanged created")
			b.replay(first.ID, true)
			b.replay(1, true)
			b.wantSales("C0=12.00", "C1=20.00")
		}},
		{"a replay of a replay that was undone decides the rows again", nil, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
			b.account.Payouts = []conversion.PayoutRule{{Fixed: conversion.Cents(300, "USD")}}
			first, _ := b.replay(1, true)
			b.undo(first.ID, true)
			b.wantSales()
			b.replay(1, true)
			b.wantSales("C0=10.00")
		}},
		{"a replay under the same rules finds nothing, whatever came since", nil, func(b *bench) {
			b.deliver("ten.csv", sold("10.00"))
			b.deliver("twenty.csv", sold("20.00"))
			if again, differs := b.replay(1, true); again != nil || differs != nil {
				b.t.Errorf("the replay found %+v", differs)
			}
			b.wantSales("C0=20.00")
		}},
		{"a replay under the same rules leaves marks alone", func(a *conversion.Account) { a.Duplicates.Mode = conversion.ModeCreateMarked }, func(b *bench) {
			b.deliver("ten.csv", sold("10.00"))
			b.deliver("twenty.csv", sold("20.00"))
			if again, differs := b.replay(1, true); again != nil || differs != nil {
				b.t.Errorf("the replay found %+v", differs)
			}
		}},
		{"what a file had found unchanged counts no more once that is undone", nil, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
			content := table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00"))
			b.wantVerdicts(b.deliver("2.csv", content).ID, "unchanged created")
			b.undo(1, true)
			b.wantVerdicts(b.deliver("2.csv", content).ID, "created unchanged")
			b.wantSales("C0=10.00", "C1=20.00")
		}},
		{"a replay leaves a conversion whole where something is in the way", nil, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(0, "R0", "S", "15.00")))
			b.deliver("2.csv", "start_time,calling_phone_number,reason_code,email_address\n"+callStart(0).Format(time.RFC3339)+fmt.Sprintf(",+%d,S,joe@acme.example\n", int64(caller(0))))
			b.account.Payouts[0].Percent = decimal.NewFromInt(20)
			b.replay(1, true)
			b.wantSales("C0=15.00")
		}},
		{"a replay decides all that it takes back, whatever the error limit", func(a *conversion.Account) { a.ErrorLimit = 1 }, func(b *bench) {
			b.know(2, 3)
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00"), line(2, "R2", "S", "30.00")))
			b.deliver("2.csv", table(line(0, "R0", "S", "12.00")))
			b.account.Payouts[0].Percent = decimal.NewFromInt(20)
			again, _ := b.replay(1, true)
			b.wantVerdicts(again.ID, "rejected:undo_conflict created created")
			b.wantSales("C0=12.00", "C1=20.00", "C2=30.00")
		}},
		{"a replay leaves what counts for closed days", nil, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00"), line(1, "R1", "S", "20.00")))
			b.clock.advance(5 * 24 * time.Hour)
			b.account.LockBefore = 20260401
			if again, differs := b.replay(1, true); again != nil {
				b.t.Errorf("the replay found %+v", differs)
			}
			b.account.Payouts[0].Percent = decimal.NewFromInt(20)
			if again, differs := b.replay(1, true); again != nil {
				b.t.Errorf("the replay with other rules found %+v", differs)
			}
			b.wantSales("C0=10.00", "C1=20.00")
		}},
		{"a replay of a file that was decided once more on purpose finds nothing", nil, func(b *bench) {
			b.deliver("1.csv", sold("10.00"))
			b.deliver("2.csv", sold("20.00"))
			u := b.accept("1.csv", sold("10.00"), func(d *ingest.Delivery) { d.Again = true })
			b.decide(u)
			if again, differs := b.replay(u.ID, true); again != nil {
				b.t.Errorf("the replay found %+v", differs)
			}
			b.wantSales("C0=10.00")
		}},
		{"an undo of an undo is in the way of what has got its place back", nil, func(b *bench) {
			b.deliver("1.csv", sold("10.00"))
			first, _ := b.undo(1, true)
			third := b.deliver("3.csv", sold("12.00"))
			fourth, _ := b.undo(third.ID, true)
			b.undo(first.ID, true)
			redo, _ := b.undo(fourth.ID, true)
			b.wantVerdicts(redo.ID, "rejected:undo_conflict")
			b.wantSales("C0=10.00")
		}},
		{"a sum that was sent again since is not restored beside itself", func(a *conversion.Account) { a.Duplicates.Mode = conversion.ModeIncrementPayout }, func(b *bench) {
			b.deliver("0.csv", sold("10.00"))
			b.deliver("1.csv", sold("20.00"))
			b.deliver("2.csv", sold("50.00"))
			undo, _ := b.undo(3, true)
			again := b.deliver("2.csv", sold("50.00"))
			redo, _ := b.undo(undo.ID, true)
			b.wantVerdicts(redo.ID, "rejected:undo_conflict")
			if got := b.standings(); !slices.Equal(got, []string{"C0, sale 10.00, payout 8.00, reason S"}) {
				b.t.Errorf("held are %v", got)
			}
			b.undo(again.ID, true)
			redo, _ = b.undo(undo.ID, true)
			b.wantVerdicts(redo.ID, "updated")
		}},
		{"a replay leaves the cost that another file has set since", nil, func(b *bench) {
			b.deliver("1.csv", clicks+"K0,,,5.00,,0.50\n")
			b.deliver("2.csv", clicks+"K0,,,,,0.75\n")
			b.account.DefaultStatus = conversion.StatusPending
			b.replay(1, true)
			b.wantCost("0.75")
		}},
		{"an undo leaves the cost that another file has set to the same since", nil, func(b *bench) {
			for i, cost := range []string{"0.50", "0.75", "0.50"} {
				b.deliver(fmt.Sprint(i, ".csv"), clicks+"K0,,,,,"+cost+strings.Repeat("\n", i+1))
			}
			undo, _ := b.undo(1, true)
			b.wantVerdicts(undo.ID, "rejected:undo_conflict")
			b.wantCost("0.50")
		}},
		{"a cost that was undone elsewhere is none of this file's", nil, func(b *bench) {
			b.deliver("0.csv", clicks+"K0,,,,,0.50\n")
			content := clicks + "K0,,,,,0.50\n\n"
			b.wantVerdicts(b.deliver("b.csv", content).ID, "unchanged")
			other := b.deliver("1.csv", clicks+"K1,,,,,0.50\n")
			b.undo(other.ID, true)
			b.deliver("2.csv", clicks+"K0,,,,,0.75\n")
			b.wantVerdicts(b.deliver("b.csv", content).ID, "unchanged")
			b.wantCost("0.75")
		}},
		{"a replay leaves the marks of what it makes anew", func(a *conversion.Account) {
			a.Duplicates.Mode, a.Payouts = conversion.ModeCreateMarked, nil
		}, func(b *bench) {
			b.deliver("1.csv", clicks+"K0,,,,,\nK0,,,10.00,,\n")
			b.deliver("2.csv", clicks+"K0,,,20.00,,\n")
			b.account.Payouts = []conversion.PayoutRule{{Fixed: conversion.Cents(500, "USD")}}
			again, _ := b.replay(1, true)
			b.wantVerdicts(again.ID, "created unchanged")
			if got, want := b.standings(), []string{"C0, payout 10.00, repeat repeated", "C0, payout 20.00, repeat repeated", "C0, payout 5.00, repeat new"}; !slices.Equal(got, want) {
				b.t.Errorf("held are %q, want %q", got, want)
			}
		}},
		{"a replay sees what was undone as if it had never come", func(a *conversion.Account) { a.Duplicates.Mode = conversion.ModeIgnore }, func(b *bench) {
			b.deliver("1.csv", sold("10.00"))
			b.wantVerdicts(b.deliver("2.csv", sold("20.00")).ID, "ignored")
			b.undo(1, true)
			again, _ := b.replay(2, true)
			b.wantVerdicts(again.ID, "created")
			b.wantSales("C0=20.00")
		}},
		{"an undo that takes nothing back changes nothing for the file", nil, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
			content := table(line(0, "", "S", "10.00"), line(1, "R1", "S", "10.00"))
			b.deliver("2.csv", content)
			b.deliver("3.csv", table(line(0, "R0", "S", "20.00")))
			again := b.deliver("2.csv", content)
			b.undo(again.ID, true)
			b.wantVerdicts(b.deliver("2.csv", content).ID, "unchanged unchanged")
			b.wantSales("C0=20.00", "C1=10.00")
		}},
		{"two sums that were added are taken back one by one, the first one first", func(a *conversion.Account) {
			a.Duplicates.Mode = conversion.ModeIncrementPayout
		}, func(b *bench) {
			b.deliver("1.csv", table(line(0, "R0", "S", "10.00")))
			before := b.standing()
			b.deliver("2.csv", table(line(0, "R0", "S", "20.00")))
			b.deliver("3.csv", table(line(0, "R0", "S", "30.00")))
			b.undo(2, true)
			b.undo(3, true)
			if difference := firstDifference(b.standing(), before); difference != "" {
				b.t.Errorf("both were taken back, but\n%s", difference)
			}
		}},
	} {
		t.Run(found.what, found.run)
	}
}

// standing are the conversions that stand.
func (b *bench) standing() []string {
	b.t.Helper()
	return texts((&past{bench: b, was: map[stage]string{}, knew: map[int64]int{}}).stands())
}

// wantCost checks what call 0 costs.
func (b *bench) wantCost(want string) {
	b.t.Helper()
	err := b.db.ListCalls(b.t.Context(), "", 0, func(c conversion.Call, _ string) error {
		if c.CallID == "C0" && c.Cost.String() != want {
			b.t.Errorf("call C0 costs %q, want %q", c.Cost, want)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}
