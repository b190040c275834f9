package mailbox

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is made of testdata/mails now into testdata/mails.txt")

// TestCorpus takes mails apart that are shaped as programs, phones and gateways shape them;
// testdata/mails.txt says what each must give.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/mails/*.eml")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d mails, %v", len(files), err)
	}
	const want = "testdata/mails.txt"
	var made strings.Builder
	for _, file := range files {
		fmt.Fprintf(&made, "%s\n%s\n", strings.TrimSuffix(filepath.Base(file), ".eml"), described(t, file))
	}
	if *update {
		if err := os.WriteFile(want, []byte(made.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	expected, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := strings.Split(made.String(), "\n\n"), strings.Split(string(expected), "\n\n")
	for i, mail := range got {
		if i >= len(wanted) || mail != wanted[i] {
			t.Errorf("got\n%s\nwant\n%s", mail, wanted[min(i, len(wanted)-1)])
		}
	}
	if len(got) != len(wanted) {
		t.Errorf("%d mails, want %d", len(got), len(wanted))
	}
}

// described is what is made of a mail, one fact a line.
func described(t *testing.T, file string) string {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	m, err := takeApart(in)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	defer m.remove()
	var b strings.Builder
	if m.skip != "" {
		return "  not read: " + m.skip + "\n"
	}
	fmt.Fprintf(&b, "  from %s to %s: %s\n", m.mail.From, strings.Join(m.mail.Recipients, ", "), m.mail.Subject)
	if m.mail.Automatic {
		b.WriteString("  not answered: sent by a program or a list\n")
	}
	for _, f := range m.files {
		if f.refusal != nil {
			fmt.Fprintf(&b, "  %s refused: %s\n", f.name, f.refusal.Error())
			continue
		}
		content := copied(t, f)
		first, _, _ := bytes.Cut(content, []byte("\r\n"))
		fmt.Fprintf(&b, "  %s, %d bytes: %.60q\n", f.name, len(content), first)
	}
	if len(m.mail.Unread) > 0 {
		fmt.Fprintf(&b, "  left out: %s\n", strings.Join(m.mail.Unread, ", "))
	}
	return b.String()
}
