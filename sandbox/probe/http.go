package probe

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"time"
)

// agent is what a learner's own curl calls itself, so that a server cannot tell
// a probe from it.
const agent = "curl/8.14.1"

// http sends a request on a connection of its own.
func (v vantage) http(ctx context.Context, h HTTP, r Request) (*HTTPAnswer, error) {
	answer := &HTTPAnswer{}
	begin := time.Now()
	doing, err := v.send(ctx, h, r, answer)
	answer.Seconds = time.Since(begin).Seconds()
	if errors.Is(err, errPodGone) {
		return nil, err
	}
	answer.Error = inWords(err, doing, r.Timeout)
	return answer, nil
}

// send fills in the answer as far as it comes. doing says what an error has interrupted.
func (v vantage) send(ctx context.Context, h HTTP, r Request, answer *HTTPAnswer) (doing string, err error) {
	const connecting, waiting, reading = "while connecting", "waiting for the answer", "reading the answer"
	request, err := h.request()
	if err != nil {
		return "", err
	}
	port := cmp.Or(request.URL.Port(), map[string]string{"http": "80", "https": "443"}[request.URL.Scheme])
	conn, err := v.connect(ctx, request.URL.Hostname(), port)
	if err != nil {
		return connecting, err
	}
	defer conn.Close()
	defer endWith(ctx, conn)()
	if request.URL.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{ServerName: request.URL.Hostname(), NextProtos: []string{"http/1.1"}})
		if err := secure.HandshakeContext(ctx); err != nil {
			return connecting, err
		}
		conn = secure
	}
	response, err := roundTrip(conn, request)
	if err != nil {
		return waiting, err
	}
	answer.Code, answer.Headers = response.StatusCode, headersOf(response)
	// Not to its end: the connection is not used again, and the end may be far.
	answer.Body, err = io.ReadAll(io.LimitReader(response.Body, int64(r.Limit)))
	return reading, err
}

// request makes the request with the headers that curl sends.
func (h HTTP) request() (*http.Request, error) {
	request, err := http.NewRequest(cmp.Or(h.Method, http.MethodGet), h.URL, strings.NewReader(h.Body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", agent)
	request.Header.Set("Accept", "*/*")
	if h.Body != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if user := request.URL.User; user != nil {
		password, _ := user.Password()
		request.SetBasicAuth(user.Username(), password)
	}
	for name, value := range h.Header {
		switch {
		case strings.EqualFold(name, "Host"):
			request.Host = value
		case value == "" && strings.EqualFold(name, "User-Agent"):
			request.Header["User-Agent"] = nil // else there would be Go's
		case value == "":
			request.Header.Del(name)
		default:
			request.Header.Set(name, value)
		}
	}
	return request, nil
}

// roundTrip sends a request and reads the head of its answer.
func roundTrip(conn net.Conn, request *http.Request) (*http.Response, error) {
	// A server may answer, and go, before it has read all.
	sent := request.Write(conn)
	bounded := &io.LimitedReader{R: conn, N: maxHeaders}
	reader := bufio.NewReader(bounded)
	for {
		response, err := http.ReadResponse(reader, request)
		switch {
		case err != nil && bounded.N == 0:
			return nil, errBigHeaders
		case err != nil && sent != nil && !timedOut(err):
			return nil, sent
		case err != nil:
			return nil, readError(err)
		case response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols:
			bounded.N = math.MaxInt64 // the reader of the body counts
			return response, nil
		} // else the answer is yet to come, as after 100 Continue
	}
}

// readError tells what is no HTTP from a connection that failed.
func readError(err error) error {
	var network net.Error
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errNoAnswer
	case errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return err
	}
	return errNotHTTP
}

// headersOf has the names in lower case, so that a condition need not know how a server writes them.
func headersOf(response *http.Response) map[string]string {
	headers := make(map[string]string, len(response.Header)+1)
	for name, values := range response.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if len(response.TransferEncoding) > 0 {
		headers["transfer-encoding"] = strings.Join(response.TransferEncoding, ", ")
	}
	return headers
}
