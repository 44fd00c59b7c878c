package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxWords bounds what is told of an error that there are no words for, in bytes.
const maxWords = 200

// waitingForDNS is what any look may have to do first.
const waitingForDNS = "waiting for the DNS server"

// Errors of our own, in the words that a learner is told.
var (
	errNoHost     = errors.New("no such host")
	errNoDNS      = errors.New("the DNS server does not answer")
	errDNSFailed  = errors.New("the DNS server failed")
	errNoAnswer   = errors.New("the connection was closed without an answer")
	errBrokeOff   = errors.New("the connection broke off")
	errNotHTTP    = errors.New("the answer is not HTTP")
	errBigHeaders = errors.New("the answer's headers are longer than " + strconv.Itoa(maxHeaders>>10) + " KiB")
)

// inWords says why a look failed: what the look was doing is told where it took
// too long. Addresses are left out: they may be the node's own.
func inWords(err error, doing string, limit time.Duration) string {
	if err == nil {
		return ""
	}
	if timedOut(err) {
		if errors.Is(err, errNoDNS) {
			doing = waitingForDNS
		}
		return "timed out after " + strconv.FormatFloat(limit.Seconds(), 'g', 4, 64) + " s " + doing
	}
	if words := certificateWords(err); words != "" {
		return words
	}
	for _, known := range []struct {
		err   error
		words string
	}{
		{syscall.ECONNREFUSED, "connection refused"},
		{syscall.ECONNRESET, "connection reset"},
		{syscall.EPIPE, "connection reset"},
		{syscall.EHOSTUNREACH, "no route to the host"},
		{syscall.ENETUNREACH, "the network is unreachable"},
		{syscall.EACCES, "not permitted"},
		{syscall.EPERM, "not permitted"}, // a firewall's
		{io.ErrUnexpectedEOF, errBrokeOff.Error()},
		{io.EOF, errNoAnswer.Error()},
	} {
		if errors.Is(err, known.err) {
			return known.words
		}
	}
	return innermost(err)
}

func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &network) && network.Timeout()
}

func certificateWords(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the server does not speak TLS"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate is from an unknown authority"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the certificate is for another name"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return "the certificate is not valid at this time"
		}
		return "the certificate is not valid"
	}
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return "TLS failed: " + strings.TrimPrefix(alert.Error(), "tls: ")
	}
	return ""
}

// innermost is the cause of an error, without what was wrapped around it.
func innermost(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	words := err.Error()
	if len(words) > maxWords {
		words = strings.ToValidUTF8(words[:maxWords], "") + "…"
	}
	return words
}
