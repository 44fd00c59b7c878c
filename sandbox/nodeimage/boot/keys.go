package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// keyLife is kubeadm's for a certificate authority, and longer than any sandbox's.
const keyLife = 10 * 365 * 24 * time.Hour

// authority is a certificate authority with its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// clientAuthority is whose certificates the API server and kubelet take for
// somebody's identity. kubeadm has one authority for this and for the API
// server's own certificate; in a template they are two, so that copies can
// have different clients and still find the certificate that their workloads
// were told to trust.
const clientAuthority = "pki/client-ca"

// renew gives the node keys of its own: whatever lets somebody in is made
// anew, with the same names in it. dir is /etc/kubernetes.
func renew(dir string) error {
	for ca, certs := range map[string][]string{
		clientAuthority:      {"pki/apiserver-kubelet-client"},
		"pki/front-proxy-ca": {"pki/front-proxy-client"},
		"pki/etcd/ca":        {"pki/etcd/server", "pki/etcd/peer", "pki/etcd/healthcheck-client", "pki/apiserver-etcd-client"},
	} {
		a, err := newAuthority(dir, ca)
		if err != nil {
			return err
		}
		for _, name := range certs {
			if err := a.renewFiles(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		if ca != clientAuthority {
			continue
		}
		configs, err := filepath.Glob(filepath.Join(dir, "*.conf"))
		if err != nil {
			return err
		}
		for _, config := range configs {
			if err := a.renewConfig(config); err != nil {
				return fmt.Errorf("%s: %w", config, err)
			}
		}
	}
	return newAccountKey(filepath.Join(dir, "pki/sa"))
}

// newAuthority makes an authority anew and writes it to NAME.crt and NAME.key.
func newAuthority(dir, name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: filepath.Base(name)},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		BasicConstraintsValid: true, IsCA: true,
	}
	if old, err := readCertificate(filepath.Join(dir, name+".crt")); err == nil {
		template.Subject, template.DNSNames = old.Subject, old.DNSNames
	}
	cert, raw, err := issue(template, nil, key)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key}, writePair(filepath.Join(dir, name), raw, key)
}

// renewFiles issues NAME.crt anew, with a new key.
func (a *authority) renewFiles(name string) error {
	old, err := readCertificate(name + ".crt")
	if err != nil {
		return err
	}
	raw, key, err := a.reissue(old)
	if err != nil {
		return err
	}
	return writePair(name, raw, key)
}

// The lines of a kubeconfig that hold its user's certificate and key.
var (
	certLine = regexp.MustCompile(`(?m)^( *client-certificate-data: )(\S+)$`)
	keyLine  = regexp.MustCompile(`(?m)^( *client-key-data: )(\S+)$`)
)

// renewConfig issues the certificate in a kubeconfig anew.
func (a *authority) renewConfig(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	found := certLine.FindSubmatch(text)
	if found == nil || !keyLine.Match(text) {
		return errors.New("it holds no client certificate")
	}
	was, err := base64.StdEncoding.DecodeString(string(found[2]))
	if err != nil {
		return err
	}
	old, err := parseCertificate(was)
	if err != nil {
		return err
	}
	raw, key, err := a.reissue(old)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	text = certLine.ReplaceAll(text, append([]byte("${1}"), base64.StdEncoding.EncodeToString(encodeCertificate(raw))...))
	text = keyLine.ReplaceAll(text, append([]byte("${1}"), base64.StdEncoding.EncodeToString(keyPEM)...))
	return replaceFile(path, text, 0o600)
}

func (a *authority) reissue(old *x509.Certificate) (raw []byte, key *ecdsa.PrivateKey, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	_, raw, err = issue(&x509.Certificate{
		Subject: old.Subject, DNSNames: old.DNSNames, IPAddresses: old.IPAddresses,
		KeyUsage: old.KeyUsage, ExtKeyUsage: old.ExtKeyUsage, BasicConstraintsValid: true,
	}, a, key)
	return raw, key, err
}

// issue signs a certificate, with its own key where there is no authority.
func issue(template *x509.Certificate, by *authority, key *ecdsa.PrivateKey) (*x509.Certificate, []byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(keyLife)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(raw)
	return cert, raw, err
}

// newAccountKey makes the key that service accounts' tokens are signed with.
func newAccountKey(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := replaceFile(name+".key", private, 0o600); err != nil {
		return err
	}
	return replaceFile(name+".pub", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600)
}

func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cert, err := parseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cert, nil
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no certificate in it")
	}
	return x509.ParseCertificate(block.Bytes)
}

func encodeCertificate(raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), nil
}

func writePair(name string, cert []byte, key *ecdsa.PrivateKey) error {
	text, err := encodeKey(key)
	if err != nil {
		return err
	}
	if err := replaceFile(name+".key", text, 0o600); err != nil {
		return err
	}
	return replaceFile(name+".crt", encodeCertificate(cert), 0o644)
}

// replaceFile replaces a file in one step, so that a boot that was cut off and
// begins again finds whole ones.
func replaceFile(path string, text []byte, mode os.FileMode) error {
	unfinished := path + ".new"
	if err := os.WriteFile(unfinished, text, mode); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}
