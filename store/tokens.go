package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
)

// tokenBytes of randomness in every cookie and link: 256 bits, twice what
// guessing must be kept from, and as long as the hash that is stored.
const tokenBytes = 32

// newToken returns a token for a cookie or a link, and its hash to store.
func newToken() (token string, hash []byte) {
	raw := make([]byte, tokenBytes)
	rand.Read(raw) // never fails
	token = base64.RawURLEncoding.EncodeToString(raw)
	return token, tokenHash(token)
}

// tokenHash is a plain SHA-256: a random token of this length needs no salt
// and no slow hash.
func tokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
