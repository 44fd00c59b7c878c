package kind

import (
	"bytes"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// TestPlainConfig: what the node's root writes into the administrator's
// kubeconfig is not done by the server.
func TestPlainConfig(t *testing.T) {
	const hostile = `apiVersion: v1
kind: Config
current-context: a
contexts: [{name: a, context: {cluster: c, user: u}}]
clusters:
- name: c
  cluster: {server: "https://evil.example", certificate-authority-data: Q0E=, proxy-url: "http://evil.example", tls-server-name: evil}
- {name: other, cluster: {server: "https://evil.example"}}
users:
- name: u
  user:
    client-certificate-data: Q0VSVA==
    client-key-data: S0VZ
    client-certificate: /evil/cert
    tokenFile: /evil/token
    token: evil
    username: evil
    as: evil
    exec: {apiVersion: client.authentication.k8s.io/v1, command: /evil, interactiveMode: Never}
`
	cfg, err := clientcmd.Load([]byte(hostile))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := plainConfig(cfg, "https://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	text, err := clientcmd.Write(*plain)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("evil")) || !bytes.Contains(text, []byte("https://127.0.0.1:1")) || !bytes.Contains(text, []byte("S0VZ")) {
		t.Errorf("what is taken of a hostile file:\n%s", text)
	}
	cfg.AuthInfos["u"].ClientKeyData = nil
	if _, err := plainConfig(cfg, "https://127.0.0.1:1"); err == nil {
		t.Error("a file without a key was taken")
	}
	cfg.CurrentContext = "none"
	if _, err := plainConfig(cfg, "https://127.0.0.1:1"); err == nil {
		t.Error("a file without a context was taken")
	}
}
