package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"

	"drydock/labs"
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
	// maxSeenOfAttempt is how far evidence that decided nothing may fill that,
	// so that there is always room for what decides, and for the end.
	maxSeenOfAttempt = 48 << 20
	// maxEvidenceRead is how much of an attempt's evidence is read at once,
	// unpacked, in bytes: a learner can make evidence that packs a thousand to one.
	maxEvidenceRead = 1 << 30
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

// AddSeen keeps evidence that decided nothing by itself, of many attempts in
// one transaction. What is over the limits of a piece or of its attempt, or
// belongs to no attempt, is left out and counted, for the others are stored
// together with it; full are the attempts that have no more room.
func (s *Store) AddSeen(ctx context.Context, seen map[string]labs.Seen) (full []string, err error) {
	defer wrap(&err, "keep evidence of %d attempts", len(seen))
	packed := make(map[string][]piece, len(seen))
	leftOut := make(map[string]int, len(seen))
	for attempt, of := range seen {
		leftOut[attempt] = of.LeftOut
		for _, e := range of.Evidence {
			p, err := s.pack(e)
			if err != nil {
				leftOut[attempt]++
				continue
			}
			packed[attempt] = append(packed[attempt], p)
		}
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		full = nil
		for _, attempt := range slices.Sorted(maps.Keys(seen)) {
			some, err := addSeen(ctx, tx, attempt, packed[attempt], leftOut[attempt])
			if err != nil {
				return err
			}
			if some {
				full = append(full, attempt)
			}
		}
		return nil
	})
	return full, err
}

// addSeen adds as many pieces as there is room for, and counts the others.
func addSeen(ctx context.Context, tx *sql.Tx, attempt string, pieces []piece, leftOut int) (full bool, err error) {
	var size int64
	err = tx.QueryRowContext(ctx, `SELECT evidence_bytes FROM attempts WHERE id = ?`, attempt).Scan(&size)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for i, p := range pieces {
		if size += p.size(); size > maxSeenOfAttempt {
			full, leftOut = true, leftOut+len(pieces)-i
			break
		}
		if err := addPiece(ctx, tx, attempt, p); err != nil {
			return false, err
		}
	}
	if leftOut > 0 {
		_, err = tx.ExecContext(ctx, `UPDATE attempts SET evidence_left_out = evidence_left_out + ? WHERE id = ?`, leftOut, attempt)
	}
	return full, err
}

// EvidenceLeftOut is how many pieces of evidence of the attempt were not kept,
// because they were too many or found no more room.
func (s *Store) EvidenceLeftOut(ctx context.Context, attempt string) (n int, err error) {
	defer wrap(&err, "look up evidence of attempt %s", attempt)
	err = s.reader.QueryRowContext(ctx, `SELECT evidence_left_out FROM attempts WHERE id = ?`, attempt).Scan(&n)
	return n, err
}

// size is what the piece counts for in the attempt's room.
func (p piece) size() int64 { return int64(len(p.packed) + len(p.Error)) }

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
		UPDATE evidence SET first_at = min(first_at, ?1), last_at = max(last_at, ?1) WHERE digest = ?2 AND run = ?5 AND format = ?6 AND id =
			(SELECT id FROM evidence WHERE attempt = ?3 AND check_id = ?4 ORDER BY id DESC LIMIT 1)`,
		toMillis(p.At), p.digest, attempt, p.Check, p.Run, p.Format)
	if err := mustChange(same, err); !errors.Is(err, ErrNotFound) {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO evidence (attempt, check_id, run, format, first_at, last_at, digest, error, data) VALUES (?1, ?2, ?7, ?8, ?3, ?3, ?4, ?5, ?6)`,
		attempt, p.Check, toMillis(p.At), p.digest, p.Error, p.packed, p.Run, p.Format)
	if err != nil {
		return err
	}
	var size int64
	err = tx.QueryRowContext(ctx, `UPDATE attempts SET evidence_bytes = evidence_bytes + ? WHERE id = ? RETURNING evidence_bytes`,
		p.size(), attempt).Scan(&size)
	if err == nil && size > maxEvidenceOfAttempt {
		return fmt.Errorf("%d MiB: %w", maxEvidenceOfAttempt>>20, ErrEvidenceFull)
	}
	return err
}

// Evidence returns what was seen in the attempt, in order of time. A run of
// equal observations comes as its first and its last. What can't be read any
// more comes as an error of the check that saw it. The error wraps
// [ErrTooLarge] when there is more than can be judged at once.
func (s *Store) Evidence(ctx context.Context, attempt string) (_ []grade.Evidence, err error) {
	defer wrap(&err, "read evidence of attempt %s", attempt)
	size := 0
	bounded := func(r row) (grade.Evidence, error) {
		e, err := s.scanEvidence(r)
		if size += len(e.Data); err == nil && size > maxEvidenceRead {
			err = fmt.Errorf("more than %d MiB: %w", maxEvidenceRead>>20, ErrTooLarge)
		}
		return e, err
	}
	return collect(ctx, s.reader, bounded, `
		SELECT check_id, run, format, first_at AS at, error, data, id FROM evidence WHERE attempt = ?1
		UNION ALL
		SELECT check_id, run, format, last_at AS at, error, data, id FROM evidence WHERE attempt = ?1 AND last_at > first_at
		ORDER BY at, id`, attempt)
}

// LastEvidence returns the last piece of each check, in the order of the
// checks' names.
func (s *Store) LastEvidence(ctx context.Context, attempt string) (_ []grade.Evidence, err error) {
	defer wrap(&err, "read the last evidence of attempt %s", attempt)
	return collect(ctx, s.reader, s.scanEvidence, `
		SELECT e.check_id, e.run, e.format, e.last_at, e.error, e.data, e.id FROM (SELECT DISTINCT check_id FROM evidence WHERE attempt = ?1) c
		JOIN evidence e ON e.id = (SELECT id FROM evidence WHERE attempt = ?1 AND check_id = c.check_id ORDER BY last_at DESC, id DESC LIMIT 1)
		ORDER BY e.check_id`, attempt)
}

// unreadable is what a check saw when that can't be read any more.
const unreadable = "what was kept of it can't be read any more"

func (s *Store) scanEvidence(r row) (e grade.Evidence, err error) {
	var at sql.NullInt64
	var packed sql.RawBytes
	var id int64
	if err := r.Scan(&e.Check, &e.Run, &e.Format, &at, &e.Error, &packed, &id); err != nil {
		return e, err
	}
	e.At = fromMillis(at)
	if packed == nil {
		return e, nil
	}
	if e.Data, err = s.zstd.unpack(packed); err != nil || !json.Valid(e.Data) {
		e.Data, e.Error = nil, unreadable
	}
	return e, nil
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
