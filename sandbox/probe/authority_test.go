package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testAuthority signs certificates. It is among those that this process trusts.
type testAuthority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

// authority is set once, before any test runs: what the system trusts is read once in a process.
var authority testAuthority

// withAuthority runs the tests while the system has an authority of theirs.
func withAuthority(run func() int) (int, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 1, err
	}
	raw, err := x509.CreateCertificate(rand.Reader, caTemplate, caTemplate, &key.PublicKey, key)
	if err != nil {
		return 1, err
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return 1, err
	}
	authority = testAuthority{key, certificate}
	dir, err := os.MkdirTemp("", "drydock-probe-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600); err != nil {
		return 1, err
	}
	if err := os.Setenv("SSL_CERT_FILE", file); err != nil {
		return 1, err
	}
	return run(), nil
}

var caTemplate = &x509.Certificate{
	SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the lab's own"}, IsCA: true, BasicConstraintsValid: true,
	KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
}

// server answers "secure" under a name, at 127.0.0.1 if that is localhost.
func (a testAuthority) server(t *testing.T, name string) string {
	url := a.serve(t, name, time.Now().Add(time.Hour))
	return strings.Replace(url, "127.0.0.1", "localhost", 1)
}

func (a testAuthority) expired(t *testing.T) string {
	return strings.Replace(a.serve(t, "localhost", time.Now().Add(-time.Minute)), "127.0.0.1", "localhost", 1)
}

func (a testAuthority) serve(t *testing.T, name string, until time.Time) string {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
	}, a.certificate, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "secure") }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: a.key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}
