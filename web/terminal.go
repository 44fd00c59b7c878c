package web

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"drydock/labs"
	"drydock/sandbox"
	"drydock/store"

	"github.com/coder/websocket"
	"github.com/go-chi/chi/v5"
)

const (
	// maxPaste is the longest input taken at once: some thousand lines. What
	// is longer belongs into a file, and would hold up the terminal's other traffic.
	maxPaste = 256 << 10
	// maxTerminalMessage ends a connection: no page of ours sends that much.
	maxTerminalMessage = 1 << 20
	// terminalPing is how often a silent connection is asked whether it lives,
	// within the minute after which proxies close one; terminalPatience how
	// long an answer, and a message to a slow browser, may take.
	terminalPing     = 20 * time.Second
	terminalPatience = 30 * time.Second
)

// frameType is the first byte of a message of the terminal's WebSocket. All
// messages are binary, integers big-endian. terminal.ts has the other side.
type frameType byte

const (
	frameOutput frameType = 0 // to the browser: uint64 offset, then bytes printed
	frameState  frameType = 1 // to the browser: uint64 offset, then JSON {state, text}
	frameSize   frameType = 2 // to the browser: uint16 columns, uint16 rows
	frameNotice frameType = 3 // to the browser: JSON {code, text}; what was typed could not be

	frameInput  frameType = 16 // from the browser: bytes typed
	frameResize frameType = 17 // from the browser: uint16 columns, uint16 rows
	frameAck    frameType = 18 // from the browser: uint64, all output before that offset is on the screen
)

// Reasons for closing a terminal's connection, besides the usual ones.
const (
	// closeNotNow: there is no terminal at this moment; a start or reset is under way. Try again.
	closeNotNow websocket.StatusCode = 4001
	// closeOver: the tab was closed, or the session ended. Do not come back.
	closeOver websocket.StatusCode = 4002
	// closeTooMany: the session has as many terminals as it may.
	closeTooMany websocket.StatusCode = 4003
)

// sessionFor finds a session that the user may see. learner tells whether it
// is the user's own; instructors see everyone's.
func (s *server) sessionFor(r *http.Request, user store.User) (session *labs.Session, learner bool, err error) {
	session, ok := s.Sessions.Get(chi.URLParam(r, "id"))
	if !ok || (session.User() != user.ID && user.Role != store.RoleInstructor) {
		return nil, false, notFound("session")
	}
	return session, session.User() == user.ID, nil
}

// terminal connects a browser's tab to a terminal of a session.
func (s *server) terminal(w http.ResponseWriter, r *http.Request, user store.User) error {
	session, learner, err := s.sessionFor(r, user)
	if err != nil {
		return err
	}
	conn := s.acceptTerminal(w, r, session.ID())
	if conn == nil {
		return nil
	}
	defer conn.CloseNow()
	hub := session.Terminal()
	if hub == nil {
		conn.Close(closeNotNow, "The sandbox is not ready.")
		return nil
	}
	q := r.URL.Query()
	if learner {
		defer session.Join()()
		if !slices.Contains(hub.Tabs(), q.Get("tab")) {
			session.Touch() // a new shell can't begin in a session that sleeps
		}
	}
	viewer, err := hub.Attach(r.Context(), q.Get("tab"), sizeOf(q), s.seen(session, q), learner)
	if err != nil {
		conn.Close(closeCode(err))
		return nil
	}
	defer viewer.Detach()
	t := &terminalConn{conn: conn, viewer: viewer}
	if err := t.run(r.Context()); errors.Is(err, io.EOF) {
		conn.Close(closedBecause(session, hub))
	} else if err != nil {
		s.Log.Debug("a terminal's connection ended", "session", session.ID(), "tab", q.Get("tab"), "err", err)
	}
	return nil
}

// acceptTerminal opens the WebSocket of a terminal; nil when it was refused, which has been answered.
func (s *server) acceptTerminal(w http.ResponseWriter, r *http.Request, session string) *websocket.Conn {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		OriginPatterns:  s.originPatterns(r),
		CompressionMode: websocket.CompressionDisabled, // the most of it is local, and small messages grow
	})
	if err != nil {
		s.Log.Info("a terminal's connection was refused", "session", session, "err", err)
		return nil
	}
	conn.SetReadLimit(maxTerminalMessage)
	return conn
}

// originPatterns are hosts whose pages may connect, besides the one that was asked.
func (s *server) originPatterns(r *http.Request) []string {
	base, err := url.Parse(s.BaseURL(r))
	if err != nil || base.Host == "" {
		return nil
	}
	return []string{base.Host}
}

// seen is the offset that the browser has output up to. Each reset begins
// recordings, and offsets, anew.
func (s *server) seen(session *labs.Session, q url.Values) int64 {
	p := session.Snapshot()
	if q.Get("run") != strconv.Itoa(p.Resets) {
		return 0
	}
	from, err := strconv.ParseInt(q.Get("from"), 10, 64)
	if err != nil || from < 0 {
		return 0
	}
	return from
}

// sizeOf is the size of the browser's terminal; what is missing or nonsense the hub puts right.
func sizeOf(q url.Values) sandbox.Size {
	cols, _ := strconv.ParseUint(q.Get("cols"), 10, 16)
	rows, _ := strconv.ParseUint(q.Get("rows"), 10, 16)
	if cols == 0 || rows == 0 {
		cols, rows = 80, 24
	}
	return sandbox.Size{Cols: uint16(cols), Rows: uint16(rows)}
}

// closedBecause says why a terminal was closed: for good, or because the
// sandbox is being replaced or the server restarts.
func closedBecause(session *labs.Session, hub *labs.TerminalHub) (websocket.StatusCode, string) {
	if session.Terminal() == hub || session.Snapshot().Phase.Over() {
		return closeOver, "The terminal is closed."
	}
	return closeNotNow, "The sandbox is not ready."
}

// closeCode says why an attachment failed.
func closeCode(err error) (websocket.StatusCode, string) {
	switch {
	case errors.Is(err, labs.ErrTooManyTabs):
		return closeTooMany, "No more terminals can be open at once."
	case errors.Is(err, labs.ErrTerminalsClosed):
		return closeNotNow, "The sandbox is not ready."
	case errors.Is(err, labs.ErrNoShell), errors.Is(err, labs.ErrBadTab):
		return closeOver, "There is no such terminal."
	default:
		return websocket.StatusInternalError, "The terminal can’t be opened."
	}
}

// terminalConn is one browser's connection to one terminal.
type terminalConn struct {
	conn   *websocket.Conn
	viewer *labs.Viewer
}

// run passes messages both ways until the browser leaves, or, with io.EOF, until the terminal is closed.
func (t *terminalConn) run(ctx context.Context) error {
	// Ending the context of a read breaks the connection: only what is to be
	// written may be called off by the reader.
	reading := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		t.ping(ctx)
	}()
	received := make(chan error, 1)
	go func() {
		defer cancel()
		received <- t.receive(reading)
	}()
	err := t.send(ctx)
	if errors.Is(err, io.EOF) {
		return err // the connection is still there, to be told why
	}
	cancel()
	t.conn.CloseNow()
	if receiving := <-received; receiving != nil {
		return receiving
	}
	return err
}

func (t *terminalConn) ping(ctx context.Context) {
	tick := time.NewTicker(terminalPing)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		ask, cancel := context.WithTimeout(ctx, terminalPatience)
		err := t.conn.Ping(ask)
		cancel()
		if err != nil {
			return
		}
	}
}

// send passes on what the viewer is told.
func (t *terminalConn) send(ctx context.Context) error {
	for {
		m, err := t.viewer.Next(ctx)
		if err != nil {
			return err
		}
		frame, err := encodeFrame(m)
		if err != nil {
			return err
		}
		if err := t.write(ctx, frame); err != nil {
			return err
		}
	}
}

func (t *terminalConn) write(ctx context.Context, frame []byte) error {
	ctx, cancel := context.WithTimeout(ctx, terminalPatience)
	defer cancel()
	return t.conn.Write(ctx, websocket.MessageBinary, frame)
}

// terminalWords is the JSON of states and notices.
type terminalWords struct {
	State labs.TerminalState `json:"state,omitempty"`
	Code  string             `json:"code,omitempty"`
	Text  string             `json:"text"`
}

func encodeFrame(m labs.TerminalMessage) ([]byte, error) {
	switch m.Kind {
	case labs.MessageOutput:
		frame := make([]byte, 0, 9+len(m.Data))
		frame = binary.BigEndian.AppendUint64(append(frame, byte(frameOutput)), uint64(m.Offset))
		return append(frame, m.Data...), nil
	case labs.MessageSize:
		frame := binary.BigEndian.AppendUint16([]byte{byte(frameSize)}, m.Size.Cols)
		return binary.BigEndian.AppendUint16(frame, m.Size.Rows), nil
	case labs.MessageState:
		words, err := json.Marshal(terminalWords{State: m.State, Text: m.Text})
		frame := binary.BigEndian.AppendUint64([]byte{byte(frameState)}, uint64(m.Offset))
		return append(frame, words...), err
	default:
		return nil, fmt.Errorf("no frame for terminal message %d", m.Kind)
	}
}

// receive takes what the browser sends.
func (t *terminalConn) receive(ctx context.Context) error {
	for {
		kind, p, err := t.conn.Read(ctx)
		if err != nil {
			return err // a message that is too large has been answered by closing
		}
		if kind != websocket.MessageBinary || len(p) == 0 {
			return t.conn.Close(websocket.StatusUnsupportedData, "Messages are binary and not empty.")
		}
		if err := t.handle(ctx, frameType(p[0]), p[1:]); err != nil {
			return err
		}
	}
}

func (t *terminalConn) handle(ctx context.Context, kind frameType, p []byte) error {
	switch {
	case kind == frameInput:
		return t.input(ctx, p)
	case kind == frameResize && len(p) == 4:
		size := sandbox.Size{Cols: binary.BigEndian.Uint16(p), Rows: binary.BigEndian.Uint16(p[2:])}
		if err := t.viewer.Resize(size); err != nil && !errors.Is(err, labs.ErrWatchOnly) {
			return err
		}
		return nil
	case kind == frameAck && len(p) == 8:
		t.viewer.Ack(int64(binary.BigEndian.Uint64(p)))
		return nil
	default:
		return t.conn.Close(websocket.StatusProtocolError, fmt.Sprintf("There is no message of type %d and %d bytes.", kind, len(p)))
	}
}

// input types; where that is not possible the browser is told why.
func (t *terminalConn) input(ctx context.Context, p []byte) error {
	if len(p) > maxPaste {
		return t.notice(ctx, "too-large", fmt.Sprintf("That is too long to be pasted: %d KiB, where %d KiB are taken. "+
			"Put it into a file in pieces, or paste less.", (len(p)+1023)>>10, maxPaste>>10))
	}
	err := t.viewer.Input(p)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, labs.ErrWatchOnly):
		return t.notice(ctx, "watching", "You are watching: only the learner can type here.")
	case errors.Is(err, labs.ErrInputFull):
		return t.notice(ctx, "full", "The program in the terminal does not read. What you typed or pasted last was not passed on.")
	case errors.Is(err, labs.ErrNoShell):
		return t.notice(ctx, "no-shell", "The terminal is not connected now. What you typed was not passed on.")
	default:
		return err
	}
}

func (t *terminalConn) notice(ctx context.Context, code, words string) error {
	text, err := json.Marshal(terminalWords{Code: code, Text: words})
	if err != nil {
		return fmt.Errorf("encode a notice: %w", err)
	}
	return t.write(ctx, append([]byte{byte(frameNotice)}, text...))
}

// closeTab ends a terminal's shell.
func (s *server) closeTab(w http.ResponseWriter, r *http.Request, user store.User) error {
	session, learner, err := s.sessionFor(r, user)
	if err != nil {
		return err
	}
	if !learner {
		return notFound("session")
	}
	session.Touch() // nobody can end a shell of a session that sleeps
	if hub := session.Terminal(); hub != nil {
		if err := hub.Close(chi.URLParam(r, "tab")); err != nil {
			return err
		}
	}
	return s.carriedOut(w, r, session.ID(), "")
}
