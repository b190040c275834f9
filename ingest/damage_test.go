package ingest_test

import (
	"reflect"
	"strings"
	"testing"

	"calltally/conversion"
	"calltally/ingest"
)

// A quote that opens by mistake costs its own line, never the next ones.
func TestAStrayQuoteSwallowsNoOtherRow(t *testing.T) {
	const header = "reference_id,start_time,notes\n"
	for _, test := range []struct {
		name, rows string
		damaged    map[int]string // line → as sent
		whole      []string       // reference ids
	}{
		{"one that opens a cell", "01,2026-03-04 10:00:00,\"5 inch\n02,2026-03-04 13:00:00,\"4 inch\"\n03,2026-03-04 14:00:00,x\n", map[int]string{2: `01,2026-03-04 10:00:00,"5 inch`}, []string{"02", "03"}},
		{"one inside a cell", "01,2026-03-04 10:00:00,5\" pipe\n02,2026-03-04 13:00:00,x\n", map[int]string{2: `01,2026-03-04 10:00:00,5" pipe`}, []string{"02"}},
		{"two in a row", "01,2026-03-04 10:00:00,\"5 inch\n02,2026-03-04 10:00:00,\"6 inch\n03,2026-03-04 13:00:00,\"4 inch\"\n", map[int]string{2: `01,2026-03-04 10:00:00,"5 inch`, 3: `02,2026-03-04 10:00:00,"6 inch`}, []string{"03"}},
		{"one some lines before", "01,2026-03-04 10:00:00,\"5 inch\n\n02,2026-03-04 13:00:00,x\n03,2026-03-04 13:00:00,\"4 inch\"\n", map[int]string{2: `01,2026-03-04 10:00:00,"5 inch`}, []string{"02", "03"}},
		{"with a cell of several lines behind it", "01,2026-03-04 10:00:00,a\"b\n02,2026-03-04 13:00:00,\"two\nlines\"\n03,2026-03-04 14:00:00,x\n", map[int]string{2: `01,2026-03-04 10:00:00,a"b`}, []string{"02", "03"}},
		{"beside a formula, which asks for no leniency", "=\"01\",2026-03-04 10:00:00,x\n02,2026-03-04 10:00:00,\"5 inch\n03,2026-03-04 13:00:00,\"4 inch\"\n", map[int]string{3: `02,2026-03-04 10:00:00,"5 inch`}, []string{"01", "03"}},
	} {
		for ending, mark := range map[string]string{"LF": "\n", "CRLF": "\r\n", "CR": "\r"} {
			t.Run(test.name+", "+ending, func(t *testing.T) {
				table := survey(t, strings.ReplaceAll(header+test.rows, "\n", mark))
				damaged := map[int]string{}
				var whole []string
				claims, rejections := readClaims(t, table)
				for i, row := range rowsOf(t, table) {
					if rejections[i] == nil {
						whole = append(whole, claims[i].ReferenceID)
						continue
					}
					if len(row.Cells) != 1 || rejections[i].Line != row.Line || rejections[i].Faults[0].Code != conversion.RowMalformed {
						t.Errorf("line %d: %q, %v", row.Line, row.Cells, rejections[i])
						continue
					}
					damaged[row.Line] = row.Cells[0]
				}
				if !reflect.DeepEqual(damaged, test.damaged) || !reflect.DeepEqual(whole, test.whole) {
					t.Errorf("damaged %v and whole %q, want %v and %q", damaged, whole, test.damaged, test.whole)
				}
				if table.Reading.Rows != len(test.damaged)+len(test.whole) {
					t.Errorf("%d rows were counted", table.Reading.Rows)
				}
			})
		}
	}
}

func TestFormulaCells(t *testing.T) {
	for cells, want := range map[string][]string{
		`="0503",x`:        {`="0503"`, "x"},
		`x,="0503"`:        {"x", `="0503"`},
		`="a""b",x`:        {`="a""b"`, "x"},
		`="",x`:            {`=""`, "x"},
		`="a,b",x`:         {`="a,b"`, "x"},
		`"=""0503""",x`:    {`="0503"`, "x"},
		`"a,=""b""",="c"`:  {`a,="b"`, `="c"`},
		`="0503,x`:         {`="0503,x`},
		`a="b",x`:          nil, // a quote inside a cell
		`="1","say ""="""`: {`="1"`, `say "="`},
		`="1",` + `"two` + "\n" + `="lines"` + `"`: nil,
	} {
		t.Run(cells, func(t *testing.T) {
			table := survey(t, "start_time,a\n=\"1\",y\n"+cells+"\n")
			rows := rowsOf(t, table)
			got := rows[1].Cells
			if want == nil {
				if len(got) == 2 {
					t.Errorf("read as %q, want it refused", got)
				}
				return
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("read as %q, want %q", got, want)
			}
		})
	}
}

// What was decided from a whole file is told to the file of a few of its rows.
func TestPreambleOfAFixFile(t *testing.T) {
	const both = "start_time,reference_id\n03/31/2026 14:05:09,1234567890123456\n03/04/2026 14:05:09,1234567890123450\n"
	for _, test := range []struct {
		name, content string
		changes       []change
		wanted        []int // lines
		want          string
	}{
		{name: "nothing was decided", content: "start_time\n2026-03-31 14:05:09\n", wanted: []int{2}},
		{name: "the zone came with the file", content: "Parameters:TimeZone=America/Los_Angeles\nstart_time\n2026-03-31 14:05:09\n", wanted: []int{3}, want: "Parameters:TimeZone=America/Los_Angeles"},
		{name: "an offset came with the file", content: "Parameters:TimeZone=-0700;\nstart_time\n2026-03-31 14:05:09\n", wanted: []int{3}, want: "Parameters:TimeZone=-0700"},
		{name: "the order and the ids showed elsewhere", content: both, wanted: []int{3}, want: "Parameters:DateOrder=mdy;WholeIds=reference_id"},
		{name: "the order and the ids show in these rows", content: both, wanted: []int{2, 3}},
		{name: "none of these rows needs them", content: both, wanted: []int{2}},
		{name: "the account says the order", content: strings.ReplaceAll(both, "1234567890123456", "x"), changes: []change{dateOrder(conversion.DateOrderMDY)}, wanted: []int{3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := survey(t, test.content, test.changes...)
			got, err := table.Preamble(t.Context(), func(line int) bool {
				for _, w := range test.wanted {
					if w == line {
						return true
					}
				}
				return false
			})
			if err != nil || got != test.want {
				t.Errorf("%q, %v; want %q", got, err, test.want)
			}
		})
	}
	t.Run("read back, in any delimiter, it decides as before", func(t *testing.T) {
		for _, comma := range []string{",", ";", "\t"} {
			content := "Parameters:TimeZone=America/Los_Angeles;DateOrder=mdy;WholeIds=reference_id" + comma + comma + "\nstart_time,reference_id,message\n03/04/2026 14:05:09,1234567890123450,wrong\n"
			table := survey(t, strings.ReplaceAll(content, ",", comma), func(s *ingest.Settings) { s.Fix = true })
			claims, rejections := readClaims(t, table)
			if len(claims) != 1 || rejections[0] != nil || claims[0].ReferenceID != "1234567890123450" || claims[0].Start != toTheSecond(t, "2026-03-04T22:05:09Z") {
				t.Errorf("%q: %+v, %v", comma, claims, rejections)
			}
		}
	})
}

func TestAColumnThatMeansNothingMayStandTwice(t *testing.T) {
	table := survey(t, "start_time,Notes,notes\n2026-03-31 14:05:09,a,b\n")
	if claims, rejections := readClaims(t, table); len(claims) != 1 || rejections[0] != nil {
		t.Errorf("%+v, %v", claims, rejections)
	}
}

// A message is only ours in a file that is named as one of our fix files.
func TestTheSendersOwnMessageStays(t *testing.T) {
	table := survey(t, "start_time,message\n2026-03-31 14:05:09,call back\n")
	if own := table.Own(); own != 2 {
		t.Errorf("%d columns are the sender's own, want 2", own)
	}
}
