package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"calltally/conversion"
	"calltally/report"
	"calltally/web"
)

type sendCommand struct {
	File      string `arg:"" help:"The file to hand in."`
	To        string `help:"Where calltally takes requests, such as https://calltally.example." env:"CALLTALLY_URL" required:"" placeholder:"URL"`
	TokenFile string `help:"The file with the account's token." env:"CALLTALLY_TOKEN_FILE" type:"path" placeholder:"FILE"`
	Token     string `help:"The token itself." env:"CALLTALLY_TOKEN" hidden:""`
	Key       string `help:"What tells this file from others: sent again under it, it counts once. A random one, if not said." placeholder:"KEY"`
	NoWait    bool   `help:"Don't wait until the rows are decided."`
	Results   string `help:"Write the results and fix files into this folder." type:"path" placeholder:"DIR"`
}

// Run hands a file in, waits until it is decided, and says what became of it.
func (c *sendCommand) Run(g *globals) error {
	if err := errors.Join(checkFile(c.File), checkResults(c.Results)); err != nil {
		return err
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	client.say = func(said string) { fmt.Fprintln(g.stderr, "calltally:", withoutSecrets(said)) }
	receipt, err := client.send(g.ctx, c.File, c.Key)
	if g.ctx.Err() != nil {
		return fmt.Errorf("stopped: it is not known whether %s was taken; send it again, and it counts once", c.File)
	}
	if err != nil {
		return err
	}
	var all fates
	names := report.Names{}
	for i := range receipt.Uploads {
		upload := &receipt.Uploads[i]
		if !c.NoWait {
			err := client.wait(g.ctx, upload)
			if g.ctx.Err() != nil {
				return fmt.Errorf("stopped: %s was taken, as upload %d, and is decided without us", upload.File, upload.Upload)
			}
			if err != nil {
				return err
			}
		}
		if c.Results != "" {
			if err := client.fetch(g.ctx, upload, c.Results, names); err != nil {
				return err
			}
		}
		if err := all.add(upload.File, sentFate(upload)); err != nil {
			return err
		}
	}
	if g.JSON {
		err = printJSON(g.stdout, receipt)
	} else {
		err = printReceipt(g.stdout, receipt)
	}
	return errors.Join(err, all.worst())
}

// sentFate is what became of an upload elsewhere.
func sentFate(u *web.Upload) error {
	switch {
	case u.State == string(conversion.OnHold):
		return errHeld
	case u.Code != "":
		return errRefused
	case u.Tally["rejected"] > 0:
		return errRejected
	}
	return nil
}

func printReceipt(out io.Writer, receipt *web.Receipt) (err error) {
	for _, u := range receipt.Uploads {
		switch {
		case u.State == string(conversion.OnHold):
			_, err = fmt.Fprintf(out, "%s: upload %d is held: %s (%s)\n", u.File, u.Upload, u.Message, u.Code)
		case u.Code != "":
			_, err = fmt.Fprintf(out, "%s: upload %d was not taken: %s (%s)\n", u.File, u.Upload, u.Message, u.Code)
		case u.Tally != nil:
			_, err = fmt.Fprintf(out, "%s: upload %d, %s\n", u.File, u.Upload, conversion.TallyOf(u.Tally))
		default:
			_, err = fmt.Fprintf(out, "%s: upload %d, %s\n", u.File, u.Upload, u.State)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sender talks to a calltally that takes requests.
type sender struct {
	base  *url.URL
	token string
	http  *http.Client
	say   func(string) // tells whoever waits
}

func (c *sendCommand) client() (*sender, error) {
	base, err := url.Parse(strings.TrimSuffix(c.To, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, usageError{fmt.Errorf("--to: %q is not an address such as https://calltally.example", c.To)}
	}
	if base.Scheme == "http" && !loopback(base.Hostname()) {
		return nil, usageError{fmt.Errorf("--to: %s would carry the token unencrypted; use https", c.To)}
	}
	token := c.Token
	if c.TokenFile != "" {
		text, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return nil, usageError{fmt.Errorf("--token-file: %w", err)}
		}
		token = strings.TrimSpace(string(text))
	}
	if token == "" {
		return nil, usageError{errors.New("name the file with the account's token by --token-file, or set CALLTALLY_TOKEN_FILE")}
	}
	return &sender{base: base, token: token, http: tokenClient()}, nil
}

// tokenClient follows no redirects: who is elsewhere must not be shown a token.
func tokenClient() *http.Client {
	return &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// tries is how often a file is sent where nobody answers, with doubling pauses from one
// second.
const tries = 6

// send hands a file in. Under one key it counts once, however often it is sent.
func (s *sender) send(ctx context.Context, file, key string) (*web.Receipt, error) {
	if key == "" {
		key = rand.Text()
	}
	var failure error
	for try := range tries {
		if try > 0 {
			wait := time.Second << (try - 1)
			s.say(fmt.Sprintf("%v; it is tried again in %s (%d of %d times)", failure, wait, try+1, tries))
			if err := pause(ctx, wait); err != nil {
				return nil, errors.Join(err, failure)
			}
		}
		var receipt web.Receipt
		again, err := s.post(ctx, file, key, &receipt)
		if err == nil {
			return &receipt, nil
		}
		if failure = fmt.Errorf("send %s: %w", filepath.Base(file), err); !again {
			break
		}
	}
	return nil, failure
}

// post sends a file once; again says whether another try may do better.
func (s *sender) post(ctx context.Context, file, key string, into *web.Receipt) (again bool, err error) {
	in, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return false, err
	}
	request, err := s.request(ctx, http.MethodPost, "/uploads?name="+url.QueryEscape(filepath.Base(file)), in)
	if err != nil {
		return false, err
	}
	request.ContentLength = info.Size()
	if info.Size() == 0 {
		request.Body = http.NoBody
	}
	request.Header.Set("Content-Type", "application/octet-stream")
	request.Header.Set("Idempotency-Key", key)
	return s.answer(request, func(body io.Reader) error { return json.NewDecoder(body).Decode(into) })
}

func (s *sender) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.base.String()+path, body)
	if err == nil && s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	return request, err
}

// answer does a request and reads what it is answered; again says whether another try may
// do better.
func (s *sender) answer(request *http.Request, read func(io.Reader) error) (again bool, err error) {
	answer, err := s.http.Do(request)
	if err != nil {
		return request.Context().Err() == nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		var problem struct{ Code, Message string }
		if json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&problem) != nil || problem.Message == "" {
			problem.Message = answer.Status
		}
		return answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusConflict, errors.New(problem.Message)
	}
	if err := read(answer.Body); err != nil {
		return true, fmt.Errorf("the answer broke off: %w", err)
	}
	return false, nil
}

// wait waits until an upload is decided.
func (s *sender) wait(ctx context.Context, upload *web.Upload) error {
	failures := 0
	for wait := 100 * time.Millisecond; !conversion.UploadState(upload.State).AtRest(); wait = min(wait*3/2, 5*time.Second) {
		if err := pause(ctx, wait); err != nil {
			return err
		}
		request, err := s.request(ctx, http.MethodGet, fmt.Sprintf("/uploads/%d", upload.Upload), nil)
		if err != nil {
			return err
		}
		again, err := s.answer(request, func(body io.Reader) error { return json.NewDecoder(body).Decode(upload) })
		if failures++; err == nil {
			failures = 0
		}
		if err != nil && (!again || failures == tries) {
			return fmt.Errorf("upload %d was taken, but what became of it can't be learned: %w", upload.Upload, err)
		}
		if err != nil && ctx.Err() == nil {
			s.say(fmt.Sprintf("upload %d was taken; what becomes of it is asked again: %v", upload.Upload, err))
		}
	}
	return nil
}

// fetch writes the files that answer an upload into a folder.
func (s *sender) fetch(ctx context.Context, upload *web.Upload, folder string, names report.Names) error {
	for path, name := range map[string]string{upload.Results: upload.ResultsName, upload.Fix: upload.FixName} {
		if path == "" {
			continue
		}
		request, err := s.request(ctx, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		name = names.Take(filepath.Base(name), upload.File, upload.Upload)
		_, err = s.answer(request, func(body io.Reader) error {
			return writeFiles(ctx, folder, report.Attachment{Name: name, Write: func(to io.Writer) error {
				_, err := io.Copy(to, body)
				return err
			}})
		})
		if err != nil {
			return fmt.Errorf("fetch %s: %w", name, err)
		}
	}
	return nil
}

func pause(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
