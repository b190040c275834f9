package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
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
	// breaks has every results file break off after its first bytes.
	breaks bool
}

type breaking struct{ http.ResponseWriter }

func (b breaking) Write(p []byte) (int, error) {
	if _, err := b.ResponseWriter.Write(p[:min(10, len(p))]); err != nil {
		return 0, err
	}
	b.ResponseWriter.(http.Flusher).Flush()
	return 0, io.ErrShortWrite
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
	d := &desks{t: t, app: app}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.breaks && strings.HasSuffix(r.URL.Path, "/results") {
			w = breaking{w}
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	importTestCalls(t, app, 5)
	d.url = server.URL
	return d
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
	d.want(http.StatusUnauthorized, `"message":"No source has this token. Show the token of `, http.MethodPost, "/uploads", "a", "Authorization", "Bearer x")
	d.want(http.StatusUnauthorized, `"message":"Show the token of `, http.MethodPost, "/uploads", "a", "Authorization", "")
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
		{"another token", []string{orders, "--token-file", write("wrong.token", []byte("wrong"))}, exitFailed, ""},
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

// Files of an archive may have one name: what answers one doesn't take the other's place.
func TestResultsOfFilesOfOneName(t *testing.T) {
	d := newDesks(t)
	runApp(t, d.app)
	dir := t.TempDir()
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	for office, content := range map[string][]byte{"east/orders.csv": testUpload(2, 1), "west/orders.csv": append(testUpload(1, 1), "bogus,,,,\n"...)} {
		to, err := w.Create(office)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(dir, "offices.zip")
	if err := errors.Join(w.Close(), os.WriteFile(archive, packed.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CALLTALLY_TOKEN", testToken)
	for name, args := range map[string][]string{
		"send":    {"send", archive, "--to", d.url},
		"process": {"process", archive, "--config", d.app.config.file, "--account", "23", "--dry-run"},
	} {
		t.Run(name, func(t *testing.T) {
			results := filepath.Join(dir, name)
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), append(args, "--results", results), nil, &stdout, &stderr); code != exitRejected {
				t.Fatalf("exit code %d: %s%s", code, stdout.String(), stderr.String())
			}
			files, err := filepath.Glob(filepath.Join(results, "*"))
			if err != nil {
				t.Fatal(err)
			}
			lines := 0
			for _, file := range files {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				lines += bytes.Count(content, []byte("\n"))
			}
			if len(files) != 3 || lines != 3+3+2 { // two results files and one to fix, each with a header
				t.Errorf("%d lines in %q", lines, files)
			}
		})
	}
}

// Who redirects a client elsewhere doesn't have it show its token there.
func TestSendFollowsNoRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked for %s with %q", r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	redirecting := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/uploads", http.StatusFound))
	defer redirecting.Close()
	file := filepath.Join(t.TempDir(), "orders.csv")
	if err := os.WriteFile(file, testUpload(1, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CALLTALLY_TOKEN", testToken)
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"send", file, "--to", redirecting.URL}, nil, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "302 Found") {
		t.Errorf("exit code %d: %s%s", code, stdout.String(), stderr.String())
	}
}

// stopsWhenTold stops a program that says something.
type stopsWhenTold struct {
	bytes.Buffer
	stop func()
}

func (s *stopsWhenTold) Write(said []byte) (int, error) {
	s.stop()
	return s.Buffer.Write(said)
}

// Whoever hands a file in where nobody answers is told so at once, and nothing untrue when
// they give up.
func TestSendSaysThatItTriesAgain(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	file := filepath.Join(t.TempDir(), "orders.csv")
	if err := os.WriteFile(file, testUpload(1, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CALLTALLY_TOKEN", testToken)
	ctx, stop := context.WithCancel(t.Context())
	var stdout bytes.Buffer
	stderr := stopsWhenTold{stop: stop}
	code := run(ctx, []string{"send", file, "--to", closed.URL}, nil, &stdout, &stderr)
	for _, says := range []string{"connection refused; it is tried again in 1s (2 of 6 times)", "calltally: stopped: it is not known whether " + file + " was taken; send it again, and it counts once"} {
		if !strings.Contains(stderr.String(), says) {
			t.Errorf("it doesn't say %q", says)
		}
	}
	if code != exitFailed || strings.Contains(stderr.String(), "calltally once") {
		t.Errorf("it ended with %d and said %s", code, &stderr.Buffer)
	}
}

// What is fetched in part is no file: neither by a length that is short, nor under its name.
func TestAResultsFileThatBreaksOff(t *testing.T) {
	d := newDesks(t)
	runApp(t, d.app)
	dir := t.TempDir()
	file := filepath.Join(dir, "orders.csv")
	if err := os.WriteFile(file, testUpload(1, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	d.breaks = true
	t.Setenv("CALLTALLY_TOKEN", testToken)
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"send", file, "--to", d.url, "--results", filepath.Join(dir, "results")}, nil, &stdout, &stderr)
	if code != exitFailed || !strings.Contains(stderr.String(), "fetch orders.results.csv: the answer broke off: ") {
		t.Errorf("exit code %d: %s%s", code, stdout.String(), stderr.String())
	}
	if left, err := os.ReadDir(filepath.Join(dir, "results")); err != nil || len(left) != 0 {
		t.Errorf("the folder holds %v, %v", left, err)
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

// check asks a calltally that runs whether it knows the token, and shows it to nobody else.
func TestProbeDesk(t *testing.T) {
	d := newDesks(t)
	c := d.app.config
	probe := func(server, want string) {
		t.Helper()
		if _, address, ok := strings.Cut(server, "://"); ok {
			c.Web.Listen = address
		}
		got, err := c.probeDesk(t.Context(), 0)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	probe(d.url, "calltally answers there and knows the token")
	c.Sources[0].Token = strings.Repeat("x", shortestToken)
	probe(d.url, "doesn't know the token: start it again")
	curious := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if shown := r.Header.Get("Authorization"); shown != "" {
			t.Errorf("another program was shown %q", shown)
		}
		http.NotFound(w, r)
	})
	other := httptest.NewServer(curious)
	defer other.Close()
	probe(other.URL, "taken by another program")
	c.Web.Listen = "127.0.0.1:0"
	probe("", "free; ")
}

// With TLS, a calltally is known by its certificate.
func TestProbeDeskByTLS(t *testing.T) {
	d := newDesks(t)
	c := d.app.config
	handler, err := d.app.handler(d.app.worker.Log)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that must fail
	server.StartTLS()
	defer server.Close()
	c.Web.Listen = strings.TrimPrefix(server.URL, "https://")
	another, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		certificate tls.Certificate
		want        string
	}{
		"its own":       {server.TLS.Certificates[0], "calltally answers there and knows the token"},
		"another one's": {another, "another certificate than that of certificate_file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			key, err := x509.MarshalPKCS8PrivateKey(test.certificate.PrivateKey)
			if err != nil {
				t.Fatal(err)
			}
			c.Web.CertificateFile, c.Web.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
			err = errors.Join(
				os.WriteFile(c.Web.CertificateFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: test.certificate.Certificate[0]}), 0o600),
				os.WriteFile(c.Web.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
			)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.probeDesk(t.Context(), 0)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
