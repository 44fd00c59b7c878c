package store

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// The parameters of argon2id: the second recommended option of RFC 9106,
// section 4 (3 passes, 64 MiB, 4 lanes, 128-bit salt, 256-bit tag). OWASP's
// Password Storage Cheat Sheet asks for at least 19 MiB and 2 passes. The
// number of hashes made at once is bounded by [Store.hashing], or a burst of
// sign-ins would take all memory.
const (
	argonPasses  = 3
	argonKiB     = 64 * 1024
	argonLanes   = 4
	argonSaltLen = 16
	argonKeyLen  = 32
)

const (
	// minPassword is in characters. NIST SP 800-63B asks for 8 at the very
	// least and for length rather than rules on which characters to mix.
	minPassword = 10
	// maxPassword is in bytes; beyond it a password is only work for us.
	maxPassword = 1024
)

// passwordHash is a hash with the parameters that it was made with.
type passwordHash struct {
	passes, kib uint32
	lanes       uint8
	salt, key   []byte
}

// validPassword says what is wrong with a new password.
func validPassword(login, password string) error {
	switch {
	case !utf8.ValidString(password) || len(password) > maxPassword:
		return invalid("password", "This password is too long: use at most %d bytes.", maxPassword)
	case utf8.RuneCountInString(password) < minPassword:
		return invalid("password", "A password needs at least %d characters. Three or four unrelated words are easy to remember.", minPassword)
	case strings.EqualFold(password, login):
		return invalid("password", "The password must not be the login.")
	case strings.Count(password, password[:1]) == len(password):
		return invalid("password", "A password must not be one character again and again.")
	}
	return nil
}

// hashPassword returns the hash of a new password as a PHC string.
func (s *Store) hashPassword(ctx context.Context, password string) (string, error) {
	h := passwordHash{passes: argonPasses, kib: argonKiB, lanes: argonLanes, salt: make([]byte, argonSaltLen), key: make([]byte, argonKeyLen)}
	rand.Read(h.salt) // never fails
	key, err := s.argon2id(ctx, h, password)
	if err != nil {
		return "", err
	}
	h.key = key
	return h.String(), nil
}

// rightPassword says whether the hash was made from the password.
func (s *Store) rightPassword(ctx context.Context, h passwordHash, password string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil
	}
	key, err := s.argon2id(ctx, h, password)
	return subtle.ConstantTimeCompare(key, h.key) == 1, err
}

// argon2id computes the key of the password with the salt and parameters of
// h, once it gets one of the slots. The password is normalised: the same é
// typed on two systems can be different bytes (RFC 8265, section 4.1).
func (s *Store) argon2id(ctx context.Context, h passwordHash, password string) ([]byte, error) {
	select {
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(norm.NFC.String(password)), h.salt, h.passes, h.kib, h.lanes, uint32(len(h.key))), nil
}

// nobodysHash is compared with when the login is unknown, so that the answer
// takes as long as for a known one. No password fits it in practice.
func nobodysHash() passwordHash {
	return passwordHash{passes: argonPasses, kib: argonKiB, lanes: argonLanes, salt: make([]byte, argonSaltLen), key: make([]byte, argonKeyLen)}
}

// current says whether the hash has today's parameters.
func (h passwordHash) current() bool {
	return h.passes == argonPasses && h.kib == argonKiB && h.lanes == argonLanes && len(h.key) == argonKeyLen
}

// String is the PHC string format, which other programs read too.
func (h passwordHash) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.kib, h.passes, h.lanes,
		b64.EncodeToString(h.salt), b64.EncodeToString(h.key))
}

func parsePasswordHash(phc string) (h passwordHash, err error) {
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errors.New("the stored password hash is not argon2id")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.kib, &h.passes, &h.lanes); err != nil {
		return h, fmt.Errorf("read parameters of the stored password hash: %w", err)
	}
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return h, fmt.Errorf("read salt of the stored password hash: %w", err)
	}
	if h.key, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return h, fmt.Errorf("read key of the stored password hash: %w", err)
	}
	if h.passes == 0 || h.lanes == 0 || len(h.key) == 0 {
		return h, errors.New("the stored password hash has no parameters")
	}
	return h, nil
}
