package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestPhonesAreMasked(t *testing.T) {
	for text, want := range map[string]string{
		"call +12125550123 now":                           "call +*********23 now",
		"(212) 555-0123, 212-555-0123":                    "(***) ***-**23, ***-***-**23",
		"+44 20 7946 0018":                                "+** ** **** **18",
		"12125550123":                                     "*********23",
		"calls_15551234567.csv":                           "calls_*********67.csv",
		"calls_555_123_4567.csv":                          "calls_***_***_**67.csv",
		"p5551234567, 555-1234":                           "p********67, ***-**34",
		"020 7946 0958 and 07700 900123":                  "*** **** **58 and ***** ****23",
		"0171/1234567, 030 12345678":                      "****/*****67, *** ******78",
		"0049 30 123456 +44 (0)20 7946 0958":              "**** ** ****56 +** (*)** **** **58",
		"0171 - 1234567 or 01.23.45.67.89":                "**** - *****67 or **.**.**.**.89",
		"020 7946 0958 020 7946 0959":                     "*** **** **** *** **** **59",
		"020\u00a07946\u00a00958, 212\u2011555\u20110123": "***\u00a0****\u00a0**58, ***\u2011***\u2011**23",
		"2026-03-31 020 7946 0958":                        "2026-03-31 *** **** **58",
		"upload 12 of 2026-03-31 14:05:09":                "upload 12 of 2026-03-31 14:05:09",
		"orders_20260331.csv of 31.03.2026":               "orders_20260331.csv of 31.03.2026",
		"db.before-20260331-140509.000 20260331-1":        "db.before-20260331-140509.000 20260331-1",
		"2026033112, 20263131":                            "********12, ******31",
		"1,234,567.89 and 4.2 MiB in 9876 rows":           "1,234,567.89 and 4.2 MiB in 9876 rows",
		"sha256 1a2b3c4d5e6f70123456789abcdef01":          "sha256 1a2b3c4d5e6f70123456789abcdef01",
		"550e8400-e29b-41d4-a716-446655440000":            "550e8400-e29b-41d4-a716-446655440000",
		"1234567890123456 after 1.2345678s":               "1234567890123456 after 1.2345678s",
		"[2001:db8::1]:993 127.0.0.1:10993":               "[2001:db8::1]:993 127.0.0.1:10993",
		"192.168.100.25 550-5.7.26 192.168.100.256":       "192.168.100.25 550-5.7.26 ***.***.***.*56",
	} {
		if got := masked(text); got != want {
			t.Errorf("%q is masked as %q, want %q", text, got, want)
		}
	}
}

func TestTheLogIsMasked(t *testing.T) {
	var out bytes.Buffer
	log := newLog(&out, slog.LevelInfo).With("name", "calls of +12125550123.csv", "account", "1234567890")
	log.Error("no call of 212-555-0123", "error", errors.Join(errors.New("caller +12125550199"), fs.ErrNotExist), slog.Group("row", "phone", "(212) 555-0145"))
	if said := out.String(); testPhones.MatchString(said) || strings.Count(said, "*23") != 2 || !strings.Contains(said, `"level":"ERROR"`) || !strings.Contains(said, "file does not exist") || !strings.Contains(said, `"account":"1234567890"`) {
		t.Errorf("the log says %s", said)
	}
}

// testPhones are the numbers of callers in tests and samples.
var testPhones = regexp.MustCompile(`(?:\+?1)?[ .(-]{0,2}212[ .)-]{0,2}555[ .-]?\d{4}`)

// overheard runs the tests and then looks through what all programs that they started have
// logged: no caller's number may be in it.
type overheard struct{ *testing.M }

// loggedTo is the environment variable that names where programs log to, beside standard
// error.
const loggedTo = "CALLTALLY_LOGGED"

func (o overheard) Run() int {
	dir, err := os.MkdirTemp("", "calltally-logged-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	log := filepath.Join(dir, "log")
	os.Setenv(loggedTo, log) //nolint:errcheck // a name that is valid
	code := o.M.Run()
	text, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for line := range strings.Lines(string(text)) {
		if phone := testPhones.FindString(line); phone != "" {
			fmt.Fprintf(os.Stderr, "FAIL: a log tells the number %s: %s", phone, line)
			code = max(code, 1)
		}
	}
	return code
}

// mainOverheard is main of a program that a test starts.
func mainOverheard() {
	log, err := os.OpenFile(os.Getenv(loggedTo), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		main()
		return
	}
	os.Exit(runUntilStopped(io.MultiWriter(os.Stderr, log)))
}
