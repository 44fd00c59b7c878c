package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kubeadmDir makes what kubeadm leaves in /etc/kubernetes, after it was sealed.
func kubeadmDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"pki/etcd", "manifests"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for ca, certs := range map[string][]string{
		"pki/ca":             {"pki/apiserver", "pki/apiserver-kubelet-client"},
		"pki/front-proxy-ca": {"pki/front-proxy-client"},
		"pki/etcd/ca":        {"pki/etcd/server", "pki/etcd/peer", "pki/etcd/healthcheck-client", "pki/apiserver-etcd-client"},
	} {
		a, err := newAuthority(dir, ca)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range certs {
			raw, key := kubeadmCert(t, a, name)
			if err := writePair(filepath.Join(dir, name), raw, key); err != nil {
				t.Fatal(err)
			}
		}
		if ca != "pki/ca" {
			continue
		}
		for _, name := range []string{"admin", "kubelet"} {
			raw, key := kubeadmCert(t, a, name)
			text, err := encodeKey(key)
			if err != nil {
				t.Fatal(err)
			}
			config := fmt.Sprintf("users:\n- name: x\n  user:\n    client-certificate-data: %s\n    client-key-data: %s\n",
				base64.StdEncoding.EncodeToString(encodeCertificate(raw)), base64.StdEncoding.EncodeToString(text))
			if err := os.WriteFile(filepath.Join(dir, name+".conf"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := newAccountKey(filepath.Join(dir, "pki/sa")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func kubeadmCert(t *testing.T, a *authority, name string) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, raw, err := issue(&x509.Certificate{
		Subject:  pkix.Name{CommonName: name, Organization: []string{"system:nodes"}},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(10, 245, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a, key)
	if err != nil {
		t.Fatal(err)
	}
	return raw, key
}

// tree reads all files below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir+"/")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestRenew checks that two copies of a template share nothing that lets
// somebody in, and that each holds together.
func TestRenew(t *testing.T) {
	dir := kubeadmDir(t)
	before := tree(t, dir)
	if err := renew(dir); err != nil {
		t.Fatal(err)
	}
	first := tree(t, dir)
	if err := renew(dir); err != nil { // a boot that was cut off begins again
		t.Fatal(err)
	}
	second := tree(t, dir)
	for name := range second {
		kept := name == "pki/ca.crt" || name == "pki/ca.key" || strings.HasPrefix(name, "pki/apiserver.")
		if same := first[name] == second[name]; same != kept {
			t.Errorf("%s is the same in two copies: %v, want %v", name, same, kept)
		}
		if same := before[name] == second[name]; same != kept {
			t.Errorf("%s is as in the template: %v, want %v", name, same, kept)
		}
		if strings.HasSuffix(name, ".new") {
			t.Errorf("%s was left behind", name)
		}
	}
	for _, check := range []struct{ cert, ca string }{
		{second["pki/apiserver-kubelet-client.crt"], second["pki/client-ca.crt"]},
		{certOf(t, second["admin.conf"]), second["pki/client-ca.crt"]},
		{certOf(t, second["kubelet.conf"]), second["pki/client-ca.crt"]},
		{second["pki/etcd/server.crt"], second["pki/etcd/ca.crt"]},
		{second["pki/apiserver-etcd-client.crt"], second["pki/etcd/ca.crt"]},
		{second["pki/front-proxy-client.crt"], second["pki/front-proxy-ca.crt"]},
	} {
		if err := verify(check.cert, check.ca); err != nil {
			t.Error(err)
		}
	}
	// What was good in one copy is not in the other.
	for _, was := range []string{certOf(t, first["admin.conf"]), first["pki/apiserver-kubelet-client.crt"], certOf(t, before["admin.conf"])} {
		if verify(was, second["pki/client-ca.crt"]) == nil {
			t.Error("a client of another copy is let in")
		}
	}
	old, _ := parseCertificate([]byte(certOf(t, before["kubelet.conf"])))
	new, _ := parseCertificate([]byte(certOf(t, second["kubelet.conf"])))
	if old.Subject.String() != new.Subject.String() || len(new.IPAddresses) != 1 || len(new.ExtKeyUsage) != 2 {
		t.Errorf("a certificate that was renewed is for %v, %v; it was for %v", new.Subject, new.IPAddresses, old.Subject)
	}
}

func certOf(t *testing.T, config string) string {
	t.Helper()
	found := certLine.FindStringSubmatch(config)
	if found == nil {
		t.Fatalf("no certificate in %q", config)
	}
	text, err := base64.StdEncoding.DecodeString(found[2])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func verify(cert, ca string) error {
	c, err := parseCertificate([]byte(cert))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ca))
	_, err = c.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// TestSeparate edits kubeadm's files, and says so when they are not what it knows.
func TestSeparate(t *testing.T) {
	dir, kind := kubeadmDir(t), t.TempDir()
	config := filepath.Join(kind, "config.yaml")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(config, "    clientCAFile: /etc/kubernetes/pki/ca.crt\n")
	write(filepath.Join(dir, "manifests/kube-apiserver.yaml"), "- --client-ca-file=/etc/kubernetes/pki/ca.crt\n- --tls-cert-file=/etc/kubernetes/pki/apiserver.crt\n")
	manager := filepath.Join(dir, "manifests/kube-controller-manager.yaml")
	write(manager, "- --client-ca-file=/etc/kubernetes/pki/ca.crt\n- --root-ca-file=/etc/kubernetes/pki/ca.crt\n"+
		"- --cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt\n- --cluster-signing-key-file=/etc/kubernetes/pki/ca.key\n")
	if err := separate(dir, kind, config); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(manager)
	if err != nil {
		t.Fatal(err)
	}
	want := "- --client-ca-file=/etc/kubernetes/pki/client-ca.crt\n- --root-ca-file=/etc/kubernetes/pki/ca.crt\n" +
		"- --cluster-signing-cert-file=/etc/kubernetes/pki/client-ca.crt\n- --cluster-signing-key-file=/etc/kubernetes/pki/client-ca.key\n"
	if string(text) != want {
		t.Errorf("the controller manager's manifest is\n%swant\n%s", text, want)
	}
	if exists(filepath.Join(dir, "pki/ca.key")) {
		t.Error("the key of the API server's authority is left in the template")
	}
	if err := separate(dir, kind, config); err == nil || !strings.Contains(err.Error(), "does not say") {
		t.Errorf("files that were changed already: %v", err)
	}
}
