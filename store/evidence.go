package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"drydock/labs/grade"
)

const (
	// maxEvidence is one observation, before compression. etcd refuses objects
	// over 1.5 MiB; a list of a namespace's pods is some of these.
	maxEvidence = 8 << 20
	// maxEvidenceOfAttempt is all of an attempt's, compressed: thousands of
	// changes of an ordinary object, and a learner who makes objects change
	// ten times a second cannot fill the disk.
	maxEvidenceOfAttempt = 64 << 20
)

// piece is an observation made ready for the table.
type piece struct {
	grade.Evidence
	digest []byte
	packed []byte // nil: no data
}

// AddEvidence keeps what collectors saw in the attempt. Observations of a
// check that equal the one before are kept as the first and the last of them:
// nothing that judging could see is lost. The error wraps [ErrTooLarge] or
// [ErrEvidenceFull] when a limit is reached, and nothing is kept then.
func (s *Store) AddEvidence(ctx context.Context, attempt string, evidence ...grade.Evidence) (err error) {
	defer wrap(&err, "keep evidence of attempt %s", attempt)
	pieces := make([]piece, len(evidence))
	for i, e := range evidence {
		if pieces[i], err = s.pack(e); err != nil {
			return err
		}
	}
	if len(pieces) == 0 {
		return nil
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		for _, p := range pieces {
			if err := addPiece(ctx, tx, attempt, p); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) pack(e grade.Evidence) (piece, error) {
	p := piece{Evidence: e}
	switch {
	case e.At.IsZero():
		return p, fmt.Errorf("what check %s saw has no time", e.Check)
	case len(e.Data) > maxEvidence:
		return p, fmt.Errorf("check %s saw %d bytes, %d allowed: %w", e.Check, len(e.Data), maxEvidence, ErrTooLarge)
	case len(e.Data) > 0 && !json.Valid(e.Data):
		return p, fmt.Errorf("what check %s saw is not JSON", e.Check)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%d\n", len(e.Data))
	sum.Write(e.Data)
	sum.Write([]byte(e.Error))
	p.digest = sum.Sum(nil)
	if len(e.Data) > 0 {
		p.packed = s.zstd.pack(e.Data)
	}
	return p, nil
}

// addPiece lengthens the run of equal observations, or begins a new one.
func addPiece(ctx context.Context, tx *sql.Tx, attempt string, p piece) error {
	same, err := tx.ExecContext(ctx, `
		UPDATE evidence SET last_at = max(last_at, ?1) WHERE digest = ?2 AND id =
			(SELECT id FROM evidence WHERE attempt = ?3 AND check_id = ?4 ORDER BY id DESC LIMIT 1)`,
		toMillis(p.At), p.digest, attempt, p.Check)
	if err := mustChange(same, err); !errors.Is(err, ErrNotFound) {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO evidence (attempt, check_id, first_at, last_at, digest, error, data) VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6)`,
		attempt, p.Check, toMillis(p.At), p.digest, p.Error, p.packed)
	if err != nil {
		return err
	}
	var size int64
	err = tx.QueryRowContext(ctx, `UPDATE attempts SET evidence_bytes = evidence_bytes + ? WHERE id = ? RETURNING evidence_bytes`,
		len(p.packed)+len(p.Error), attempt).Scan(&size)
	if err == nil && size > maxEvidenceOfAttempt {
		return fmt.Errorf("%d MiB: %w", maxEvidenceOfAttempt>>20, ErrEvidenceFull)
	}
	return err
}

// Evidence returns what was seen in the attempt, in order of time. A run of
// equal observations comes as its first and its last.
func (s *Store) Evidence(ctx context.Context, attempt string) (_ []grade.Evidence, err error) {
	defer wrap(&err, "read evidence of attempt %s", attempt)
	return collect(ctx, s.reader, s.scanEvidence, `
		SELECT check_id, first_at AS at, error, data, id FROM evidence WHERE attempt = ?1
		UNION ALL
		SELECT check_id, last_at AS at, error, data, id FROM evidence WHERE attempt = ?1 AND last_at > first_at
		ORDER BY at, id`, attempt)
}

func (s *Store) scanEvidence(r row) (e grade.Evidence, err error) {
	var at sql.NullInt64
	var packed sql.RawBytes
	var id int64
	if err := r.Scan(&e.Check, &at, &e.Error, &packed, &id); err != nil {
		return e, err
	}
	e.At = fromMillis(at)
	if packed != nil {
		e.Data, err = s.zstd.unpack(packed)
	}
	return e, err
}

// compressor packs evidence. Both halves may be used by many goroutines.
type compressor struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newCompressor() (*compressor, error) {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxEvidence))
	if err != nil {
		return nil, fmt.Errorf("start zstd: %w", err)
	}
	return &compressor{encoder, decoder}, nil
}

func (c *compressor) pack(data []byte) []byte { return c.encoder.EncodeAll(data, nil) }

func (c *compressor) unpack(packed []byte) ([]byte, error) { return c.decoder.DecodeAll(packed, nil) }

func (c *compressor) close() {
	c.encoder.Close()
	c.decoder.Close()
}
