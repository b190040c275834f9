package mailbox

import (
	"fmt"
	"strings"
	"testing"
)

func (a *authResults) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q", a.server)
	if !a.named {
		b.WriteString(" unnamed")
	}
	for _, r := range a.results {
		fmt.Fprintf(&b, " %s=%s %v", r.method, r.result, r.properties)
	}
	return b.String()
}

func TestAuthResults(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"Gmail", "mx.google.com;\r\n       dkim=pass header.i=@acme.example header.s=k1 header.b=ab/c+=;\r\n       spf=pass (google.com: domain of jo@acme.example designates 192.0.2.1 as permitted sender) smtp.mailfrom=jo@acme.example;\r\n       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=acme.example",
			`"mx.google.com" dkim=pass map[header.b:ab/c+= header.i:@acme.example header.s:k1] spf=pass map[smtp.mailfrom:jo@acme.example] dmarc=pass map[header.from:acme.example]`},
		{"Microsoft 365, without an id", "spf=pass (sender IP is 192.0.2.1)\r\n smtp.mailfrom=acme.example; dkim=pass (signature was verified)\r\n header.d=acme.example;dmarc=pass action=none\r\n header.from=acme.example;compauth=pass reason=100",
			`"" unnamed spf=pass map[smtp.mailfrom:acme.example] dkim=pass map[header.d:acme.example] dmarc=pass map[action:none header.from:acme.example] compauth=pass map[reason:100]`},
		{"an id that is empty", `""; dmarc=pass header.from=acme.example`, `"" dmarc=pass map[header.from:acme.example]`},
		{"nothing was checked", "mx.acme.example 1; none", `"mx.acme.example"`},
		{"blanks and comments everywhere", "(a(b)\\)) mx.acme.example (c) 1 (d) ; (e) dmarc (f) = (g) pass (h) header.from (i) = (j) acme.example (k) ;", `"mx.acme.example" dmarc=pass map[header.from:acme.example]`},
		{"a key's comment", "mx.acme.example; dkim=pass (2048-bit key; secure) header.d=acme.example", `"mx.acme.example" dkim=pass map[header.d:acme.example]`},
		{"a quoted id and a version of a method", `"MX.acme.example"; DKIM/1=PASS reason="good signature" Header.D=acme.example`, `"mx.acme.example" dkim=pass map[header.d:acme.example reason:good signature]`},
		{"a forgery inside a quoted local part", `mx.acme.example; spf=pass smtp.mailfrom="x; dmarc=pass header.from=bank.example"@evil.example; dmarc=fail header.from=bank.example`,
			`"mx.acme.example" spf=pass map[smtp.mailfrom:x; dmarc=pass header.from=bank.example@evil.example] dmarc=fail map[header.from:bank.example]`},
		{"a forgery inside a comment", `mx.acme.example; spf=fail (x; dmarc=pass header.from=bank.example) smtp.mailfrom=evil.example`, `"mx.acme.example" spf=fail map[smtp.mailfrom:evil.example]`},
		{"a quoted quote", `mx.acme.example; spf=fail smtp.mailfrom="a\"; dmarc=pass header.from=bank.example; x=\""@evil.example`, `"mx.acme.example" spf=fail map[smtp.mailfrom:a"; dmarc=pass header.from=bank.example; x="@evil.example]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseAuthResults(c.value)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// What is written badly says nothing: reading over an error is how forgeries get in.
func TestAuthResultsThatSayNothing(t *testing.T) {
	for _, value := range []string{
		"", " ", ";", "; dmarc=pass", "mx.acme.example; dmarc", "mx.acme.example; dmarc=", "mx.acme.example; =pass", "mx.acme.example dmarc=pass",
		`mx.acme.example; dmarc=pass header.from="acme.example`, `mx.acme.example; dmarc=pass (header.from=acme.example`, `mx.acme.example; dmarc=pass header.from=acme.example)`,
		"mx.acme.example; dmarc=pass header.from=acme.example header.from=bank.example", "mx.acme.example; dmarc=pass bank.example", "mx.acme.example; none; dmarc=pass",
		"mx.acme.example; dmarc=pass header.from=acme.example\x00", `mx.acme.example; "dmarc"=pass`, "mx.acme.example; dmarc=pass reason=\"a\x01b\"", `mx.acme.example; dmarc="pass"`, "mx.acme.example 1 2; dmarc=pass", "mx.acme.example 1 dmarc=pass", "mx.acme.example v1; dmarc=pass",
		"mx.acme.example" + strings.Repeat("; spf=pass", 51), "mx.acme.example; spf=pass (" + strings.Repeat("x", 16<<10) + ")",
	} {
		if got, err := parseAuthResults(value); err == nil {
			t.Errorf("%.80q says %s", value, got)
		}
	}
}

func FuzzAuthResults(f *testing.F) {
	for _, seed := range []string{"mx.google.com; dkim=pass header.i=@a.example; dmarc=pass (p=NONE) header.from=a.example", `a; spf=pass smtp.mailfrom="x; y"@b`, "spf=pass x=y; z=w", "(((", `"\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		parsed, err := parseAuthResults(value)
		if err != nil {
			return
		}
		// What a comment or a quoted string holds is never a result.
		for _, r := range parsed.results {
			if r.method == "" || r.result == "" || strings.ContainsAny(r.method+r.result, " \t\r\n;=\"()") && !strings.Contains(value, `"`) {
				t.Errorf("%q says %s", value, parsed)
			}
		}
	})
}
