package grade

import (
	"encoding/json"
	"strings"
	"testing"
)

const aToken = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2lnbmF0dXJl_-"

func TestSecretsAreMasked(t *testing.T) {
	for name, test := range map[string]struct{ text, secret, rest string }{
		"a bearer token":        {"> Authorization: Bearer 8f14e45fceea167a5a36\r\n", "8f14e45fceea167a5a36", "> Authorization: Bearer "},
		"basic credentials":     {"Authorization: Basic YWRhOmxvdmVsYWNl", "YWRhOmxvdmVsYWNl", "Authorization: Basic "},
		"a JSON web token":      {"token is " + aToken + ", valid", aToken, "token is "},
		"one that was cut off":  {"x " + aToken[:40], aToken[:40], "x "},
		"a private key":         {"a\n-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----\nb", "MIIEow", "-----BEGIN RSA PRIVATE KEY-----"},
		"the beginning of one":  {"-----BEGIN PRIVATE KEY-----\nMIIEow", "MIIEow", "-----BEGIN PRIVATE KEY-----"},
		"a key in JSON":         {`{"key":"-----BEGIN PRIVATE KEY-----\nMIIEow\n-----END","b":1}`, "MIIEow", `,"b":1}`},
		"a password in a URL":   {"postgres://shop:s3cr3t@db:5432/shop", "s3cr3t", "@db:5432/shop"},
		"a variable":            {"A=1\nPGPASSWORD=s3cr3t\nB=2", "s3cr3t", "\nB=2"},
		"a quoted variable":     {`export DB_PASSWORD="two words" PATH=/bin`, "two words", " PATH=/bin"},
		"a query":               {"GET /?user=ada&access_token=abcdef&x=1", "abcdef", "&x=1"},
		"a command's argument":  {"mysql --password=s3cr3t -u root", "s3cr3t", " -u root"},
		"a field":               {`{"user":"ada","dbPassword": "s3cr3t","port":5432}`, "s3cr3t", `,"port":5432}`},
		"a field within a text": {`{"log":"{\"api_key\":\"s3cr3t\",\"n\":1}"}`, "s3cr3t", `\"n\":1}"}`},
		"a field, twice within": {`{"log":"{\"a\":\"{\\\"secret\\\": \\\"s3cr3t\\\"}\"}"}`, "s3cr3t", `\\\"}\"}"}`},
		"a line":                {"user: ada\npassword: s3cr3t\nport: 5432", "s3cr3t", "\nport: 5432"},
		"an assignment in JSON": {`["--password=s3cr3t","--token=",",x"]`, "s3cr3t", `,"--token=",",x"]`},
	} {
		masked := maskText(test.text)
		switch {
		case strings.Contains(masked, test.secret) || !strings.Contains(masked, maskPrefix):
			t.Errorf("%s is kept: %s", name, masked)
		case !strings.Contains(masked, test.rest):
			t.Errorf("of %s too much is masked: %s", name, masked)
		case maskText(test.text) != masked || maskText(masked) != masked:
			t.Errorf("%s has another mask each time: %s, %s", name, masked, maskText(masked))
		case maskText(strings.ReplaceAll(test.text, test.secret, test.secret[1:])) == masked:
			t.Errorf("%s that is another has the same mask", name)
		case json.Valid([]byte(test.text)) && !json.Valid([]byte(masked)):
			t.Errorf("%s: what was JSON is none: %s", name, masked)
		}
	}
}

func TestWhatIsNoSecretStays(t *testing.T) {
	for _, text := range []string{
		"", "PWD=/home/learner\nOLDPWD=/root", "bearer authentication is needed", "the token expired", "secretName: web-tls", `{"token_type":"Bearer","port":1}`,
		"web   1/1   Running   0   5s", "Filesystem 1K-blocks Used\n/dev/sda 100 20", "no such host", "http://web.shop:8080/healthz", "ops@example.org", "a=1&b=2",
	} {
		if masked := maskText(text); masked != text {
			t.Errorf("%q became %q", text, masked)
		}
	}
}

// A condition sees what is kept.
func TestMaskedBeforeItIsJudged(t *testing.T) {
	seen := func(code int) data {
		return data{Response: &answer{Code: code, Body: `{"token":"abc"}`, Headers: map[string]string{
			"set-cookie": "id=s3cr3t; Path=/, x=other; Secure", "authorization": "s3cr3t", "content-type": "text/plain"}}}
	}
	p, err := newPlace(Env{})
	if err != nil {
		t.Fatal(err)
	}
	s := p.sight(seen(200), nil)
	if text := string(s.data); strings.Contains(text, "s3cr3t") || strings.Contains(text, "other") || strings.Contains(text, `"abc"`) ||
		!strings.Contains(text, "; Path=/, x=sha256:") || !strings.Contains(text, "text/plain") {
		t.Errorf("kept is %s", text)
	}
	set := mustCompile(t, Check{ID: "c", HTTP: aRequest, That: `response.json.token == "` + mask("abc") + `"`})
	if r := set.Replay([]Evidence{{Check: "c", At: s.at, Data: s.data}}, nil, nil)[0]; r.Verdict != Pass {
		t.Errorf("judged: %+v", r)
	}
	if s.at.Nanosecond()%1e6 != 0 {
		t.Errorf("seen at %v, which is not kept to the end", s.at)
	}
}

func FuzzMask(f *testing.F) {
	for _, text := range []string{
		"Authorization: Bearer 8f14e45fceea167a5a36", aToken, "-----BEGIN PRIVATE KEY-----\nMII", "a://b:c@d", `{"password":"x","y":"token=","z":",\"secret\":\"a"}`, "secret: x\n- token: 'y'\n", "PASSWORD='a b' token=\"c\"",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		masked := maskText(text)
		if again := maskText(masked); again != masked {
			t.Errorf("%q became %q and then %q", text, masked, again)
		}
		if json.Valid([]byte(text)) && !json.Valid([]byte(masked)) {
			t.Errorf("the JSON %q became %q", text, masked)
		}
	})
}

// FuzzEvidence reads anything for what was kept, of every kind of check.
func FuzzEvidence(f *testing.F) {
	for _, seen := range []string{deploymentSeen, podsSeen, answerSeen, resultSeen, `{"logs":[{"pod":"a","text":"b"}]}`, `{"objects":[null]}`, "[]", strings.Repeat(`{"object":`, 100)} {
		f.Add([]byte(seen), DataFormat, "")
	}
	set := mustCompile(f,
		Check{ID: "one", Watch: aDeployment, That: "object.metadata.uid == baseline.metadata.uid"},
		Check{ID: "many", Watch: somePods, That: "objects.all(o, o.metadata.name != '')"},
		Check{ID: "request", HTTP: aRequest, That: "response.json.a == 1 || response.headers['x'] == ''"},
		Check{ID: "command", Exec: aCommand, That: "result.code == 0", Else: "${result.stderr}"},
		Check{ID: "logs", Logs: &Logs{Namespace: "a", Selector: "b=c"}, That: "logs.exists(l, l.text.contains('x'))"},
	)
	f.Fuzz(func(t *testing.T, raw []byte, format int, problem string) {
		if read, err := decodeData(raw); err == nil {
			read.mask()
			if kept, err := read.encode(); err == nil {
				if _, err := decodeData(kept); err != nil {
					t.Errorf("what was read and kept again can't be read: %v", err)
				}
			}
		}
		var evidence []Evidence
		baseline := Baseline{}
		for _, c := range set.Checks() {
			evidence = append(evidence, Evidence{Check: c.ID, Format: format, Data: raw, Error: problem, At: at(1)})
			baseline[c.ID] = raw
		}
		for _, r := range set.Replay(evidence, nil, baseline) {
			if (format > DataFormat || problem != "") && r.Verdict != Error {
				t.Errorf("%s is %s of evidence that says nothing", r.Check, r.Verdict)
			}
		}
		set.Retrace(evidence, nil, baseline, map[string]bool{"command": true})
	})
}
