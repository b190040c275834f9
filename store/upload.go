package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"calltally/conversion"
)

// partSize is how many bytes of an upload one part holds.
const partSize = 512 << 10

// SaveUpload makes a delivery ours: its record and its bytes, in one
// transaction. One that is refused or held already makes its report due. known is true if the same delivery was saved before; then the
// upload that was saved is returned.
func (s *Store) SaveUpload(ctx context.Context, u *conversion.Upload, open func() (io.ReadCloser, error)) (saved *conversion.Upload, known bool, err error) {
	if u.Digest, u.Size, err = digest(open); err != nil {
		return nil, false, fmt.Errorf("read %s: %w", u.Name, err)
	}
	err = s.inTx(ctx, "save upload", func(tx *transaction) error {
		err := tx.QueryRowContext(ctx, "SELECT id FROM upload WHERE source = $1 AND origin = $2 AND digest = $3", u.Source, u.Origin, u.Digest[:]).Scan(&u.ID)
		if err == nil {
			known = true
			return nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := findSame(ctx, tx, u); err != nil {
			return err
		}
		if err := insertUpload(ctx, tx, u); err != nil {
			return err
		}
		if u.Refusal != nil || u.Hold != nil {
			if err := reportDue(ctx, tx, u.ID, u.ReceivedAt); err != nil {
				return err
			}
		}
		return saveParts(ctx, tx, u, open)
	})
	if err != nil {
		return nil, false, err
	}
	if known {
		saved, err = s.Upload(ctx, u.ID)
		return saved, true, err
	}
	return u, false, nil
}

func digest(open func() (io.ReadCloser, error)) (sum [32]byte, size int64, err error) {
	in, err := open()
	if err != nil {
		return sum, 0, err
	}
	defer in.Close()
	h := sha256.New()
	size, err = io.Copy(h, in)
	h.Sum(sum[:0])
	return sum, size, err
}

// findSame finds the first upload of the same bytes for the same account.
func findSame(ctx context.Context, tx *transaction, u *conversion.Upload) error {
	if u.Again {
		return nil
	}
	return tx.QueryRowContext(ctx, "SELECT COALESCE(MIN(id), 0) FROM upload WHERE account = $1 AND digest = $2 AND takes = $3 AND state <> 'refused' AND hold_code = '' AND dry_run = 0 AND undoes = 0 AND replays = 0",
		u.Account, u.Digest[:], string(u.Takes)).Scan(&u.SameAs)
}

func insertUpload(ctx context.Context, tx *transaction, u *conversion.Upload) error {
	refusal, hold, state := conversion.Refusal{}, conversion.Hold{}, u.State
	if u.Refusal != nil {
		refusal = *u.Refusal
	}
	if u.Hold != nil { // it is received, and goes on from there
		hold, state = *u.Hold, conversion.Received
	}
	return tx.QueryRowContext(ctx, `INSERT INTO upload (id, account, source, origin, digest, size, name, stem, takes, dialect, received_ms, decided_ms, state, refusal_code, refusal, same_as, again, dry_run, undoes, replays, mail, bundle, closes, hold_code, hold, emptied_ms)
		VALUES (1 + (`+highestNumber+`), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25) RETURNING id`,
		u.Account, u.Source, u.Origin, u.Digest[:], u.Size, u.Name, u.Stem, string(u.Takes), u.Dialect, int64(u.ReceivedAt), int64(u.DecidedAt), string(state),
		string(refusal.Code), refusal.Sentence, u.SameAs, u.Again, u.DryRun, u.Undoes, u.Replays, asJSON(u.Mail), u.Bundle, u.Closes, string(hold.Code), hold.Sentence, int64(u.EmptiedAt)).Scan(&u.ID)
}

// errChanged says that a file's bytes are not those its digest was made of.
var errChanged = errors.New("the file changed while it was read; it is read again later")

func saveParts(ctx context.Context, tx *transaction, u *conversion.Upload, open func() (io.ReadCloser, error)) error {
	file, err := open()
	if err != nil {
		return err
	}
	defer file.Close()
	saved := sha256.New()
	in := io.TeeReader(file, saved)
	part := make([]byte, partSize)
	for n := 0; ; n++ {
		size, err := io.ReadFull(in, part)
		if size > 0 {
			if _, err := tx.ExecContext(ctx, "INSERT INTO upload_part (upload, part, bytes) VALUES ($1, $2, $3)", u.ID, n, part[:size]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			if !bytes.Equal(saved.Sum(nil), u.Digest[:]) {
				return errChanged
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// SaveDerived notes an upload that shares the bytes of another, which it takes
// back or decides again.
func (s *Store) SaveDerived(ctx context.Context, u *conversion.Upload) error {
	return s.inTx(ctx, "save upload", func(tx *transaction) error { return insertUpload(ctx, tx, u) })
}

// Family returns the uploads that share an upload's bytes because they take another
// of them back or decide it again, with the first of them and itself, oldest first.
func (s *Store) Family(ctx context.Context, upload int64) (family []*conversion.Upload, err error) {
	err = s.eachUpload(ctx, func(u *conversion.Upload) error { family = append(family, u); return nil }, `id IN (
		WITH RECURSIVE up (id, of) AS (
			SELECT id, undoes + replays FROM upload WHERE id = $1
			UNION SELECT u.id, u.undoes + u.replays FROM up JOIN upload u ON u.id = up.of),
		down (id) AS (
			SELECT id FROM up WHERE of = 0
			UNION SELECT u.id FROM down JOIN upload u ON u.undoes + u.replays = down.id AND u.undoes + u.replays > 0)
		SELECT id FROM down) ORDER BY id`, upload)
	return family, err
}

// OpenUpload reads an upload's bytes back, part by part; of one that takes another
// back or decides it again, that one's.
func (s *Store) OpenUpload(ctx context.Context, upload int64) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		for of := upload; of != 0; {
			upload = of
			err := s.read.QueryRowContext(ctx, "SELECT undoes + replays FROM upload WHERE id = $1", upload).Scan(&of)
			if err != nil {
				return nil, fmt.Errorf("read upload %d: %w", upload, err)
			}
		}
		return io.NopCloser(&partReader{ctx: ctx, s: s, upload: upload}), nil
	}
}

type partReader struct {
	ctx    context.Context
	s      *Store
	upload int64
	part   int
	left   []byte
}

func (r *partReader) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		err := r.s.read.QueryRowContext(r.ctx, "SELECT bytes FROM upload_part WHERE upload = $1 AND part = $2", r.upload, r.part).Scan(&r.left)
		if errors.Is(err, sql.ErrNoRows) {
			return 0, io.EOF
		}
		if err != nil {
			return 0, fmt.Errorf("read upload %d: %w", r.upload, err)
		}
		r.part++
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

const uploadColumns = "id, account, source, origin, digest, size, name, stem, takes, dialect, received_ms, decided_ms, state, refusal_code, refusal, reading, tally, diagnosis, cursor_line, same_as, again, dry_run, undoes, replays, mail, bundle, closes, hold_code, hold, approved, attempts, next_ms, last_error, emptied_ms"

type scanner interface{ Scan(into ...any) error }

func scanUpload(row scanner) (*conversion.Upload, error) {
	var u conversion.Upload
	var digest []byte
	var refusal conversion.Refusal
	var hold conversion.Hold
	var reading, tally, mail, approved string
	err := row.Scan(&u.ID, &u.Account, &u.Source, &u.Origin, &digest, &u.Size, &u.Name, &u.Stem, &u.Takes, &u.Dialect, &u.ReceivedAt, &u.DecidedAt, &u.State,
		&refusal.Code, &refusal.Sentence, &reading, &tally, &u.Diagnosis, &u.Cursor, &u.SameAs, &u.Again, &u.DryRun, &u.Undoes, &u.Replays, &mail, &u.Bundle, &u.Closes,
		&hold.Code, &hold.Sentence, &approved, &u.Attempts, &u.NextTry, &u.LastError, &u.EmptiedAt)
	if err != nil {
		return nil, err
	}
	copy(u.Digest[:], digest)
	if refusal.Code != "" {
		u.Refusal = &refusal
	}
	if hold.Code != "" {
		u.State, u.Hold = conversion.OnHold, &hold
	}
	for text, into := range map[string]any{reading: &u.Reading, tally: &u.Tally, mail: &u.Mail, approved: &u.Approved} {
		if text == "{}" || text == "[]" {
			continue
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			return nil, fmt.Errorf("read upload %d: %w", u.ID, err)
		}
	}
	return &u, nil
}

// Upload returns one upload.
func (s *Store) Upload(ctx context.Context, id int64) (*conversion.Upload, error) {
	u, err := scanUpload(s.read.QueryRowContext(ctx, "SELECT "+uploadColumns+" FROM upload WHERE id = $1", id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("upload %d: %w", id, conversion.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read upload %d: %w", id, err)
	}
	return u, nil
}

// Delivered returns the upload that a source's delivery of an origin became; nil if there
// is none.
func (s *Store) Delivered(ctx context.Context, source, origin string) (*conversion.Upload, error) {
	u, err := scanUpload(s.read.QueryRowContext(ctx, "SELECT "+uploadColumns+" FROM upload WHERE source = $1 AND origin = $2 ORDER BY id LIMIT 1", source, origin))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find %s of %s: %w", origin, source, err)
	}
	return u, nil
}

// HasBytes reports whether a source has ever given an upload of some bytes.
func (s *Store) HasBytes(ctx context.Context, source string, open func() (io.ReadCloser, error)) (found bool, err error) {
	sum, _, err := digest(open)
	if err == nil {
		err = s.read.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM upload WHERE source = $1 AND digest = $2", source, sum[:]).Scan(&found)
	}
	if err != nil {
		return false, fmt.Errorf("look for a file of %s: %w", source, err)
	}
	return found, nil
}

// EarlierOfStem reports whether the same source gave an upload of the same stem
// before this one.
func (s *Store) EarlierOfStem(ctx context.Context, u *conversion.Upload) (found bool, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM upload WHERE source = $1 AND stem = $2 AND id < $3", u.Source, u.Stem, u.ID).Scan(&found)
	if err != nil {
		return false, fmt.Errorf("find uploads named %s: %w", u.Stem, err)
	}
	return found, nil
}

// ListUploads calls each for uploads, newest first: of one account ("" = all),
// at most limit (0 = all).
func (s *Store) ListUploads(ctx context.Context, account string, limit int, each func(*conversion.Upload) error) error {
	return s.eachUpload(ctx, each, "($1 = '' OR account = $1) ORDER BY id DESC LIMIT $2", account, orAll(limit))
}

// Bundle lists the uploads that came together from a source, in their order.
func (s *Store) Bundle(ctx context.Context, source, bundle string) (all []*conversion.Upload, err error) {
	err = s.eachUpload(ctx, func(u *conversion.Upload) error { all = append(all, u); return nil }, "source = $1 AND bundle = $2 AND bundle <> '' ORDER BY id", source, bundle)
	return all, err
}

// farthest is farther ahead than anything is ever put off, in milliseconds: what is due after that
// was put off by a clock that was wrong.
const farthest = 12 * 60 * 60 * 1000

// UploadsToDecide calls each for the uploads whose rows are to be decided by now,
// oldest first.
func (s *Store) UploadsToDecide(ctx context.Context, now conversion.Millis, each func(*conversion.Upload) error) error {
	return s.eachUpload(ctx, each, "state IN ('received', 'deciding') AND hold_code = '' AND next_ms NOT BETWEEN $1 AND $2 ORDER BY id", int64(now)+1, int64(now)+farthest)
}

// UploadsWaiting calls each for the uploads that have rows waiting for their
// call, oldest first.
func (s *Store) UploadsWaiting(ctx context.Context, account string, each func(*conversion.Upload) error) error {
	return s.eachUpload(ctx, each, "waiting > 0 AND state = 'decided' AND dry_run = 0 AND ($1 = '' OR account = $1) ORDER BY id", account)
}

// eachUpload reads the list first: each may write.
func (s *Store) eachUpload(ctx context.Context, each func(*conversion.Upload) error, where string, args ...any) error {
	rows, err := s.read.QueryContext(ctx, "SELECT "+uploadColumns+" FROM upload WHERE "+where, args...)
	if err != nil {
		return fmt.Errorf("list uploads: %w", err)
	}
	var found []*conversion.Upload
	err = scanAll(rows, func(rows *sql.Rows) error {
		u, err := scanUpload(rows)
		found = append(found, u)
		return err
	})
	if err != nil {
		return fmt.Errorf("list uploads: %w", err)
	}
	for _, u := range found {
		if err := each(u); err != nil {
			return err
		}
	}
	return nil
}

// Refuse ends an upload that can't be read, and makes its report due. Once a row
// was decided, it can't be refused any more.
func (s *Store) Refuse(ctx context.Context, upload int64, refusal conversion.Refusal, at conversion.Millis) error {
	return s.inTx(ctx, "refuse upload", func(tx *transaction) error {
		refused, err := tx.ExecContext(ctx, "UPDATE upload SET state = 'refused', refusal_code = $2, refusal = $3, decided_ms = $4, hold_code = '', hold = '' WHERE id = $1 AND (state = 'received' OR state = 'deciding' AND cursor_line = 0)",
			upload, string(refusal.Code), refusal.Sentence, int64(at))
		if err := orTaken(refused, err, upload); err != nil {
			return err
		}
		return reportDue(ctx, tx, upload, at)
	})
}

// orTaken turns an update that found nothing to update into conversion.ErrTaken.
func orTaken(result sql.Result, err error, upload int64) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("upload %d: %w", upload, conversion.ErrTaken), err)
	}
	return nil
}

// BeginDeciding notes how an upload is read, before its first row is decided.
func (s *Store) BeginDeciding(ctx context.Context, upload int64, reading conversion.Reading) error {
	return s.inTx(ctx, "begin deciding", func(tx *transaction) error {
		begun, err := tx.ExecContext(ctx, "UPDATE upload SET state = 'deciding', reading = $2 WHERE id = $1 AND state IN ('received', 'deciding') AND hold_code = ''", upload, asJSON(reading))
		return orTaken(begun, err, upload)
	})
}

// Diagnose notes what the rows of a decided upload have in common by now. A
// sentence that is found later makes a report due.
func (s *Store) Diagnose(ctx context.Context, upload int64, sentence string, at conversion.Millis) error {
	return s.inTx(ctx, "diagnose upload", func(tx *transaction) error {
		changed, err := tx.ExecContext(ctx, "UPDATE upload SET diagnosis = $2 WHERE id = $1 AND diagnosis <> $2", upload, sentence)
		if err != nil {
			return err
		}
		switch n, err := changed.RowsAffected(); {
		case err != nil || n == 0:
			return err
		case sentence == "":
			return renewReport(ctx, tx, upload, at)
		}
		return reportDue(ctx, tx, upload, at)
	})
}

// FinishCalls ends the upload of a call log. It is reported only if there is
// news: entries that were rejected.
func (s *Store) FinishCalls(ctx context.Context, u *conversion.Upload, news bool) error {
	return s.inTx(ctx, "finish call log", func(tx *transaction) error {
		finished, err := tx.ExecContext(ctx, "UPDATE upload SET state = 'decided', reading = $2, tally = $3, decided_ms = $4 WHERE id = $1 AND hold_code = '' AND state IN ('received', 'deciding')", u.ID, asJSON(u.Reading), asJSON(u.Tally), int64(u.DecidedAt))
		if err := orTaken(finished, err, u.ID); err != nil || !news {
			return err
		}
		return reportDue(ctx, tx, u.ID, u.DecidedAt)
	})
}
