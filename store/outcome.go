package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/gob"
	"errors"
	"fmt"

	"calltally/conversion"
)

// saveOutcomes packs a chunk's outcomes.
func saveOutcomes(ctx context.Context, tx *transaction, s *conversion.Settlement) error {
	if len(s.Outcomes) == 0 {
		return nil
	}
	packed, err := pack(s.Outcomes)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO outcome_chunk (upload, first_line, last_line, outcomes) VALUES ($1, $2, $3, $4) ON CONFLICT (upload, first_line) DO UPDATE SET outcomes = excluded.outcomes",
		s.Upload, s.Outcomes[0].Line, s.Outcomes[len(s.Outcomes)-1].Line, packed)
	return err
}

func pack(outcomes []conversion.Outcome) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(outcomes); err != nil {
		return nil, fmt.Errorf("pack outcomes: %w", err)
	}
	return b.Bytes(), nil
}

// Outcomes calls each for the chunks of an upload's outcomes that hold lines
// from first on, in order, until each says to stop.
func (s *Store) Outcomes(ctx context.Context, upload int64, first int, each func([]conversion.Outcome) (more bool, err error)) error {
	return readOutcomes(ctx, s.read, upload, first, each)
}

func readOutcomes(ctx context.Context, q querier, upload int64, first int, each func([]conversion.Outcome) (more bool, err error)) error {
	for {
		var packed []byte
		var last int
		err := q.QueryRowContext(ctx, "SELECT last_line, outcomes FROM outcome_chunk WHERE upload = $1 AND last_line >= $2 ORDER BY first_line LIMIT 1", upload, first).Scan(&last, &packed)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read outcomes of upload %d: %w", upload, err)
		}
		var outcomes []conversion.Outcome
		if err := gob.NewDecoder(bytes.NewReader(packed)).Decode(&outcomes); err != nil {
			return fmt.Errorf("read outcomes of upload %d: %w", upload, err)
		}
		if more, err := each(outcomes); err != nil || !more {
			return err
		}
		first = last + 1
	}
}
