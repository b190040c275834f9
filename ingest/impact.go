package ingest

import (
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"calltally/conversion"
)

// impact are the parameters of impact.com's conversions. Adjacent rows of one
// OrderId are one order.
var impact = &Dialect{
	Name:  "impact",
	Takes: conversion.TakesConversions,
	Required: []Requirement{
		{"the programme (CampaignId)", []string{"CampaignId"}},
		{"what happened (EventTypeId or EventTypeCode)", []string{"EventTypeId", "EventTypeCode"}},
		{"when it happened (EventDate)", []string{"EventDate"}},
		{"the order (OrderId)", []string{"OrderId"}},
	},
	Columns: append([]Column{
		{"CampaignId", []string{"ProgramId"}, KindID, "The campaign."},
		{"EventTypeId", []string{"ActionTrackerId"}, KindID, "What happened: the event type, or one of its codes."},
		{"EventTypeCode", nil, KindText, "The same, by its code."},
		{"EventDate", nil, KindEvent, "When it happened; NOW is when the file came."},
		{"OrderId", []string{"Oid"}, KindID, "The sender's id of the order: the reference_id, unique within the event type."},
		{"ClickId", nil, KindID, "The click that led to the call."},
		{"CallerId", nil, KindText, "The caller, if it is a telephone number; needs match.by_event_time."},
		{"PhoneNumber", nil, KindPhone, "The number dialled."},
		{"MediaId", nil, KindID, "The publisher. Without a click or a caller the conversion has no call."},
		{"CurrencyCode", []string{"Currency"}, KindCurrency, "The currency of all amounts, if not the account's."},
		{"DispositionCode", nil, KindText, "What came of it: the reason code."},
		{"OrderSubTotalPostDiscount", nil, KindAmount, "The sale of an order without items, after discounts, tax and shipping."},
		{"OrderDiscount", nil, KindAmount, "Taken off the items in proportion."},
		{"OrderDiscountRate", nil, KindPercent, "The same as a percentage."},
		{"OrderShipping", nil, KindAmount, "Kept; no part of the sale."},
		{"OrderTax", nil, KindAmount, "Kept; no part of the sale."},
		{"OrderMargin", nil, KindAmount, "Kept."},
		{"ItemSku{i}", nil, KindID, "An item's SKU."},
		{"ItemQuantity{i}", nil, KindNumber, "How many of it."},
		{"ItemSubTotal{i}", nil, KindAmount, "What all of it cost."},
		{"ItemPrice{i}", nil, KindAmount, "What one cost, in place of ItemSubTotal."},
		{"ItemTotalDiscount{i}", nil, KindAmount, "Taken off what all of it cost."},
		{"ItemDiscount{i}", nil, KindAmount, "Taken off each one's price."},
		{"ItemDiscountRate{i}", nil, KindPercent, "Taken off as a percentage."},
	}, asKept(impactExtra)...),
	Key: []conversion.KeyPart{conversion.KeyReferenceID, conversion.KeyEventType},
	labels: func(l *conversion.Labels) {
		l.Caller, l.Event, l.Reference, l.Currency, l.Sale = "CallerId", "EventDate", "OrderId", "CurrencyCode", "OrderSubTotalPostDiscount"
	},
	Together: []string{"OrderId", "EventTypeId", "EventTypeCode"},
	order:    (*rowParser).impact,
}

// impactExtra are the parameters that are kept with the conversion as they are.
var impactExtra = func() []string {
	names := []string{
		"CustomerId", "CustomProfileId", "OrderPromoCode", "UniqueUrl", "GoogAId", "AppleIfa", "AppleIfv", "IpAddress",
		"ItemCategory{i}", "ItemSubCategory{i}", "ItemName{i}", "ItemMpn{i}", "ItemBrand{i}", "ItemPromoCode{i}", "ItemDeliveryType{i}",
		"PaymentType", "GiftPurchase", "LocationId", "LocationName", "LocationType", "PropertyId", "TrackingConsent",
		"CustomerStatus", "CustomerCity", "CustomerPostCode", "CustomerCountry", "CustomerRegion", "CustomerEmail", "UserAgent",
		"DeviceMfr", "DeviceModel", "AppPackage", "AppInstallRef", "AppVer", "Note",
		"Date{i}", "Text{i}", "Numeric{i}", "Money{i}",
	}
	for _, array := range []string{"ItemDate{i}", "ItemText{i}", "ItemNumeric{i}", "ItemMoney{i}"} {
		for _, n := range []string{"_1", "_2", "_3", "_4", "_5", "_6", "_7", "_8", "_9", "_10"} {
			names = append(names, array+n)
		}
	}
	return names
}()

// asKept are the columns of parameters that are kept.
func asKept(names []string) []Column {
	columns := make([]Column, len(names))
	for i, name := range names {
		columns[i] = Column{name, nil, KindText, "Kept."}
	}
	return columns
}

// impactCosts are amounts that are kept and are no part of the sale.
var impactCosts = []string{"OrderShipping", "OrderTax", "OrderMargin"}

// impactItems are the columns that say what was sold; the others of one order
// say the same in all its rows.
var impactItems = []string{"ItemSku", "ItemQuantity", "ItemSubTotal", "ItemPrice", "ItemTotalDiscount", "ItemDiscount", "ItemDiscountRate"}

// item is one thing that was sold.
type item struct {
	sku      string
	quantity int
	amount   conversion.Amount // after its discount
}

// impact reads the rows of one order.
func (p *rowParser) impact(rows []sentRow) conversion.Claim {
	var items []item
	for _, row := range rows[1:] {
		p.begin(row)
		p.agree(rows[0], row)
		items = append(items, p.impactItems(p.currency("CurrencyCode"))...)
	}
	p.begin(rows[0])
	currency := p.currency("CurrencyCode")
	items = append(p.impactItems(currency), items...)
	var c conversion.Claim
	c.Event, c.EventNow = p.eventOrNow("EventDate")
	c.EventType = p.eventTypeOf("EventTypeId", "EventTypeCode")
	c.ReferenceID = p.id("OrderId")
	if c.ReferenceID == "" && !p.faulted("OrderId") {
		p.fault(conversion.OptionMissing, "OrderId", "", "%s is blank. Fill in the order's id.", p.label("OrderId"))
	}
	if c.Campaign = p.id("CampaignId"); c.Campaign == "" && !p.faulted("CampaignId") {
		p.fault(conversion.OptionMissing, "CampaignId", "", "%s is blank. Fill in the programme's id.", p.label("CampaignId"))
	}
	c.ReasonCode = p.text("DispositionCode")
	p.impactCall(&c)
	p.impactSale(&c, items, currency)
	var kept []string
	for _, name := range slices.Concat(impactCosts, impactExtra) {
		kept = append(kept, p.table.named(name)...)
	}
	c.Customer = p.kept(kept)
	return c
}

// impactCall reads whose call led to an order.
func (p *rowParser) impactCall(c *conversion.Claim) {
	c.CallIDs[conversion.CallClick] = p.id("ClickId")
	c.Publisher = p.id("MediaId")
	c.Called = p.phone("PhoneNumber")
	caller := p.text("CallerId")
	if phone, err := conversion.ParsePhone(caller, p.account.Region); err == nil {
		c.Caller = phone
	}
	byCaller := p.account.Match.ByEventTime
	switch {
	case c.CallIDs.Given(), p.callNamed(), c.Caller != 0 && byCaller:
	case c.Publisher != "":
		c.Web = true
	case c.Caller != 0:
		p.fault(conversion.OptionMissing, "CallerId", caller, "A caller and EventDate alone tell a call only if by_event_time is set for your account. Add ClickId, or MediaId for an order without a call.")
	case caller != "" && byCaller:
		p.fault(conversion.PhoneInvalid, "CallerId", caller, "%s is %q, which is no telephone number, so it tells no call. Correct it, or fill in ClickId or, for an order without a call, MediaId.", p.label("CallerId"), caller)
	case byCaller:
		p.fault(conversion.OptionMissing, "ClickId", "", "The row names no call. Fill in ClickId, CallerId or, for an order without a call, MediaId.")
	default:
		p.fault(conversion.OptionMissing, "ClickId", "", "The row names no call. Fill in ClickId or, for an order without a call, MediaId.")
	}
}

// agree notes where a further row of an order says otherwise than its first.
func (p *rowParser) agree(first, row sentRow) {
	for i, field := range p.table.fields {
		stem := strings.TrimRight(field, "0123456789")
		if field == "" || strings.HasPrefix(stem, "Item") || row.cells[i] == "" || row.cells[i] == first.cells[i] {
			continue
		}
		p.fault(conversion.ItemsIncomplete, field, row.cells[i], "%s is %q here and %q on line %d, but both rows are of one order. Make them the same, or leave this one blank.", p.label(field), row.cells[i], first.cells[i], first.line)
	}
}

// impactItems reads the items of a row.
func (p *rowParser) impactItems(currency conversion.Currency) []item {
	var items []item
	for _, n := range p.table.numbers(impactItems) {
		if !slices.ContainsFunc(impactItems, func(column string) bool { return p.text(column+n) != "" }) {
			continue
		}
		it := item{sku: p.id("ItemSku" + n)}
		quantity, given := p.count("ItemQuantity" + n)
		it.quantity = quantity
		switch {
		case it.sku == "" && !p.faulted("ItemSku"+n):
			p.fault(conversion.ItemsIncomplete, "ItemSku"+n, "", "Item %s has no SKU. Fill in ItemSku%s.", n, n)
		case p.severalSKUs("ItemSku"+n, it.sku):
		case !given && !p.faulted("ItemQuantity"+n):
			p.fault(conversion.ItemsIncomplete, "ItemQuantity"+n, "", "Item %s (%s) has no quantity. Fill in ItemQuantity%s, at least 1.", n, it.sku, n)
		}
		it.amount = p.itemAmount(n, quantity, currency)
		items = append(items, it)
	}
	return items
}

// severalSKUs faults a SKU that holds a comma, which is what parts SKUs in a list.
func (p *rowParser) severalSKUs(field, sku string) bool {
	several := strings.Contains(sku, ",")
	if several {
		p.fault(conversion.ItemsIncomplete, field, sku, "%s is %q, but a SKU can't hold a comma. Give each item columns of its own.", p.label(field), sku)
	}
	return several
}

// itemAmount is what all of an item cost, after its discount.
func (p *rowParser) itemAmount(n string, quantity int, currency conversion.Currency) conversion.Amount {
	sub, price := p.amount("ItemSubTotal"+n, currency), p.amount("ItemPrice"+n, currency)
	switch {
	case sub.Given && price.Given:
		p.fault(conversion.OptionInvalid, "ItemPrice"+n, p.text("ItemPrice"+n), "Item %s has both ItemSubTotal and ItemPrice. Leave one of them blank.", n)
	case price.Given:
		sub = p.times("ItemPrice"+n, price, quantity)
	case !sub.Given && !p.faulted("ItemSubTotal"+n) && !p.faulted("ItemPrice"+n):
		p.fault(conversion.ItemsIncomplete, "ItemSubTotal"+n, "", "What item %s cost is missing. Fill in ItemSubTotal%s or ItemPrice%s.", n, n, n)
	}
	total, each := p.amount("ItemTotalDiscount"+n, currency), p.amount("ItemDiscount"+n, currency)
	rate, rated := p.percent("ItemDiscountRate" + n)
	if several(total.Given, each.Given, rated) {
		p.fault(conversion.AmountAmbiguous, "ItemDiscount"+n, "", "Item %s has several discounts, which may mean the same one. Leave one of ItemTotalDiscount%s, ItemDiscount%s and ItemDiscountRate%s.", n, n, n, n)
		return conversion.Amount{}
	}
	off := total.Minor + p.times("ItemDiscount"+n, each, quantity).Minor
	if rated {
		off = sub.Percent(rate).Minor
	}
	if off > 0 && off > sub.Minor && sub.Given {
		p.fault(conversion.AmountInvalid, "ItemTotalDiscount"+n, "", "The discount on item %s (%s) is more than it cost (%s). Correct one of them.", n, conversion.Cents(off, currency), sub)
	}
	sub.Minor -= off
	return sub
}

// times is what an amount comes to a number of times.
func (p *rowParser) times(column string, each conversion.Amount, quantity int) conversion.Amount {
	all, ok := each.Times(quantity)
	if !ok {
		p.fault(conversion.AmountInvalid, column, p.text(column), "%s is %q, and %d times that is more than can be held. Correct it.", p.label(column), p.text(column), quantity)
	}
	return all
}

func several(given ...bool) bool {
	n := 0
	for _, g := range given {
		if g {
			n++
		}
	}
	return n > 1
}

// impactSale computes the sale of an order: what its items cost after all
// discounts, or what the order says by itself. Tax and shipping are no part of it.
func (p *rowParser) impactSale(c *conversion.Claim, items []item, currency conversion.Currency) {
	alone := p.amount("OrderSubTotalPostDiscount", currency)
	discount := p.amount("OrderDiscount", currency)
	rate, rated := p.percent("OrderDiscountRate")
	for _, column := range impactCosts {
		p.amount(column, currency)
	}
	switch {
	case len(items) == 0:
		c.Sale = alone
		return
	case alone.Given:
		p.fault(conversion.OptionInvalid, "OrderSubTotalPostDiscount", p.text("OrderSubTotalPostDiscount"), "The order has items, so OrderSubTotalPostDiscount must stay blank. Take it out, or take out the items.")
		return
	case discount.Given && rated:
		p.fault(conversion.AmountAmbiguous, "OrderDiscountRate", p.text("OrderDiscountRate"), "The order has both OrderDiscount and OrderDiscountRate, which may mean the same. Leave one of them.")
		return
	}
	sum := conversion.Cents(0, currency)
	var skus, quantities, amounts []string
	for _, it := range items {
		var ok bool
		if sum, ok = sum.Plus(it.amount); !ok {
			p.fault(conversion.AmountInvalid, "OrderId", c.ReferenceID, "The order's items come to more than can be held. Correct what they cost.")
			return
		}
		skus, quantities = append(skus, it.sku), append(quantities, strconv.Itoa(it.quantity))
	}
	off := discount.Minor
	if rated {
		off = sum.Percent(rate).Minor
	}
	if off > 0 && off > sum.Minor {
		p.fault(conversion.AmountInvalid, "OrderDiscount", p.text("OrderDiscount"), "The order's discount (%s) is more than its items cost (%s). Correct one of them.", conversion.Cents(off, currency), sum)
		return
	}
	if off > 0 && slices.ContainsFunc(items, func(it item) bool { return it.amount.Minor < 0 }) {
		p.fault(conversion.AmountInvalid, "OrderDiscount", p.text("OrderDiscount"), "The order has a discount and an item below zero, so it can't be told what each item cost. Take the discount off the items themselves.")
		return
	}
	for i, part := range spread(off, items, sum.Minor) {
		amounts = append(amounts, strconv.FormatInt(items[i].amount.Minor-part, 10))
	}
	sum.Minor -= off
	c.Sale = sum
	c.SKUs, c.Quantities, c.ItemAmounts = strings.Join(skus, ","), strings.Join(quantities, ","), strings.Join(amounts, ",")
}

// spread divides a discount among items in proportion to what they cost, so that
// the parts sum to it: what rounding leaves goes to those it cut the most, the
// first of equals.
func spread(off int64, items []item, sum int64) []int64 {
	parts := make([]int64, len(items))
	if off == 0 || sum == 0 {
		return parts
	}
	order := make([]int, len(items))
	cut := make([]decimal.Decimal, len(items))
	left := off
	for i, it := range items {
		exact := decimal.NewFromInt(off).Mul(decimal.NewFromInt(it.amount.Minor))
		whole, rest := exact.QuoRem(decimal.NewFromInt(sum), 0)
		parts[i], cut[i], order[i] = whole.IntPart(), rest, i
		left -= parts[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cut[b].Cmp(cut[a]) })
	for _, i := range order[:left] {
		parts[i]++
	}
	return parts
}

// impactModify are the columns of impact.com's modifications and reversals. Every
// row is about a conversion that is held.
var impactModify = &Dialect{
	Name:  "impact-modify",
	Takes: conversion.TakesConversions,
	Required: []Requirement{
		{"the action (ActionId or OrderId)", []string{"ActionId", "OrderId"}},
		{"why it changes (Reason)", []string{"Reason"}},
	},
	Columns: []Column{
		{"ActionId", nil, KindID, "Our id of the conversion."},
		{"OrderId", []string{"Oid"}, KindID, "The order; with ActionTrackerId it means the newest conversion of it."},
		{"ActionTrackerId", []string{"EventTypeId", "EventTypeCode"}, KindText, "The event type, or one of its codes."},
		{"Amount", nil, KindAmount, "The sale from now on; 0 reverses the conversion."},
		{"CurrencyCode", []string{"Currency"}, KindCurrency, "The currency of the amounts, if not the account's."},
		{"CustomerStatus", nil, KindText, "Kept."},
		{"Reason", nil, KindText, "Why; it becomes the disposition."},
		{"Sku{i}", []string{"ItemSku{i}"}, KindID, "An item that changes."},
		{"Amount{i}", []string{"ItemAmount{i}"}, KindAmount, "What it costs from now on; 0 takes it out of the sale."},
		{"Quantity{i}", []string{"ItemQuantity{i}"}, KindNumber, "How many of it."},
	},
	labels: func(l *conversion.Labels) {
		l.Reference, l.Currency, l.Sale = "OrderId", "CurrencyCode", "Amount"
	},
	claim: (*rowParser).impactModify,
}

func (p *rowParser) impactModify() conversion.Claim {
	var c conversion.Claim
	c.Names = p.actionName()
	currency := p.currency("CurrencyCode")
	c.Sale = p.amount("Amount", currency)
	c.Effect.Reverse = c.Sale.Given && c.Sale.Minor == 0
	if c.Disposition = p.text("Reason"); c.Disposition == "" && !p.faulted("Reason") {
		p.fault(conversion.OptionMissing, "Reason", "", "%s is blank. Say why the conversion changes.", p.label("Reason"))
	}
	c.Customer = p.kept([]string{"CustomerStatus"})
	p.modifiedItems(&c, currency)
	return c
}

func (p *rowParser) actionName() conversion.Name {
	if id := p.id("ActionId"); id != "" {
		return conversion.Name{Column: "ActionId", ID: p.conversionID("ActionId", id)}
	}
	name := conversion.Name{Column: "OrderId", Reference: p.id("OrderId"), EventType: p.eventType("ActionTrackerId"), Newest: true}
	switch {
	case p.faulted("ActionId") || p.faulted("OrderId"):
	case name.Reference == "":
		p.fault(conversion.OptionMissing, "ActionId", "", "The row names no conversion. Fill in ActionId, or OrderId and ActionTrackerId.")
	case name.EventType == "" && !p.faulted("ActionTrackerId"):
		p.fault(conversion.OptionMissing, "ActionTrackerId", "", "An order may have a conversion of every event type, so ActionTrackerId is needed with OrderId. Fill it in.")
	}
	return name
}

// modifiedItems reads changes of single items.
func (p *rowParser) modifiedItems(c *conversion.Claim, currency conversion.Currency) {
	for _, n := range p.table.numbers([]string{"Sku", "Amount", "Quantity"}) {
		sku, amount := p.id("Sku"+n), p.amount("Amount"+n, currency)
		quantity, counted := p.count("Quantity" + n)
		if sku == "" && !amount.Given && !counted {
			continue
		}
		switch {
		case p.severalSKUs("Sku"+n, sku):
		case sku == "" || !amount.Given && !counted:
			p.fault(conversion.ItemsIncomplete, "Sku"+n, sku, "Item %s needs its SKU and a new amount or quantity. Fill in Sku%s and Amount%s.", n, n, n)
		}
		c.Effect.Items = append(c.Effect.Items, conversion.ItemChange{SKU: sku, Amount: amount, Quantity: quantity})
	}
	if len(c.Effect.Items) > 0 && c.Sale.Given {
		p.fault(conversion.OptionInvalid, "Amount", p.text("Amount"), "The row changes the whole order and single items of it. Leave Amount blank, or the items.")
	}
}
