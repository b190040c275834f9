package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"calltally/conversion"
	"calltally/report"
)

func TestBadInputHeader(t *testing.T) { runBadInputs(t, badHeaders()) }

func TestBadInputRow(t *testing.T) { runBadInputs(t, badRows()) }

// badWith is the good row, below the usual header, with something else in a cell.
func badWith(instead, cell string) string {
	return badHead + strings.Replace(badRow, instead, cell, 1)
}

func badHeaders() []badInput {
	return []badInput{
		{name: "035_missing_column", content: "call_date,calling_phone_number,reference_id,sale_amount\n" + badRow,
			want: `refused: Line 1 has no column for when the call started (start_time or start_time_t; or parent_reference_id or web_conversion). It has: "call_date", "calling_phone_number", "reference_id", "sale_amount". Add it, or have one of these mapped to it in the account's columns. (required_column_missing)`},
		{name: "036_duplicate_column", content: badHead[:len(badHead)-1] + ",Sale Amount\n" + badRow[:len(badRow)-1] + ",60.00\n",
			want: `refused: Line 1 has two columns for sale_amount: "sale_amount" and "Sale Amount". Rename or delete one. (header_duplicated)`},
		{name: "037_two_aliases_of_one_column", content: badHead[:len(badHead)-1] + ",call_center_call_id\n" + badRow[:len(badRow)-1] + ",R2\n",
			want: `refused: Line 1 has two columns for reference_id: "reference_id" and "call_center_call_id". Rename or delete one. (header_duplicated)`},
		{name: "038_unknown_column", content: badHead[:len(badHead)-1] + ",agent\n" + badRow[:len(badRow)-1] + ",Ann\n",
			want: `note: Not read, but kept in the results file: "agent".
2 created
` + badHeld},
		{name: "039_no_header", content: badRow + badRow,
			want: `refused: Line 1 should name the columns, but none of its names is one that we know ("2025-03-04 10:00:00", "212-555-0101", "R1", "50.00"). Put a header such as start_time, calling_phone_number, sale_amount on the first line. (header_missing)`},
		{name: "040_case_and_spaces", content: " Start Time ,CALLING-PHONE-NUMBER,Reference_ID,SaleAmount\n" + badRow,
			want: badTaken},
		{name: "041_semicolons", content: strings.ReplaceAll(badHead+badRow, ",", ";"),
			want: `delimiter ";"
2 created
` + badHeld},
		{name: "041_tabs", content: strings.ReplaceAll(badHead+badRow, ",", "\t"),
			want: `delimiter "\t"
2 created
` + badHeld},
		// The names that we know decide, and no row fits them.
		{name: "042_unclear_delimiter", content: "start_time,calling_phone_number;reference_id,sale_amount\n" + badRow,
			want: `note: Not read, but kept in the results file: "calling_phone_number;reference_id".
2 rejected: This line doesn't have 3 cells as the header does. Check for a missing or an unquoted delimiter. (row_malformed)`},
		{name: "042_unknown_delimiter", content: strings.ReplaceAll(badHead+badRow, ",", "~"),
			want: `refused: Line 1 should name the columns, but none of its names is one that we know ("start_time~calling_phone_number~referen…"). Put a header such as start_time, calling_phone_number, sale_amount on the first line. (header_missing)`},
		{name: "043_preamble_lines", content: "Orders of March\nAcme Inc.\n" + badHead + badRow,
			want: `refused: Line 1 should name the columns, but none of its names is one that we know ("Orders of March"). Put a header such as start_time, calling_phone_number, sale_amount on the first line. (header_missing)`},
		// It is a column that is not known.
		{name: "044_empty_name_over_cells", content: badHead[:len(badHead)-1] + ",\n" + badRow[:len(badRow)-1] + ",note\n",
			want: badTaken},
		{name: "045_foreign_language", content: "Anrufbeginn;Rufnummer;Bestellnummer;Betrag\n" + strings.ReplaceAll(badRow, ",", ";"),
			want: `refused: Line 1 should name the columns, but none of its names is one that we know ("Anrufbeginn", "Rufnummer", "Bestellnummer", "Betrag"). Put a header such as start_time, calling_phone_number, sale_amount on the first line. (header_missing)`},
		// It is a column that is not known; what the results make of it is tested below.
		{name: "046_formula_as_name", content: badHead[:len(badHead)-1] + ",\"=HYPERLINK(\"\"http://x.example\"\")\"\n" + badRow[:len(badRow)-1] + ",1\n",
			want: `note: Not read, but kept in the results file: "=HYPERLINK(\"http://x.example\")".
2 created
` + badHeld},
		{name: "046_formula_in_place_of_a_name", content: "=A1,calling_phone_number,reference_id,sale_amount\n" + badRow,
			want: `refused: Line 1 has no column for when the call started (start_time or start_time_t; or parent_reference_id or web_conversion). It has: "=A1", "calling_phone_number", "reference_id", "sale_amount". Add it, or have one of these mapped to it in the account's columns. (required_column_missing)`},
		{name: "047_header_again", content: badHead + badRow + badHead + "2025-03-04 11:00:00,212-555-0102,R2,20.00\n",
			want: `2 created
3 rejected: start_time is "start_time", which is not a time. Write it as 2026-03-31 14:05:09. calling_phone_number is "calling_phone_number", which can't be a telephone number (region US). Write it as +12125550123, or leave it blank if it is not known. sale_amount is "sale_amount", which is not an amount. Write it as 1234.50. (start_time_invalid)
4 created
holds R1: sale 50.00 USD, payout 5.00, call C1
holds R2: sale 20.00 USD, payout 2.00, call C2`},
	}
}

func badRows() []badInput {
	lately, latelyShown := badTime(-time.Hour)
	_, until := badTime(-time.Hour + 7*24*time.Hour)
	ahead, aheadShown := badTime(48 * time.Hour)
	return []badInput{
		{name: "048_too_few_cells", content: badHead + badRow + "2025-03-04 11:00:00,212-555-0102,20.00\n",
			want: "2 created\n3 rejected: This line doesn't have 4 cells as the header does. Check for a missing or an unquoted delimiter. (row_malformed)\n" + badHeld},
		{name: "049_too_many_cells", content: badHead + badRow + "2025-03-04 11:00:00,212-555-0102,R2,1,250.00\n",
			want: "2 created\n3 rejected: This line doesn't have 4 cells as the header does. Check for a missing or an unquoted delimiter. (row_malformed)\n" + badHeld},
		{name: "050_stray_quote", content: badHead + badRow + "2025-03-04 11:00:00,212-555-0102,R\"2,20.00\n2025-03-04 12:00:00,212-555-0103,R3,20.00\n",
			want: "2 created\n3 rejected: A quote stands inside a cell at character 35 of the line. Put the cell in quotes and double the quotes inside it. (row_malformed)\n4 created\nholds R1: sale 50.00 USD, payout 5.00, call C1\nholds R3: sale 20.00 USD, payout 2.00, call C3"},
		{name: "051_unclosed_quote", content: badHead + badRow + "2025-03-04 11:00:00,212-555-0102,\"R2,20.00\n2025-03-04 12:00:00,212-555-0103,R3,20.00\n",
			want: "refused: The quote opened on line 3 is never closed, so what follows it can't be told apart. Close it, or double the quotes inside cells. (not_a_table)"},
		// A start time alone will do, within less.
		{name: "052_no_phone", content: badWith("212-555-0101", "") + "2025-03-05 22:17:31,,R2,20.00\n",
			want: "2 created\n3 rejected: No call within 60 s of 2025-03-05 22:17:31 EST. Correct the time, or send the row again once its call is known. (call_not_found)\n" + badHeld},
		{name: "053_letters_in_a_phone", content: badWith("212-555-0101", "212-555-O1O1"),
			want: `2 rejected: calling_phone_number is "212-555-O1O1", which can't be a telephone number (region US). Write it as +12125550123, or leave it blank if it is not known. (phone_invalid)`},
		{name: "054_phone_that_a_spreadsheet_destroyed", content: badWith("212-555-0101", "1.21256E+10"),
			want: `2 rejected: calling_phone_number is "1.21256E+10": a spreadsheet has turned the number into a rounded one. Format the column as text, enter the number again and re-export. (phone_damaged_by_excel)`},
		{name: "055_phone_without_country_code", content: badWith("212-555-0101", "2125550101"),
			want: badTaken},
		{name: "055_phone_without_country_code_or_region", account: "25", content: badWith("212-555-0101", "020 7183 8750"),
			want: `2 rejected: calling_phone_number is "020 7183 8750", which can't be a telephone number (without a country code, and no region is set for your account). Write it as +12125550123, or leave it blank if it is not known. (phone_invalid)`},
		{name: "056_phone_with_extension", content: badWith("212-555-0101", "212-555-0101 ext. 7"),
			want: badTaken},
		{name: "057_unknown_call_lately", content: badWith("2025-03-04 10:00:00", lately),
			want: "2 waiting: No call within 5 minutes of " + latelyShown + " from +12125550101. The row waits for the call until " + until + ". (call_not_found)"},
		{name: "057_unknown_call_long_ago", content: badWith("2025-03-04 10:00:00", "2025-03-05 23:00:00"),
			want: "2 rejected: No call within 5 minutes of 2025-03-05 23:00:00 EST from +12125550101. Correct the time or the caller, or send the row again once its call is known. (call_not_found)"},
		{name: "058_tie", content: badHead + "2025-03-04 12:00:02,212-555-0103,R1,50.00\n",
			want: "2 rejected: 2 calls lie about equally near to 2025-03-04 12:00:02 EST; the nearest must be 10 s nearer than the next. Correct the start time to the second. (call_ambiguous)\nnear C4: started 2025-03-04 12:00:04 EST, 2 s away\nnear C3: started 2025-03-04 12:00:00 EST, 2 s away"},
		{name: "059_outside_the_window", content: badWith("10:00:00", "10:07:00"),
			want: "2 rejected: No call within 5 minutes of 2025-03-04 10:07:00 EST from +12125550101. Correct the time or the caller, or send the row again once its call is known. (call_not_found)\nnear C1: same caller, started 2025-03-04 10:00:00 EST, 420 s away; the window is 300 s"},
		{name: "060_thousands", content: badWith("50.00", `"1,000.00"`),
			want: "2 created\nholds R1: sale 1000.00 USD, payout 100.00, call C1"},
		{name: "061_thousands_or_decimals", content: badWith("50.00", `"1,234"`),
			want: `2 rejected: sale_amount is "1,234": two readings are possible: 1234 or 1.234. Write it without a thousands mark. (amount_ambiguous)`},
		{name: "062_foreign_currency_sign", content: badWith("50.00", "€50.00"),
			want: `2 rejected: sale_amount is "€50.00", but the row's currency is USD. Correct one of them. (currency_mismatch)`},
		// It is kept in its own currency.
		{name: "062_foreign_currency", content: badHead[:len(badHead)-1] + ",currency\n" + badRow[:len(badRow)-1] + ",EUR\n",
			want: "2 created\nholds R1: sale 50.00 EUR, payout 5.00, call C1"},
		{name: "062_no_currency", content: badHead[:len(badHead)-1] + ",currency\n" + badRow[:len(badRow)-1] + ",EURO\n",
			want: `2 rejected: currency (sale_currency) is "EURO", which is not an ISO 4217 currency. Write it as USD. (currency_invalid)`},
		{name: "063_fraction_of_a_cent", content: badWith("50.00", "12.345"),
			want: `2 rejected: sale_amount is "12.345", which is not an amount: USD has at most 2 decimal places. Write it as 1234.50. (amount_invalid)`},
		{name: "064_negative", content: badWith("50.00", "-50.00"),
			want: `2 rejected: sale_amount is "-50.00", which is negative. Correct it, or have negative_amounts set for your account. (amount_invalid)`},
		{name: "065_negative_in_parentheses", content: badWith("50.00", "(100)"),
			want: `2 rejected: sale_amount is "(100)", which is negative. Correct it, or have negative_amounts set for your account. (amount_invalid)`},
		{name: "066_no_decimal", content: badWith("50.00", "NaN") + "2025-03-04 10:00:00,212-555-0101,R2,Inf\n2025-03-04 10:00:00,212-555-0101,R3,0x1p4\n2025-03-04 10:00:00,212-555-0101,R4,1_000\n2025-03-04 10:00:00,212-555-0101,R5,5e1\n",
			want: `2 rejected: sale_amount is "NaN", which is not an amount. Write it as 1234.50. (amount_invalid)
3 rejected: sale_amount is "Inf", which is not an amount. Write it as 1234.50. (amount_invalid)
4 rejected: sale_amount is "0x1p4", which is not an amount. Write it as 1234.50. (amount_invalid)
5 rejected: sale_amount is "1_000", which is not an amount. Write it as 1234.50. (amount_invalid)
6 rejected: sale_amount is "5e1", which is not an amount. Write it as 1234.50. (amount_invalid)`},
		{name: "067_digits_without_end", content: badWith("50.00", "1e1000000") + "2025-03-04 10:00:00,212-555-0101,R2," + strings.Repeat("9", 30) + "\n2025-03-04 10:00:00,212-555-0101,R3," + strings.Repeat("9", 60) + "\n",
			want: `2 rejected: sale_amount is "1e1000000", which is not an amount. Write it as 1234.50. (amount_invalid)
3 rejected: sale_amount is "999999999999999999999999999999", which is not an amount: too large. Write it as 1234.50. (amount_invalid)
4 rejected: sale_amount is "999999999999999999999999999999999999999999999999999999999999", which is not an amount: longer than 40 characters. Write it as 1234.50. (amount_invalid)`},
		{name: "070_blank_amount", before: badHead + badRow, content: badWith("50.00", ""),
			want: "2 unchanged\n" + badHeld},
		{name: "070_zero_amount", before: badHead + badRow, content: badWith("50.00", "0"),
			want: "2 updated\nholds R1: sale 0.00 USD, payout 0.00, call C1"},
		{name: "071_no_such_day", content: badWith("2025-03-04", "02/30/2025"),
			want: `dates are mdy
2 rejected: start_time is "02/30/2025 10:00:00", which is not a time: there is no such day. Write it as 2026-03-31 14:05:09. (start_time_invalid)`},
		{name: "072_month_or_day_unknown", content: badWith("2025-03-04", "03/04/2025"),
			want: "refused: No date in the file tells month from day (see line 2). Write dates as 2026-03-31, or have date_order set to mdy or dmy for your account. (date_order_undecided)"},
		{name: "072_month_or_day_by_another_row", content: badWith("2025-03-04", "03/04/2025") + "03/25/2025 10:00:00,212-555-0101,R2,20.00\n",
			want: "dates are mdy\n2 created\n3 rejected: No call within 5 minutes of 2025-03-25 10:00:00 EDT from +12125550101. Correct the time or the caller, or send the row again once its call is known. (call_not_found)\n" + badHeld},
		{name: "072_month_or_day_by_the_account", account: "25", content: badHead + "03/04/2025 10:00:00,+44 20 7183 8751,R1,50.00\n",
			want: "dates are dmy\n2 created\nholds R1: sale 50.00 USD, payout 5.00, call Y2"},
		{name: "072_month_or_day_by_two_rows_against_each_other", content: badWith("2025-03-04", "03/25/2025") + "25/03/2025 10:00:00,212-555-0101,R2,20.00\n",
			want: "refused: Dates are written both ways: line 2 can only be month/day/year, line 3 only day/month/year. Write them all one way, best as 2026-03-31. (date_order_undecided)"},
		{name: "073_time_that_never_was", content: badWith("2025-03-04 10:00:00", "2025-03-09 02:30:00"),
			want: `2 rejected: start_time is "2025-03-09 02:30:00", a time that never was in America/New_York: clocks were put forward over it. Correct it or add its offset. (start_time_in_dst_gap)`},
		{name: "074_time_that_was_twice", content: badHead + "2025-11-02 01:30:00,212-555-0105,R1,50.00\n2025-11-02 01:45:00,212-555-0106,R2,20.00\n",
			want: "2 created\n3 rejected: Clocks were put back over this time, so it occurs twice, and there is a call each time. Add the offset to the time. (call_ambiguous)\nnear C6: started 2025-11-02 01:45:00 EDT\nnear C7: started 2025-11-02 01:45:00 EST\nholds R1: sale 50.00 USD, payout 5.00, call C5"},
		{name: "075_over_a_day_ahead", content: badWith("2025-03-04 10:00:00", ahead),
			want: "2 rejected: The call of " + aheadShown + " has not taken place yet. Check the date and the time zone. (call_in_future)"},
		{name: "076_day_serial", content: badWith("2025-03-04 10:00:00", "45720.4166666667"),
			want: badTaken},
		{name: "077_row_twice", content: badHead + badRow + badRow,
			want: "2 created\n3 unchanged\n" + badHeld},
		{name: "078_one_call_two_amounts", content: badHead + badRow + "2025-03-04 10:00:00,212-555-0101,R1,60.00\n",
			want: "2 created\n3 updated\nholds R1: sale 60.00 USD, payout 6.00, call C1"},
		{name: "081_SQL", content: badWith("R1", "R1'); DROP TABLE upload;--"),
			want: "2 created\nholds R1'); DROP TABLE upload;--: sale 50.00 USD, payout 5.00, call C1"},
		{name: "082_cell_of_5_MB", content: badWith("R1", `"`+strings.Repeat("x", 5<<20)+`"`),
			want: "refused: A quote is opened on or after line 1 and not closed within 1024 KiB. Close it, or double the quotes inside cells. (not_a_table)"},
		{name: "082_cell_of_40_KiB", content: badWith("R1", `"`+strings.Repeat("x", 40<<10)+`"`),
			want: "2 rejected: reference_id is 40 KiB long; at most 32 KiB are read. Shorten it. (cell_too_long)"},
		{name: "083_call_of_another_account", content: badHead + "2025-03-04 15:00:00,212-555-0150,R1,50.00\n",
			want: "2 rejected: No call within 5 minutes of 2025-03-04 15:00:00 EST from +12125550150. Correct the time or the caller, or send the row again once its call is known. (call_not_found)\nnear one: a call of that caller and time belongs to another account"},
		{name: "084_blank_lines", content: badHead + "\n\n" + badRow + "\n,,,\n2025-03-04 15:30:00,oops,R2,20.00\n",
			want: `note: Passed over: 1 row without any content.
4 created
7 rejected: calling_phone_number is "oops", which can't be a telephone number (region US). Write it as +12125550123, or leave it blank if it is not known. (phone_invalid)
` + badHeld},
	}
}

// badTime is a time from now, as it is sent and as the account's clock shows it.
func badTime(from time.Duration) (sent, shown string) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		panic(err)
	}
	at := time.Now().Add(from).In(zone)
	return at.Format(time.RFC3339), at.Format("2006-01-02 15:04:05 MST")
}

// What is told of a row in a spreadsheet or a web page does nothing there.
func TestBadInputText(t *testing.T) {
	for _, b := range badTexts() {
		t.Run(b.name, func(t *testing.T) {
			dir := newBadHouse(t, badAccounts)
			file := filepath.Join(dir, "orders.csv")
			if err := os.WriteFile(file, []byte(b.content), 0o600); err != nil {
				t.Fatal(err)
			}
			runBad(t, dir, "process", file, "--account", "23", "--results", dir)
			results, err := os.ReadFile(filepath.Join(dir, "orders.results.csv"))
			if err != nil {
				t.Fatal(err)
			}
			app := startApp(t, configOf(t, strings.Replace(badAccounts, "calltally.db", filepath.Join(dir, "calltally.db"), 1)))
			var upload *conversion.Upload // the newest
			if err := app.store.ListUploads(t.Context(), "", 1, func(u *conversion.Upload) error { upload = u; return nil }); err != nil {
				t.Fatal(err)
			}
			told, err := app.worker.Told(t.Context(), upload, 1)
			if err != nil {
				t.Fatal(err)
			}
			var page strings.Builder
			if err := report.HTML(&page, told.Report); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(results), b.results) || !strings.Contains(page.String(), b.page) || b.never != "" && strings.Contains(page.String(), b.never) {
				t.Errorf("the results are\n%s\nand the page\n%s", results, &page)
			}
		})
	}
}

// badShown is a file, and how what it holds is shown.
type badShown struct {
	name, content        string
	results, page, never string // what they have, and what the page never has
}

func badTexts() []badShown {
	return []badShown{
		{
			name: "046_formula_as_name_in_the_results", content: badHead[:len(badHead)-1] + ",=1+1\n" + badRow[:len(badRow)-1] + ",1\n",
			results: "start_time,calling_phone_number,reference_id,sale_amount,'=1+1,result,",
		},
		{
			name: "079_formula_in_text", content: badHead[:len(badHead)-1] + ",agent\n" + badRow[:len(badRow)-1] + ",=cmd|' /C calc'!A0\n" + badRow[:len(badRow)-1] + ",@SUM(1)\n" + badRow[:len(badRow)-1] + ",+1+1\n",
			results: "2025-03-04 10:00:00,212-555-0101,R1,50.00,'=cmd|' /C calc'!A0,created,",
		},
		{
			name: "080_HTML", content: badWith("212-555-0101", "<script>alert(1)</script>"),
			results: "2025-03-04 10:00:00,<script>alert(1)</script>,R1,50.00,rejected,phone_invalid,",
			page:    "&lt;script&gt;alert(1)&lt;/script&gt;", never: "<script",
		},
	}
}

// More money than is usual changes nothing until somebody has approved it: per row, and per
// file.
func TestBadInputRowHeld(t *testing.T) { runBadHeld(t, badRowsHeld()) }

func badRowsHeld() []badInput {
	many := strings.Replace(badHead, "reference_id", "reason_code", 1)
	for i := range 21 {
		many += fmt.Sprintf("2025-03-04 10:00:00,212-555-0101,S%d,1000.00\n", i)
	}
	return []badInput{
		{name: "068_over_the_cap_of_a_row", content: badWith("50.00", "1000.01") + "2025-03-04 11:00:00,212-555-0102,R2,20.00\n",
			want: "held: … (amounts_over_limit)\ncalltally: the file is held; “calltally quarantine list” shows what is"},
		{name: "069_over_the_cap_of_a_file", content: many,
			want: "held: … (amounts_over_limit)\ncalltally: the file is held; “calltally quarantine list” shows what is"},
	}
}
