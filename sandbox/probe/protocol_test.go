package probe

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	for want, r := range map[string]Request{
		"":                              {HTTP: &HTTP{URL: "http://web.shop/", Method: "POST", Header: map[string]string{"X-A": "b"}}, From: From{"shop", "10.244.0.7"}},
		"http or https URL":             {HTTP: &HTTP{URL: "ftp://web.shop/"}},
		"with a host":                   {HTTP: &HTTP{URL: "http:///x"}},
		"is no URL":                     {HTTP: &HTTP{URL: "http://a b/%zz"}},
		"no method":                     {HTTP: &HTTP{URL: "http://a/", Method: "G T"}},
		"no header":                     {HTTP: &HTTP{URL: "http://a/", Header: map[string]string{"a": "b\r\nc: d"}}},
		"write host:port":               {TCP: &TCP{Address: "db"}},
		"is no port":                    {TCP: &TCP{Address: "db:nosuchport"}},
		"A, AAAA, CNAME":                {DNS: &DNS{Name: "a", Type: "ANY"}},
		"no name":                       {DNS: &DNS{Type: "A"}},
		"at least 100ms apart":          {HTTP: &HTTP{URL: "http://a/"}, Every: time.Millisecond},
		"at most 30s":                   {HTTP: &HTTP{URL: "http://a/"}, Timeout: time.Hour},
		"at most 64 KiB":                {HTTP: &HTTP{URL: "http://a/"}, Limit: 1 << 30},
		"it is status, up or every":     {HTTP: &HTTP{URL: "http://a/"}, Watch: "changes"},
		"is named by its IP address":    {HTTP: &HTTP{URL: "http://a/"}, From: From{Pod: "web-0"}},
		"is no namespace":               {HTTP: &HTTP{URL: "http://a/"}, From: From{Namespace: "a.b"}},
		"there is nothing to look at":   {},
		`"TRACE\n" is no method`:        {HTTP: &HTTP{URL: "http://a/", Method: "TRACE\n"}},
		`"host:" is no address`:         {TCP: &TCP{Address: "host:"}, ID: "an empty port"},
		`":80" is no address`:           {TCP: &TCP{Address: ":80"}},
		`the timeout is -1s`:            {DNS: &DNS{Name: "a", Type: "A"}, Timeout: -time.Second},
		`"shop\nnameserver" is no name`: {DNS: &DNS{Name: "a", Type: "A"}, From: From{Namespace: "shop\nnameserver"}},
	} {
		err := r.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
}

func TestUnreadable(t *testing.T) {
	for name, line := range map[string]string{
		"nothing":          "",
		"no JSON":          "hello",
		"no id":            `{"http":{"url":"http://a/"}}`,
		"a long id":        `{"stop":true,"id":"` + strings.Repeat("x", maxID+1) + `"}`,
		"nothing to do":    `{"id":"1"}`,
		"two things to do": `{"id":"1","again":true,"stop":true}`,
		"an unknown field": `{"id":"1","stop":true,"shell":"rm -rf /"}`,
		"two messages":     `{"id":"1","stop":true}{"id":"2","stop":true}`,
		"a very long line": `{"id":"1","http":{"url":"` + strings.Repeat("x", MaxLine) + `"}}`,
	} {
		if r, err := DecodeRequest([]byte(line)); err == nil {
			t.Errorf("%s is read as %+v", name, r)
		}
	}
	for name, line := range map[string]string{
		"no answer":   `{"id":"1","at":"2026-01-01T00:00:00Z"}`,
		"two answers": `{"id":"1","at":"2026-01-01T00:00:00Z","http":{},"tcp":{}}`,
		"no id":       `{"at":"2026-01-01T00:00:00Z","error":"x"}`,
	} {
		if a, err := DecodeAnswer([]byte(line)); err == nil {
			t.Errorf("%s is read as %+v", name, a)
		}
	}
}

// TestLongestAnswers: whatever a server sends, its answer fits into a line.
func TestLongestAnswers(t *testing.T) {
	worst := strings.Repeat("\x01", maxHeaders) // six bytes each in JSON
	records := make([]string, maxRecords)
	for i := range records {
		records[i] = strings.Repeat("\x01", maxText/maxRecords)
	}
	for name, a := range map[string]Answer{
		"http": {HTTP: &HTTPAnswer{Code: 200, Headers: map[string]string{"a": worst}, Body: make([]byte, MaxBody), Error: strings.Repeat("\x01", maxWords)}},
		"tcp":  {TCP: &TCPAnswer{Open: true, Received: make([]byte, MaxBody)}},
		"dns":  {DNS: &DNSAnswer{Code: codeSuccess, Records: records}},
	} {
		a.ID, a.At = strings.Repeat("x", maxID), time.Now()
		line, err := encode(a)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := DecodeAnswer(line); err != nil || !got.At.Equal(a.At) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, r := range []Request{
		{ID: "1", HTTP: &HTTP{URL: "http://web.shop/", Header: map[string]string{"a": "b"}, Body: "x"}, From: From{"shop", "10.244.0.7"}, Every: time.Second},
		{ID: "2", TCP: &TCP{Address: "db:5432", Send: "x", Expect: "y"}},
		{ID: "3", DNS: &DNS{Name: "web", Type: "SRV"}},
		{ID: "4", Again: true},
		{ID: "5", Stop: true},
	} {
		line, err := encode(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"id":"1","dns":null,"stop":true}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := DecodeRequest(line)
		if err != nil {
			return
		}
		roundTrips(t, r, DecodeRequest)
		if r.Check() != nil {
			return
		}
		// What was found good can be begun.
		if r.HTTP != nil {
			if _, err := r.HTTP.request(); err != nil {
				t.Errorf("%+v is found good and cannot be sent: %v", r.HTTP, err)
			}
		}
		if r.DNS != nil {
			names{search: []string{"shop.svc.cluster.local"}, dots: podDots}.candidates(r.DNS.Name)
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	for _, a := range []Answer{
		{ID: "1", HTTP: &HTTPAnswer{Code: 200, Headers: map[string]string{"a": "b"}, Body: []byte("x"), Seconds: 0.5}},
		{ID: "2", TCP: &TCPAnswer{Open: true, Received: []byte{0}}},
		{ID: "3", DNS: &DNSAnswer{Code: codeNoName, Records: []string{"a"}}},
		{ID: "4", Error: PodGone},
	} {
		line, err := encode(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := DecodeAnswer(line)
		if err != nil {
			return
		}
		a.Up()
		if a.differs(a, WatchStatus) || a.differs(a, WatchUp) {
			t.Errorf("%s differs from itself", line)
		}
		if a.At.Year() > 0 && a.At.Year() < 9999 { // what JSON has times for
			roundTrips(t, a, DecodeAnswer)
		}
	})
}

// FuzzReadAnswer reads what a DNS server of the learner's may say.
func FuzzReadAnswer(f *testing.F) {
	server := zone{"web.": {"A 10.0.0.1", "TXT hello"}, "a.": {"SRV 0 1 80 web.", "MX 5 web.", "PTR web.", "CNAME web.", "AAAA fd00::1"}}
	for name := range server {
		for kind := range recordTypes {
			f.Add(server.answer(f, query(f, name, kind), maxDatagram))
		}
	}
	question := questionFor(f, "web.", "A")
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, kind := range recordTypes {
			question.Type = kind
			got, _, ours := readAnswer(message, 0, question)
			if !ours && (got.code != "" || got.records != nil) {
				t.Errorf("of somebody else's message is kept %+v", got)
			}
			if _, err := encode(Answer{ID: "1", DNS: &DNSAnswer{Code: got.code, Records: got.records}}); err != nil {
				t.Errorf("an answer cannot be told: %v", err)
			}
		}
	})
}

func roundTrips[T any](t *testing.T, message T, decode func([]byte) (T, error)) {
	t.Helper()
	line, err := encode(message)
	if err != nil {
		if strings.Contains(err.Error(), "longer than") {
			return // it was shorter as it was written
		}
		t.Fatalf("what was read cannot be written: %v", err)
	}
	again, err := decode(line)
	if err != nil {
		t.Fatalf("what was written cannot be read: %v\n%s", err, line)
	}
	one, _ := json.Marshal(message)
	other, _ := json.Marshal(again)
	if !bytes.Equal(one, other) {
		t.Errorf("%s becomes %s", one, other)
	}
}
