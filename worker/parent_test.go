package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"calltally/conversion"
	"calltally/worker"
)

const parentHeader = "start_time,calling_phone_number,reference_id,parent_reference_id,reason_code,sale_amount\n"

// child is a row about the conversion with the reference id parent.
func child(parent, reason, sale string) string {
	return fmt.Sprintf(",,,%s,%s,%s\n", parent, reason, sale)
}

// own is a row about call i, in a file that has child rows as well.
func own(call int, reference, reason, sale string) string {
	return strings.Replace(line(call, reference, reason, sale), ","+reference+",", ","+reference+",,", 1)
}

// held are the conversions that are held, by reference id.
func (b *bench) held() map[string]conversion.Conversion {
	b.t.Helper()
	all := map[string]conversion.Conversion{}
	err := b.db.ListConversions(b.t.Context(), "", 0, func(c *conversion.Conversion, _, _ string) error {
		all[c.ReferenceID] = *c
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func TestAParentOnAnotherCallIsAConflict(t *testing.T) {
	const header = "start_time,calling_phone_number,reference_id,parent_reference_id,sale_amount,web_conversion,advertiser_campaign_id,affiliate_id_from_network\n"
	at := func(call int) string { return callStart(call).Format("2006-01-02T15:04:05Z07:00") }
	for _, test := range []struct{ name, row, want string }{
		{"the time of another call", at(1) + ",,,R0,99.00,,,", "rejected:clues_conflict"},
		{"the time and the caller of another call", fmt.Sprintf("%s,+%d,,R0,99.00,,,", at(1), int64(caller(1))), "rejected:clues_conflict"},
		{"no time", ",,,R0,99.00,,,", "updated"},
		{"the time of the parent's call", at(0) + ",,,R0,99.00,,,", "updated"},
		{"a parent that is a web conversion", ",,,W0,99.00,,,", "updated"},
		{"a parent that is a web conversion, and the time of a call", at(1) + ",,,W0,99.00,,,", "updated"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.know(0, 2)
			b.wantVerdicts(b.deliver("first.csv", header+at(0)+",,R0,,10.00,,,\n,,W0,,10.00,1,camp,pub\n").ID, "created created")
			before := b.ledger()
			upload := b.deliver("second.csv", header+test.row+"\n")
			b.wantVerdicts(upload.ID, test.want)
			outcome := b.outcomes(upload.ID)[0]
			if outcome.Verdict == conversion.Updated {
				parent := strings.Split(test.row, ",")[3]
				if sale := b.held()[parent].Sale.String(); sale != "99.00" {
					t.Errorf("the sale of %s is %s, want 99.00", parent, sale)
				}
				b.check()
				return
			}
			if after := b.ledger(); !slices.Equal(after, before) {
				t.Errorf("the ledger was\n%s\nand is now\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			if outcome.Column != "parent_reference_id" || outcome.Value != "R0" || outcome.CallID != "C1" || !strings.Contains(outcome.Message, `call C1, but parent_reference_id "R0"`) {
				t.Errorf("the outcome is %+v, want it to name both calls", outcome)
			}
			b.check()
		})
	}
}

// A conversion whose key parts have changed is found under the new ones, however
// its rows are spread over files and chunks.
func TestAConversionMovesToItsNewKey(t *testing.T) {
	tests := []struct {
		name  string
		rows  []string
		want  string
		sales map[string]string
	}{
		{"it is found under the new one", []string{own(0, "R0", "S", "10.00"), child("R0", "C", "95.00"), own(0, "R0", "C", "95.00")},
			"created updated unchanged", map[string]string{"R0": "95.00"}},
		{"it can be updated under the new one", []string{own(0, "R0", "S", "10.00"), child("R0", "C", ""), own(0, "R0", "C", "95.00"), child("R0", "", "96.00")},
			"created updated updated updated", map[string]string{"R0": "96.00"}},
		{"the key it left is free", []string{own(0, "R0", "S", "10.00"), child("R0", "C", "95.00"), own(0, "R1", "S", "20.00"), own(0, "R1", "S", "25.00"), own(0, "R0", "C", "95.00")},
			"created updated created updated unchanged", map[string]string{"R0": "95.00", "R1": "25.00"}},
		{"a key is free at once, whichever of two keys comes first in the index", []string{own(0, "R0", "C", "10.00"), child("R0", "S", "95.00"), own(0, "R1", "C", "20.00"), own(0, "R0", "S", "95.00")},
			"created updated created unchanged", map[string]string{"R0": "95.00", "R1": "20.00"}},
		{"it comes back", []string{own(0, "R0", "S", "10.00"), child("R0", "C", ""), child("R0", "S", ""), own(0, "R0", "S", "10.00")},
			"created updated updated unchanged", map[string]string{"R0": "10.00"}},
		{"two change places", []string{own(0, "R0", "S", "10.00"), own(0, "R1", "C", "20.00"), child("R0", "C", ""), child("R1", "S", ""), own(0, "", "C", "11.00"), own(0, "", "S", "21.00")},
			"created created updated updated updated updated", map[string]string{"R0": "11.00", "R1": "21.00"}},
		{"three change places in a ring", []string{own(0, "R0", "A", "1.00"), own(0, "R1", "B", "2.00"), own(0, "R2", "C", "3.00"), child("R0", "B", ""), child("R1", "C", ""), child("R2", "A", ""),
			own(0, "", "B", "4.00"), own(0, "", "C", "5.00"), own(0, "", "A", "6.00")},
			"created created created updated updated updated updated updated updated", map[string]string{"R0": "4.00", "R1": "5.00", "R2": "6.00"}},
		{"the one that came last to a key is updated, and the one before it once that has gone", []string{own(0, "R0", "S", "10.00"), own(0, "R1", "C", "20.00"), child("R1", "S", ""), own(0, "R1", "S", "21.00"), child("R1", "C", ""), own(0, "R0", "S", "11.00")},
			"created created updated updated updated updated", map[string]string{"R0": "11.00", "R1": "21.00"}},
	}
	for _, test := range tests {
		// How many rows the first file has and how many the others have, and how many
		// make a chunk.
		for _, spread := range []struct{ first, others, chunk int }{{len(test.rows), 1, 0}, {len(test.rows), 1, 1}, {len(test.rows), 1, 2}, {len(test.rows), 1, 3}, {1, len(test.rows), 0}, {2, len(test.rows), 0}, {3, len(test.rows), 0}, {1, 1, 0}} {
			t.Run(fmt.Sprintf("%s, files of %d and %d, chunks of %d", test.name, spread.first, spread.others, spread.chunk), func(t *testing.T) {
				b := newBench(t, nil)
				b.know(0, 1)
				b.ChunkRows = spread.chunk
				var verdicts []string
				files := append([][]string{test.rows[:spread.first]}, slices.Collect(slices.Chunk(test.rows[spread.first:], spread.others))...)
				for _, rows := range files {
					upload := b.deliver("orders.csv", parentHeader+strings.Join(rows, ""))
					verdicts = append(verdicts, b.verdicts(upload.ID))
				}
				if got := strings.Join(verdicts, " "); got != test.want {
					t.Errorf("the verdicts are %q, want %q", got, test.want)
				}
				sales := map[string]string{}
				for reference, c := range b.held() {
					sales[reference] = c.Sale.String()
				}
				if fmt.Sprint(sales) != fmt.Sprint(test.sales) || len(b.sales()) != len(test.sales) {
					t.Errorf("the ledger holds %v in %d conversions, want %v", sales, len(b.sales()), test.sales)
				}
				b.check()
			})
		}
	}
}

func TestAnUpdateLeavesWhatItDoesNotGive(t *testing.T) {
	const header = "start_time,calling_phone_number,reference_id,parent_reference_id,sku_list,quantity_list,email_address,name,order_city\n"
	first := strings.TrimSuffix(line(0, "R0", "", ""), "\n")
	for _, test := range []struct {
		name, created, update string
		want                  string // its verdict
		customer, skus, items string
		rule                  string // is said of it
	}{
		{"a new email keeps the name", `,,ann@acme.example,Ann,Rome`, `,,,R0,,,new@acme.example,,`, "updated",
			`{"email_address":"new@acme.example","name":"Ann","order_city":"Rome"}`, "", "", "customer data"},
		{"a name for an email", `,,ann@acme.example,,`, `,,,R0,,,,Ann,`, "updated", `{"email_address":"ann@acme.example","name":"Ann"}`, "", "", "customer data"},
		{"a part that is known says nothing new", `,,ann@acme.example,Ann,`, `,,,R0,,,,Ann,`, "unchanged", `{"email_address":"ann@acme.example","name":"Ann"}`, "", "", ""},
		{"a row without customer data keeps all", `CD,1,ann@acme.example,Ann,`, `,,,R0,CD,2,,,`, "updated", `{"email_address":"ann@acme.example","name":"Ann"}`, "CD", "2", "quantity_list 1 → 2"},
		{"new SKUs without quantities clear those of the old", `"DVD,CD","1,2",,,`, `,,,R0,LP,,,,`, "updated", "", "LP", "", "quantity_list 1,2 → none"},
		{"new SKUs bring their quantities", `"DVD,CD","1,2",,,`, `,,,R0,LP,3,,,`, "updated", "", "LP", "3", "quantity_list 1,2 → 3"},
		{"the same SKUs keep their quantities", `"DVD,CD","1,2",,,`, `,,,R0,"DVD,CD",,,,`, "unchanged", "", "DVD,CD", "1,2", ""},
		{"no SKUs keep their quantities", `"DVD,CD","1,2",,,`, `,,,R0,,,,Ann,`, "updated", `{"name":"Ann"}`, "DVD,CD", "1,2", "customer data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, nil)
			b.know(0, 1)
			b.wantVerdicts(b.deliver("first.csv", header+first+test.created+"\n").ID, "created")
			upload := b.deliver("second.csv", header+test.update+"\n")
			b.wantVerdicts(upload.ID, test.want)
			c := b.held()["R0"]
			if c.Customer != test.customer || c.SKUs != test.skus || c.Quantities != test.items {
				t.Errorf("it holds customer %s, SKUs %q, quantities %q; want %s, %q, %q", c.Customer, c.SKUs, c.Quantities, test.customer, test.skus, test.items)
			}
			if rule := b.outcomes(upload.ID)[0].Rule; !strings.Contains(rule, test.rule) || strings.Contains(rule, "Ann") {
				t.Errorf("the rule is %q, want it to say %q", rule, test.rule)
			}
			b.check()
		})
	}
}

// countingLedger counts the earlier changes that are read.
type countingLedger struct {
	conversion.Ledger
	most *int
}

func (l countingLedger) Earlier(c *conversion.Conversion) ([]*conversion.Change, error) {
	changes, err := l.Ledger.Earlier(c)
	*l.most = max(*l.most, len(changes))
	return changes, err
}

type countingStore struct {
	worker.Store
	most *int
}

func (s countingStore) around(other worker.Store) worker.Store { return countingStore{other, s.most} }

func (s countingStore) Settle(ctx context.Context, query conversion.HeldQuery, decide func(*conversion.Held) (*conversion.Settlement, error)) error {
	return s.Store.Settle(ctx, query, func(held *conversion.Held) (*conversion.Settlement, error) {
		held.Ledger = countingLedger{held.Ledger, s.most}
		return decide(held)
	})
}

// Updating one conversion again and again must not read all that it ever was.
func TestAnUpdateReadsFewEarlierChanges(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	most := 0
	b.Worker = b.another(countingStore{b.db, &most})
	b.ChunkRows = 10
	var rows []string
	for i := range 99 {
		rows = append(rows, line(0, "R0", "S", fmt.Sprintf("%d.00", i+1)))
	}
	b.deliver("many.csv", table(rows...))
	upload := b.deliver("back.csv", sold("98.00"))
	b.wantVerdicts(upload.ID, "updated")
	if most < 1 || most > 20 {
		t.Errorf("an update read %d earlier changes, want at most 20", most)
	}
	// The newest are those that matter: what was set back was said last.
	if o := b.outcomes(upload.ID)[0]; !strings.Contains(o.Message, "This sets the sale back to 98.00, which upload 1 had changed to 99.00.") {
		t.Errorf("the outcome says %q", o.Message)
	}
	b.check()
}

// Another conversion lies under the key that is left and come back to.
func TestAConversionThatLeavesAKeyAndComesBackInOneChunk(t *testing.T) {
	b := newBench(t, nil)
	b.know(0, 1)
	b.deliver("1.csv", parentHeader+own(0, "R0", "S", "10.00")+own(0, "R1", "C", "20.00")+child("R1", "S", ""))
	u := b.deliver("2.csv", parentHeader+child("R1", "C", "")+child("R1", "S", ""))
	b.wantVerdicts(u.ID, "updated updated")
	b.check()
}
