package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"time"
)

const (
	// quiet is how long nothing has come when a server that was not told what to
	// say has said all, for now.
	quiet = 250 * time.Millisecond
	// tcpChunk is read at once, in bytes.
	tcpChunk = 4 << 10
)

// tcp opens a connection, and talks as far as it was told to.
func (v vantage) tcp(ctx context.Context, t TCP, r Request) (*TCPAnswer, error) {
	answer := &TCPAnswer{}
	begin := time.Now()
	doing, err := v.talk(ctx, t, r.Limit, answer)
	answer.Seconds = time.Since(begin).Seconds()
	if errors.Is(err, errPodGone) {
		return nil, err
	}
	answer.Error = inWords(err, doing, r.Timeout)
	return answer, nil
}

func (v vantage) talk(ctx context.Context, t TCP, limit int, answer *TCPAnswer) (doing string, err error) {
	const connecting, waiting = "while connecting", "waiting for the answer"
	host, port, err := net.SplitHostPort(t.Address)
	if err != nil {
		return "", err
	}
	conn, err := v.connect(ctx, host, port)
	if err != nil {
		return connecting, err
	}
	defer conn.Close()
	answer.Open = true
	if t.Send == "" && t.Expect == "" {
		return "", nil
	}
	defer endWith(ctx, conn)()
	if _, err := io.WriteString(conn, t.Send); err != nil {
		return waiting, err
	}
	answer.Received, err = listen(ctx, conn, []byte(t.Expect), limit)
	return waiting, err
}

// listen reads until it has heard enough; see [TCP].
func listen(ctx context.Context, conn net.Conn, expect []byte, limit int) ([]byte, error) {
	var heard []byte
	for len(heard) < limit {
		if len(heard) > 0 && len(expect) == 0 {
			if err := conn.SetReadDeadline(time.Now().Add(quiet)); err != nil {
				return heard, err
			}
		}
		chunk := make([]byte, min(tcpChunk, limit-len(heard)))
		n, err := conn.Read(chunk)
		heard = append(heard, chunk[:n]...)
		switch {
		case len(expect) > 0 && bytes.Contains(heard, expect), errors.Is(err, io.EOF):
			return heard, nil
		case err != nil && len(expect) == 0 && len(heard) > 0 && timedOut(err) && ctx.Err() == nil:
			return heard, nil
		case err != nil:
			return heard, err
		}
	}
	return heard, nil
}
