package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"calltally/web"
)

const (
	testToken  = "0123456789abcdef0123456789abcdef"
	otherToken = "fedcba9876543210fedcba9876543210"
)

// desks is a calltally that takes requests for two accounts.
type desks struct {
	t   *testing.T
	app *app
	url string
}

func newDesks(t *testing.T) *desks {
	t.Helper()
	app := startApp(t, configOf(t, fmt.Sprintf(`
store: calltally.db
time_zone: America/New_York
accounts:
  - {id: "23", region: US, wait_for_calls: 0s, match: {lookback: 0s}, payouts: [{fixed: 5.00}]}
  - {id: "24", region: US}
sources:
  - {name: api, kind: http, account: "23", token: %s}
  - {name: other, kind: http, account: "24", token: %s}
limits: {bytes: 1000000}
web: {listen: "127.0.0.1:0"}
`, testToken, otherToken)))
	handler, err := app.handler(app.worker.Log)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	importTestCalls(t, app, 5)
	return &desks{t, app, server.URL}
}

// ask does a request and returns its answer.
func (d *desks) ask(method, path, body string, header ...string) (*http.Response, string) {
	d.t.Helper()
	request, err := http.NewRequest(method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+testToken)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return answer, string(text)
}

func (d *desks) want(status int, text, method, path, body string, header ...string) {
	d.t.Helper()
	answer, got := d.ask(method, path, body, header...)
	if answer.StatusCode != status || !strings.Contains(got, text) {
		d.t.Errorf("%s %s: %s %s\nwant %d with %s", method, path, answer.Status, got, status, text)
	}
}

// receiptOf is what a file that must be taken is answered.
func (d *desks) receiptOf(path, body string, header ...string) web.Receipt {
	d.t.Helper()
	answer, text := d.ask(http.MethodPost, path, body, header...)
	var receipt web.Receipt
	if answer.StatusCode != http.StatusAccepted || json.Unmarshal([]byte(text), &receipt) != nil {
		d.t.Fatalf("%s: %s", answer.Status, text)
	}
	return receipt
}

// A file is answered once it is durable, the same key with the same bytes is the same
// upload, and its results can be fetched when it is decided, by its own account alone.
func TestUploadsByHTTP(t *testing.T) {
	d := newDesks(t)
	runApp(t, d.app)
	file := string(testUpload(2, 1)) + "bogus,,,,\n"
	first := d.receiptOf("/uploads?name=orders.csv", file, "Idempotency-Key", "march")
	if len(first.Uploads) != 1 || first.Uploads[0].File != "orders.csv" {
		t.Fatalf("answered %+v", first)
	}
	again := d.receiptOf("/uploads?name=orders.csv", file, "Idempotency-Key", "march")
	if len(again.Uploads) != 1 || again.Uploads[0].Upload != first.Uploads[0].Upload {
		t.Errorf("the same key is %+v, then %+v", first, again)
	}
	d.want(http.StatusUnprocessableEntity, `"code":"key_reused"`, http.MethodPost, "/uploads", file+"x", "Idempotency-Key", "march")
	other := d.receiptOf("/uploads", file, "Idempotency-Key", "april")
	if other.Uploads[0].Upload == first.Uploads[0].Upload || other.Uploads[0].File != "upload.csv" {
		t.Errorf("another key is the same upload, or named oddly: %+v", other)
	}
	path := fmt.Sprintf("/uploads/%d", first.Uploads[0].Upload)
	eventually(t, "decided", 5*time.Second, func() bool {
		_, text := d.ask(http.MethodGet, path, "")
		return strings.Contains(text, `"state":"decided"`)
	})
	d.want(http.StatusOK, `"created":2`, http.MethodGet, path, "")
	d.want(http.StatusOK, `,created,`, http.MethodGet, path+"/results", "")
	d.want(http.StatusOK, "bogus", http.MethodGet, path+"/fix", "")
	for _, hidden := range []string{path, path + "/results", path + "/fix"} {
		d.want(http.StatusNotFound, `"code":"not_found"`, http.MethodGet, hidden, "", "Authorization", "Bearer "+otherToken)
	}
	refused := d.receiptOf("/uploads?name=letter.txt", "Dear Sirs\n")
	if u := refused.Uploads[0]; u.State != "refused" || u.Code == "" || u.Message == "" {
		t.Errorf("a letter is %+v", u)
	}
	if n := countUploads(t, d.app); n != 3 {
		t.Errorf("%d uploads, want 3", n)
	}
}

func TestFormsAndArchivesByHTTP(t *testing.T) {
	d := newDesks(t)
	runApp(t, d.app)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if err := w.WriteField("note", "hello"); err != nil {
		t.Fatal(err)
	}
	part, err := w.CreateFormFile("file", "orders.csv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(testUpload(1, 1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := d.receiptOf("/uploads", form.String(), "Content-Type", w.FormDataContentType()); got.Uploads[0].File != "orders.csv" {
		t.Errorf("answered %+v", got)
	}
	zip, err := os.ReadFile("../../samples/workbook-and-archive/3-both-offices.zip")
	if err != nil {
		t.Fatal(err)
	}
	first := d.receiptOf("/uploads?name=offices.zip", string(zip), "Idempotency-Key", "z")
	second := d.receiptOf("/uploads?name=offices.zip", string(zip), "Idempotency-Key", "z")
	if len(first.Uploads) != 3 || fmt.Sprint(idsOf(first)) != fmt.Sprint(idsOf(second)) {
		t.Errorf("answered %+v, then %+v", first, second)
	}
	d.want(http.StatusUnprocessableEntity, `"code":"key_reused"`, http.MethodPost, "/uploads", string(testUpload(1, 1)), "Idempotency-Key", "z")
	d.want(http.StatusBadRequest, `"code":"no_file"`, http.MethodPost, "/uploads", "--B\r\n\r\n--B--\r\n", "Content-Type", "multipart/form-data; boundary=B")
}

func idsOf(receipt web.Receipt) (ids []int64) {
	for _, u := range receipt.Uploads {
		ids = append(ids, u.Upload)
	}
	return ids
}

func TestRequestsThatAreRefused(t *testing.T) {
	d := newDesks(t)
	for _, token := range []string{"", "Bearer", "Bearer x", "Basic " + testToken, "Bearer " + testToken[1:]} {
		d.want(http.StatusUnauthorized, `"code":"unauthorized"`, http.MethodPost, "/uploads", "a", "Authorization", token)
		d.want(http.StatusUnauthorized, `"code":"unauthorized"`, http.MethodGet, "/uploads/1", "", "Authorization", token)
	}
	d.want(http.StatusBadRequest, `"code":"key_invalid"`, http.MethodPost, "/uploads", "a", "Idempotency-Key", strings.Repeat("k", 256))
	d.want(http.StatusRequestEntityTooLarge, `"code":"too_large"`, http.MethodPost, "/uploads", strings.Repeat("a", 1_000_001))
	d.want(http.StatusNotFound, `"code":"not_found"`, http.MethodGet, "/uploads/7", "")
	d.want(http.StatusNotFound, `"code":"not_found"`, http.MethodGet, "/uploads/x", "")
	d.want(http.StatusMethodNotAllowed, "", http.MethodDelete, "/uploads", "")
	if n := countUploads(t, d.app); n != 0 {
		t.Errorf("%d uploads", n)
	}
}

// Nothing is answered with 202 that isn't durable, and what is handed in many times at once
// under one key counts once.
func TestOneKeyManyTimesAtOnce(t *testing.T) {
	d := newDesks(t)
	runApp(t, d.app)
	file := string(testUpload(3, 1))
	var all sync.WaitGroup
	var mu sync.Mutex
	ids := map[int64]bool{}
	for range 20 {
		all.Go(func() {
			receipt := d.receiptOf("/uploads?name=orders.csv", file, "Idempotency-Key", "one")
			mu.Lock()
			defer mu.Unlock()
			ids[receipt.Uploads[0].Upload] = true
			if _, err := d.app.store.Upload(context.Background(), receipt.Uploads[0].Upload); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := countUploads(t, d.app); n != 1 || len(ids) != 1 {
		t.Errorf("%d uploads, %v", n, ids)
	}
}

// Of different files that are handed in at once under one key, one is taken.
func TestOneKeyForDifferentFilesAtOnce(t *testing.T) {
	d := newDesks(t)
	runApp(t, d.app)
	var all sync.WaitGroup
	var taken, refused atomic.Int32
	for i := range 20 {
		all.Go(func() {
			switch answer, text := d.ask(http.MethodPost, "/uploads", string(testUpload(1, i+1)), "Idempotency-Key", "one"); answer.StatusCode {
			case http.StatusAccepted:
				taken.Add(1)
			case http.StatusUnprocessableEntity:
				refused.Add(1)
			default:
				t.Errorf("%s: %s", answer.Status, text)
			}
		})
	}
	all.Wait()
	if n := countUploads(t, d.app); n != 1 || taken.Load() != 1 || refused.Load() != 19 {
		t.Errorf("%d uploads; %d files were taken, %d refused", n, taken.Load(), refused.Load())
	}
}

// What can't be stored is answered with 503, and may be sent again under its key.
func TestAFileThatCanNotBeStored(t *testing.T) {
	d := newDesks(t)
	broken := d.app.store
	runApp(t, d.app)
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	d.want(http.StatusServiceUnavailable, `"code":"unavailable"`, http.MethodPost, "/uploads", string(testUpload(1, 1)))
}

// send is the client: it waits, says what became of the file, and fetches what answers it.
func TestSend(t *testing.T) {
	d := newDesks(t)
	runApp(t, d.app)
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	token, orders := write("api.token", []byte(testToken+"\n")), write("orders.csv", append(testUpload(2, 1), "bogus,,,,\n"...))
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"a file", []string{orders, "--results", filepath.Join(dir, "results")}, exitRejected, "orders.csv: upload 1, 3 rows: 2 created, 1 rejected\n"},
		{"the same key", []string{orders, "--key", "k"}, exitRejected, "orders.csv: upload 2, 3 rows: 2 unchanged, 1 rejected\n"},
		{"the same key again", []string{orders, "--key", "k"}, exitRejected, "orders.csv: upload 2, 3 rows: 2 unchanged, 1 rejected\n"},
		{"no table", []string{write("letter.txt", []byte("Dear Sirs\n"))}, exitFailed, "letter.txt: upload 3 was not taken: "},
		{"without waiting", []string{write("more.csv", testUpload(1, 1)), "--no-wait"}, exitDone, "more.csv: upload 4, "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{"send", "--to", d.url, "--token-file", token}, c.args...), nil, &stdout, &stderr)
			if code != c.code || !strings.HasPrefix(stdout.String(), c.want) {
				t.Errorf("exit code %d: %s%s\nwant %d: %s", code, stdout.String(), stderr.String(), c.code, c.want)
			}
		})
	}
	for name, want := range map[string]string{"orders.results.csv": ",created,", "orders.fix.csv": "bogus"} {
		if got, err := os.ReadFile(filepath.Join(dir, "results", name)); err != nil || !bytes.Contains(got, []byte(want)) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

// A connection that breaks, or a server that is down for a moment, costs nothing: the file
// is sent again under its key.
func TestSendTriesAgain(t *testing.T) {
	d := newDesks(t)
	runApp(t, d.app)
	tries := 0
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if tries++; tries == 1 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
		}
		request, err := http.NewRequestWithContext(r.Context(), r.Method, d.url+r.URL.String(), r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		request.Header = r.Header
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return
		}
		defer answer.Body.Close()
		if r.Method == http.MethodPost && tries == 2 { // taken, but the answer is lost
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(answer.StatusCode)
		io.Copy(w, answer.Body) //nolint:errcheck // the client sees it
	}))
	defer flaky.Close()
	file := filepath.Join(t.TempDir(), "orders.csv")
	if err := os.WriteFile(file, testUpload(2, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CALLTALLY_URL", flaky.URL)
	t.Setenv("CALLTALLY_TOKEN", testToken)
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"send", file}, nil, &stdout, &stderr); code != exitDone || stdout.String() != "orders.csv: upload 1, 2 rows: 2 created\n" {
		t.Errorf("exit code %d: %s%s", code, stdout.String(), stderr.String())
	}
	if n := countUploads(t, d.app); n != 1 || tries != 3 {
		t.Errorf("%d uploads after %d tries", n, tries)
	}
}

// check asks a calltally that runs whether it knows the token.
func TestProbeDesk(t *testing.T) {
	d := newDesks(t)
	c := d.app.config
	c.Web.Listen = strings.TrimPrefix(d.url, "http://")
	if got, err := c.probeDesk(t.Context(), 0); err != nil || got != "calltally answers there and knows the token" {
		t.Errorf("%q, %v", got, err)
	}
	c.Sources[0].Token = strings.Repeat("x", shortestToken)
	if _, err := c.probeDesk(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "doesn't know the token: start it again") {
		t.Error(err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	c.Web.Listen = strings.TrimPrefix(other.URL, "http://")
	if _, err := c.probeDesk(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "taken by another program") {
		t.Error(err)
	}
	c.Web.Listen = "127.0.0.1:0"
	if got, err := c.probeDesk(t.Context(), 0); err != nil || !strings.HasPrefix(got, "free; ") {
		t.Errorf("%q, %v", got, err)
	}
}
