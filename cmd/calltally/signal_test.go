package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"calltally/conversion"
)

// says waits until a process says something in its log.
func (p *process) says(t *testing.T, what string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case line := <-p.lines:
			if strings.Contains(line, what) {
				return
			}
		case <-late:
			t.Fatalf("it didn't say %q within 20 s", what)
		}
	}
}

func (h *house) configure(text string) {
	h.t.Helper()
	if err := os.WriteFile(h.path("calltally.yaml"), []byte(text), 0o666); err != nil {
		h.t.Fatal(err)
	}
}

// A configuration that can't be taken leaves the one before in force; one that can takes its
// place, and no file is lost on the way.
func TestReload(t *testing.T) {
	reload(t, func(good string) string { return strings.Replace(good, "every: 1s", "every: soon", 1) }, `\"soon\" is not a length of time`)
}

func reload(t *testing.T, spoil func(good string) string, says string) {
	good := fmt.Sprintf(crashAccounts, "mode: update, key: [reference_id]")
	h := newHouse(t, good)
	p := h.start("", "run")
	p.says(t, `"msg":"working","sources":2`)
	decided := func() { p.says(t, `"msg":"upload decided"`) }
	h.drop("drop", "a.csv", crashRows(0, "A"))
	decided()

	h.configure(spoil(good))
	_ = p.Process.Signal(syscall.SIGHUP)
	p.says(t, says)
	h.drop("drop", "b.csv", crashRows(1, "B"))
	decided()

	if err := os.Mkdir(h.path("third"), 0o777); err != nil {
		t.Fatal(err)
	}
	h.configure(good + `  - {name: third, kind: folder, path: third, account: "24", every: 1s, settle: 1ms}` + "\n")
	_ = p.Process.Signal(syscall.SIGHUP)
	p.says(t, `"msg":"working","sources":3`)
	h.drop("third", "c.csv", crashRows(2, "C"))
	decided()

	_ = p.Process.Signal(syscall.SIGTERM)
	if signal, code := h.endWithin(p, 10*time.Second); signal != 0 || code != exitDone {
		t.Errorf("it ended with signal %v, code %d:\n%s", signal, code, p.said.String())
	}
	if n := len(h.uploads(h.open())); n != 3 {
		t.Errorf("%d uploads, want 3", n)
	}
}

// While the configuration is taken anew, nobody who has a request is refused. (What is read in
// the moment in which the old server ends, net/http drops: it is to be sent again.)
func TestReloadRefusesNobody(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	h := newHouse(t, fmt.Sprintf(crashAccounts, "mode: update")+fmt.Sprintf("web: {listen: %q}\n", address))
	p := h.start("", "run")
	p.says(t, `"msg":"working"`)
	stop, failed := make(chan struct{}), make(chan error)
	go func() {
		defer close(failed)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
		for {
			select {
			case <-stop:
				return
			default:
			}
			response, err := client.Get("http://" + address + "/uploads/1")
			if err == nil {
				response.Body.Close()
			} else if !errors.Is(err, io.EOF) {
				failed <- err
				return
			}
		}
	}()
	for range 5 {
		_ = p.Process.Signal(syscall.SIGHUP)
		p.says(t, `"msg":"the configuration was taken anew"`)
		p.says(t, `"msg":"working"`)
	}
	close(stop)
	for err := range failed {
		t.Error(err)
	}
	h.stop(p)
}

const crashHeader = "start_time,calling_phone_number,reference_id,sale_amount\n"

// crashRows is a file with one row about a call.
func crashRows(call int, reference string) string {
	return crashHeader + fmt.Sprintf("%s,+%d,%s,%d.00\n", testCallStart(call), 12125550000+call, reference, call+1)
}

// Asked to stop in the middle of a large file, the program ends within seconds, and goes on
// where it was.
func stopInTheMiddle(t *testing.T) {
	h := newHouse(t, fmt.Sprintf(crashAccounts, "mode: update, key: [reference_id]"))
	const rows = 150_000 // of which those of the first transaction are 131,072
	var file strings.Builder
	file.WriteString(crashHeader)
	for i := range rows {
		fmt.Fprintf(&file, "%s,+%d,R%d,1.00\n", testCallStart(i%200), 12125550000+i%200, i)
	}
	h.drop("drop", "large.csv", file.String())
	p := h.start("", "run")
	p.says(t, `"msg":"upload received"`)
	for db := h.open(); ; time.Sleep(20 * time.Millisecond) {
		if u, err := db.Upload(t.Context(), 1); err != nil || u.Cursor > 0 || u.State == conversion.Decided {
			break
		}
	}
	_ = p.Process.Signal(syscall.SIGTERM)
	began := time.Now()
	if signal, code := h.endWithin(p, 10*time.Second); signal != 0 || code != exitDone {
		t.Fatalf("it ended with signal %v, code %d:\n%s", signal, code, p.said.String())
	}
	db := h.open()
	u, err := db.Upload(t.Context(), 1)
	if err != nil || u.State != conversion.Deciding || u.Cursor == 0 || u.Attempts != 0 {
		t.Fatalf("stopped after %s: the upload is %s at line %d, with %d attempts, %v; want it in the middle", time.Since(began), u.State, u.Cursor, u.Attempts, err)
	}
	h.once()
	verified, err := db.Verify(t.Context())
	if u, err2 := db.Upload(t.Context(), 1); err != nil || err2 != nil || u.Tally.Of(conversion.Created) != rows || verified.Mismatches != 0 || verified.Conversions != rows {
		t.Errorf("in the end: %s, %+v, %v, %v", u.Tally, verified, err, err2)
	}
}
