// Package web is what calltally shows and takes by HTTP.
package web

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"

	"calltally/conversion"
	"calltally/ingest"
	"calltally/ingest/desk"
	"calltally/report"
)

// Uploads takes files from scripts and tells what became of them. Whoever shows a desk's
// token may hand files in there, and sees the uploads of its account.
type Uploads struct {
	Desks []Desk
	Store Store
	// Files lists the files that answer an upload, such as orders.results.csv, once it is
	// decided.
	Files func(ctx context.Context, upload *conversion.Upload) ([]report.Attachment, error)
	// MaxBytes is the largest file that is taken.
	MaxBytes int64
	Log      *slog.Logger

	keys keys
}

// Desk is where files are handed in by those who show a token.
type Desk struct {
	*desk.Desk
	Token string
}

// Store is what is needed of the database.
type Store interface {
	Delivered(ctx context.Context, source, origin string) (*conversion.Upload, error)
	Bundle(ctx context.Context, source, bundle string) ([]*conversion.Upload, error)
	Upload(ctx context.Context, id int64) (*conversion.Upload, error)
}

// Handle adds the paths to a mux.
func (u *Uploads) Handle(mux *http.ServeMux) {
	mux.HandleFunc("POST /uploads", u.by(u.post))
	mux.HandleFunc("GET /uploads/{id}", u.by(u.show))
	mux.HandleFunc("GET /uploads/{id}/results", u.by(u.file(report.ResultsEnding)))
	mux.HandleFunc("GET /uploads/{id}/fix", u.by(u.file(report.FixEnding)))
}

// problem is an answer that isn't what was asked for.
type problem struct {
	status int
	// Code is for programs, Message for people.
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (p *problem) Error() string { return p.Message }

func problemf(status int, code, format string, args ...any) error {
	return &problem{status, code, fmt.Sprintf(format, args...)}
}

// by has a request answered for the desk whose token it shows.
func (u *Uploads) by(answer func(*Desk, http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		desk := u.desk(r)
		if desk == nil {
			w.Header().Set("WWW-Authenticate", Challenge)
			message := "Show the token of the source's token_file in a header “Authorization: Bearer TOKEN”."
			if r.Header.Get("Authorization") != "" {
				message = "No source has this token. " + message
			}
			write(w, http.StatusUnauthorized, &problem{Code: "unauthorized", Message: message})
			return
		}
		err := answer(desk, w, r)
		var known *problem
		switch {
		case err == nil:
		case errors.As(err, &known):
			write(w, known.status, known)
		case r.Context().Err() != nil: // nobody listens any more
		default:
			u.Log.Error("request failed", "path", r.URL.Path, "error", err)
			write(w, http.StatusServiceUnavailable, &problem{Code: "unavailable", Message: "This could not be done now; try again in a while, with the same Idempotency-Key."})
		}
	}
}

// Challenge is what is answered to those who show no token.
const Challenge = `Bearer realm="calltally"`

// desk finds the desk whose token a request shows.
func (u *Uploads) desk(r *http.Request) *Desk {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil
	}
	shown := sha256.Sum256([]byte(strings.TrimSpace(token)))
	var found *Desk
	for i := range u.Desks {
		if own := sha256.Sum256([]byte(u.Desks[i].Token)); subtle.ConstantTimeCompare(shown[:], own[:]) == 1 {
			found = &u.Desks[i]
		}
	}
	return found
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body) //nolint:errcheck // whoever asked is gone
}

// Receipt is what is answered for a file: an upload, or those in an archive.
type Receipt struct {
	Uploads []Upload `json:"uploads"`
}

// Upload is an upload as it is told.
type Upload struct {
	Upload    int64          `json:"upload"`
	File      string         `json:"file"`
	State     string         `json:"state"` // received, deciding, decided or refused
	Code      string         `json:"code,omitempty"`
	Message   string         `json:"message,omitempty"`
	Tally     map[string]int `json:"tally,omitempty"`
	Diagnosis string         `json:"diagnosis,omitempty"`
	// Results is the path of its results file, Fix that of the rows to be corrected; their
	// names stand beside them.
	Results     string `json:"results,omitempty"`
	ResultsName string `json:"results_name,omitempty"`
	Fix         string `json:"fix,omitempty"`
	FixName     string `json:"fix_name,omitempty"`
}

// post takes a file.
func (u *Uploads) post(d *Desk, w http.ResponseWriter, r *http.Request) error {
	key := r.Header.Get("Idempotency-Key")
	if len(key) > 255 || !conversion.IsPrintableASCII(key) {
		return problemf(http.StatusBadRequest, "key_invalid", "The Idempotency-Key has more than 255 characters or others than ASCII. A random number will do.")
	}
	name, body, err := u.body(w, r)
	if err != nil {
		return err
	}
	f, disk, err := ingest.Spool(body)
	defer f.Remove()
	var large *http.MaxBytesError
	switch {
	case disk != nil:
		return disk
	case errors.As(err, &large):
		return problemf(http.StatusRequestEntityTooLarge, "too_large", "The file has more than %s, the most that is taken. Send it in parts.", conversion.SizeName(u.MaxBytes))
	case err != nil:
		return problemf(http.StatusBadRequest, "cut_short", "The file broke off (%v). Send it again, with the same Idempotency-Key.", err)
	}
	if key == "" {
		key = rand.Text()
	}
	origin := "key " + key
	bundle := fmt.Sprintf("%s %x", origin, f.Digest)
	done, err := u.keys.take(r.Context(), d.Label+" "+key)
	if err != nil {
		return err
	}
	defer done()
	if err := u.unlikeBefore(r.Context(), d, origin, bundle); err != nil {
		return err
	}
	if err := d.Take(r.Context(), desk.File{Name: name, Size: f.Size, Open: f.Open, Origin: origin, Bundle: bundle}); err != nil {
		return err
	}
	uploads, err := u.Store.Bundle(r.Context(), d.Label, bundle)
	if err != nil {
		return err
	}
	answer := Receipt{}
	for _, upload := range uploads {
		answer.Uploads = append(answer.Uploads, tell(upload))
	}
	if len(uploads) == 1 {
		w.Header().Set("Location", uploadPath(uploads[0].ID))
	}
	write(w, http.StatusAccepted, answer)
	return nil
}

// unlikeBefore refuses a key that came with other bytes before.
func (u *Uploads) unlikeBefore(ctx context.Context, d *Desk, origin, bundle string) error {
	same, err := u.Store.Bundle(ctx, d.Label, bundle)
	if err != nil || len(same) > 0 {
		return err
	}
	for _, one := range []string{origin, ingest.MemberOrigin(origin, 1)} {
		other, err := u.Store.Delivered(ctx, d.Label, one)
		if err != nil {
			return err
		}
		if other != nil {
			return problemf(http.StatusUnprocessableEntity, "key_reused", "The Idempotency-Key came with another file before, which is upload %d. Send this one under a key of its own.", other.ID)
		}
	}
	return nil
}

// body finds the file in a request: in a form, or all of it.
func (u *Uploads) body(w http.ResponseWriter, r *http.Request) (name string, body io.Reader, err error) {
	r.Body = http.MaxBytesReader(w, r.Body, u.MaxBytes+1<<20) // what a form adds
	limited := func(in io.Reader) io.Reader { return http.MaxBytesReader(w, io.NopCloser(in), u.MaxBytes) }
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "multipart/form-data" {
		_, parameters, _ := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
		return cmp.Or(r.URL.Query().Get("name"), parameters["filename"], "upload.csv"), limited(r.Body), nil
	}
	form, err := r.MultipartReader()
	if err != nil {
		return "", nil, problemf(http.StatusBadRequest, "form_invalid", "The form can't be read (%v).", err)
	}
	for {
		var part *multipart.Part
		if part, err = form.NextPart(); err != nil {
			return "", nil, problemf(http.StatusBadRequest, "no_file", "The form has no file. With curl: -F file=@orders.csv")
		}
		if part.FileName() != "" {
			return part.FileName(), limited(part), nil
		}
	}
}

// show tells what became of an upload.
func (u *Uploads) show(d *Desk, w http.ResponseWriter, r *http.Request) error {
	upload, err := u.upload(d, r)
	if err != nil {
		return err
	}
	write(w, http.StatusOK, tell(upload))
	return nil
}

// upload finds the upload that a request is about, if it is the account's.
func (u *Uploads) upload(d *Desk, r *http.Request) (*conversion.Upload, error) {
	missing := problemf(http.StatusNotFound, "not_found", "There is no upload %s of this account.", conversion.Clip(r.PathValue("id"), 20))
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, missing
	}
	upload, err := u.Store.Upload(r.Context(), id)
	if errors.Is(err, conversion.ErrNotFound) || err == nil && upload.Account != d.Account {
		return nil, missing
	}
	return upload, err
}

// file answers with the file of a certain ending.
func (u *Uploads) file(ending string) func(*Desk, http.ResponseWriter, *http.Request) error {
	return func(d *Desk, w http.ResponseWriter, r *http.Request) error {
		upload, err := u.upload(d, r)
		if err != nil {
			return err
		}
		if !upload.State.AtRest() {
			w.Header().Set("Retry-After", "1")
			return problemf(http.StatusConflict, "not_decided", "Upload %d is still being decided. Ask again in a second.", upload.ID)
		}
		files, err := u.Files(r.Context(), upload)
		if err != nil {
			return err
		}
		for _, file := range files {
			if strings.HasSuffix(file.Name, ending) {
				w.Header().Set("Content-Type", "text/csv; charset=utf-8")
				w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": file.Name}))
				if err := file.Write(w); err != nil { // what was sent must not look complete
					u.Log.Error("request failed", "path", r.URL.Path, "error", err)
					panic(http.ErrAbortHandler)
				}
				return nil
			}
		}
		return problemf(http.StatusNotFound, "not_found", "Upload %d has no such file.", upload.ID)
	}
}

func uploadPath(id int64) string { return fmt.Sprintf("/uploads/%d", id) }

func tell(u *conversion.Upload) Upload {
	s := Upload{Upload: u.ID, File: u.Name, State: string(u.State), Diagnosis: u.Diagnosis}
	if u.Refusal != nil {
		s.Code, s.Message = string(u.Refusal.Code), u.Refusal.Sentence
	}
	if u.Hold != nil {
		s.Code, s.Message = string(u.Hold.Code), u.Hold.Sentence
	}
	if u.State != conversion.Decided {
		return s
	}
	s.Tally = u.Tally.ByName()
	if u.Takes == conversion.TakesConversions {
		stem := report.Stem(u.Name)
		s.Results, s.ResultsName = uploadPath(u.ID)+"/results", stem+report.ResultsEnding
		if u.Tally.Of(conversion.Rejected) > 0 {
			s.Fix, s.FixName = uploadPath(u.ID)+"/fix", stem+report.FixEnding
		}
	}
	return s
}
