package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// recordTypes are those that can be asked for.
var recordTypes = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME, "MX": dnsmessage.TypeMX,
	"PTR": dnsmessage.TypePTR, "SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT,
}

// Codes of an answer, as dig prints them.
const (
	codeSuccess       = "NOERROR"
	codeNoName        = "NXDOMAIN"
	codeServerFailure = "SERVFAIL"
)

func codeOf(code dnsmessage.RCode) string {
	switch code {
	case dnsmessage.RCodeSuccess:
		return codeSuccess
	case dnsmessage.RCodeNameError:
		return codeNoName
	case dnsmessage.RCodeServerFailure:
		return codeServerFailure
	case dnsmessage.RCodeFormatError:
		return "FORMERR"
	case dnsmessage.RCodeNotImplemented:
		return "NOTIMP"
	case dnsmessage.RCodeRefused:
		return "REFUSED"
	}
	return "RCODE" + strconv.Itoa(int(code))
}

const (
	// resendAfter is when a datagram is taken to be lost, or its server to be busy.
	resendAfter = 2 * time.Second
	// maxDatagram is what an answer by UDP may have without extensions (RFC 1035, 4.2.1).
	maxDatagram = 512
)

// found is what a lookup brought.
type found struct {
	code    string
	name    string
	records []string
}

// lookup asks for a name, with the search list. The first full name that has
// records of the type wins; else the answer is that there are none, or that
// there is no such name, or that a server failed: whichever says most.
func (v vantage) lookup(ctx context.Context, name, kind string) (found, error) {
	best := found{}
	for _, full := range v.names.candidates(name) {
		got, err := v.ask(ctx, full, recordTypes[kind])
		if err != nil {
			return found{}, err
		}
		if len(got.records) > 0 {
			return got, nil
		}
		if best.code == "" || best.code != codeSuccess && got.code != codeNoName {
			best = got
		}
	}
	return best, nil
}

// ask asks the servers for a full name, one after the other and then again,
// until one knows or ctx ends.
func (v vantage) ask(ctx context.Context, name string, kind dnsmessage.Type) (found, error) {
	question := dnsmessage.Question{Type: kind, Class: dnsmessage.ClassINET}
	var err error
	if question.Name, err = dnsmessage.NewName(name + "."); err != nil {
		return found{code: codeNoName, name: name}, nil // it is too long for one
	}
	for {
		var failed found
		waited := false
		for _, server := range v.names.servers {
			got, err := v.exchange(ctx, server, question)
			if ctx.Err() != nil {
				return found{}, fmt.Errorf("%w: %w", errNoDNS, ctx.Err())
			}
			switch {
			case errors.Is(err, errPodGone):
				return found{}, err
			case err != nil:
				waited = waited || timedOut(err)
			case got.code == codeSuccess || got.code == codeNoName:
				got.name = name
				return got, nil
			default:
				failed = got
			}
		}
		if failed.code != "" {
			failed.name = name
			return failed, nil
		}
		if !waited {
			return found{}, errNoDNS // all of them refuse: no use in asking faster
		}
	}
}

// exchange asks one server, by TCP if the answer is too long for a datagram.
func (v vantage) exchange(ctx context.Context, server netip.AddrPort, question dnsmessage.Question) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, resendAfter)
	defer cancel()
	id := uint16(rand.Uint32())
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{question},
	}
	packed, err := query.Pack()
	if err != nil {
		return found{}, err
	}
	for _, transport := range []func(context.Context, netip.AddrPort, []byte, func([]byte) bool) error{v.byUDP, v.byTCP} {
		var got found
		var truncated bool
		err := transport(ctx, server, packed, func(answer []byte) bool {
			var ours bool
			got, truncated, ours = readAnswer(answer, id, question)
			return ours
		})
		if err != nil || !truncated {
			return got, err
		}
	}
	return found{}, errors.New("the DNS server's answer is cut off")
}

func (v vantage) byUDP(ctx context.Context, server netip.AddrPort, query []byte, take func([]byte) bool) error {
	return v.converse(ctx, "udp", server, func(conn net.Conn) error {
		if _, err := conn.Write(query); err != nil {
			return err
		}
		var buf [maxDatagram]byte
		for {
			n, err := conn.Read(buf[:])
			if err != nil {
				return err
			}
			if take(buf[:n]) {
				return nil
			} // else it is a late answer, or none of the server's
		}
	})
}

func (v vantage) byTCP(ctx context.Context, server netip.AddrPort, query []byte, take func([]byte) bool) error {
	return v.converse(ctx, "tcp", server, func(conn net.Conn) error {
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
			return err
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return err
		}
		answer := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, answer); err != nil {
			return err
		}
		if !take(answer) {
			return errors.New("the DNS server answers what nobody has asked")
		}
		return nil
	})
}

// converse opens a connection that ends with ctx.
func (v vantage) converse(ctx context.Context, network string, server netip.AddrPort, do func(net.Conn) error) error {
	conn, err := v.dial(ctx, network, server.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	defer endWith(ctx, conn)()
	return do(conn)
}

// endWith makes what waits for a connection fail when ctx ends. The caller calls what it returns.
func endWith(ctx context.Context, conn net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // a connection that is closed has failed already
	})
}

// readAnswer reads a message. ours is false if it does not answer the question.
func readAnswer(message []byte, id uint16, question dnsmessage.Question) (got found, truncated, ours bool) {
	var p dnsmessage.Parser
	header, err := p.Start(message)
	if err != nil || !header.Response || header.ID != id {
		return found{}, false, false
	}
	asked, err := p.Question()
	if err != nil || asked.Type != question.Type || !strings.EqualFold(asked.Name.String(), question.Name.String()) {
		return found{}, false, false
	}
	if header.Truncated {
		return found{}, true, true
	}
	got = found{code: codeOf(header.RCode)}
	if p.SkipAllQuestions() != nil {
		return got, false, true
	}
	size := 0
	for len(got.records) < maxRecords && size < maxText {
		resource, err := p.Answer()
		if err != nil {
			break // the section has ended, or cannot be read on
		}
		if text, ok := recordText(resource.Body); ok && resource.Header.Type == question.Type {
			got.records = append(got.records, text)
			size += len(text)
		}
	}
	slices.Sort(got.records)
	return got, false, true
}

// recordText writes a record as in a zone file, but names without the final dot.
func recordText(body dnsmessage.ResourceBody) (string, bool) {
	name := func(n dnsmessage.Name) string { return strings.TrimSuffix(n.String(), ".") }
	switch r := body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(r.A).String(), true
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(r.AAAA).String(), true
	case *dnsmessage.CNAMEResource:
		return name(r.CNAME), true
	case *dnsmessage.PTRResource:
		return name(r.PTR), true
	case *dnsmessage.MXResource:
		return fmt.Sprintf("%d %s", r.Pref, name(r.MX)), true
	case *dnsmessage.SRVResource:
		return fmt.Sprintf("%d %d %d %s", r.Priority, r.Weight, r.Port, name(r.Target)), true
	case *dnsmessage.TXTResource:
		return strings.Join(r.TXT, ""), true
	}
	return "", false
}

// dns asks what a check asks.
func (v vantage) dns(ctx context.Context, d DNS, timeout time.Duration) (*DNSAnswer, error) {
	begin := time.Now()
	got, err := v.answer(ctx, d)
	answer := &DNSAnswer{Code: got.code, Name: got.name, Records: got.records, Seconds: time.Since(begin).Seconds()}
	if errors.Is(err, errPodGone) {
		return nil, err
	}
	answer.Error = inWords(err, waitingForDNS, timeout)
	return answer, nil
}

// answer looks into the hosts file first, where there is one.
func (v vantage) answer(ctx context.Context, d DNS) (found, error) {
	name := strings.TrimSuffix(d.Name, ".")
	switch d.Type {
	case "A", "AAAA":
		var records []string
		for _, address := range v.names.addressesOf(d.Name) {
			if address.Is4() == (d.Type == "A") {
				records = append(records, address.String())
			}
		}
		if len(records) > 0 {
			slices.Sort(records)
			return found{codeSuccess, name, records}, nil
		}
	case "PTR":
		if address, err := netip.ParseAddr(name); err == nil {
			for _, h := range v.names.hosts {
				if h.address == address && len(h.names) > 0 {
					return found{codeSuccess, reverse(address), h.names[:1]}, nil
				}
			}
			return v.ask(ctx, reverse(address), dnsmessage.TypePTR)
		}
	}
	return v.lookup(ctx, d.Name, d.Type)
}

// reverse is the name that an address has in the DNS (RFC 1035, 3.5; RFC 3596, 2.5).
func reverse(address netip.Addr) string {
	var labels []string
	if address = address.Unmap(); address.Is4() {
		for _, b := range address.As4() {
			labels = append(labels, strconv.Itoa(int(b)))
		}
		slices.Reverse(labels)
		return strings.Join(labels, ".") + ".in-addr.arpa"
	}
	for _, b := range address.As16() {
		labels = append(labels, strconv.FormatUint(uint64(b>>4), 16), strconv.FormatUint(uint64(b&0xf), 16))
	}
	slices.Reverse(labels)
	return strings.Join(labels, ".") + ".ip6.arpa"
}
