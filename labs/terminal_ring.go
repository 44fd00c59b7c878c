package labs

import "bytes"

// outputRing keeps the latest output of a terminal for viewers, addressed by
// its absolute offset in the recording.
type outputRing struct {
	buf   []byte // grows up to limit, then wraps: the byte at offset o is buf[(o-first)%limit]
	first int64  // the offset of buf[0] when it was first written
	end   int64  // one past the latest byte
	limit int
}

// start is the offset of the oldest byte kept.
func (r *outputRing) start() int64 { return max(r.first, r.end-int64(r.limit)) }

func (r *outputRing) write(p []byte) {
	if skip := len(p) - r.limit; skip > 0 {
		r.skipTo(r.end + int64(skip))
		p = p[skip:]
	}
	if room := r.limit - len(r.buf); room > 0 {
		n := min(room, len(p))
		r.buf = append(r.buf, p[:n]...)
		r.end += int64(n)
		p = p[n:]
	}
	for len(p) > 0 {
		n := copy(r.buf[(r.end-r.first)%int64(r.limit):], p)
		r.end += int64(n)
		p = p[n:]
	}
}

// skipTo forgets everything and goes on at a later offset.
func (r *outputRing) skipTo(offset int64) {
	r.buf, r.first, r.end = r.buf[:0], offset, offset
}

// read copies up to limit bytes from offset, which must not be before start.
func (r *outputRing) read(offset int64, limit int) []byte {
	n := int(min(int64(limit), r.end-offset))
	out := make([]byte, 0, n)
	for len(out) < n {
		at := int((offset + int64(len(out)) - r.first) % int64(r.limit))
		out = append(out, r.buf[at:min(len(r.buf), at+n-len(out))]...)
	}
	return out
}

// startOfLine returns the first offset from wanted on where a line begins, so
// that a viewer does not start inside an escape sequence. With no line's
// beginning in sight it is wanted itself, or the oldest byte kept.
func (r *outputRing) startOfLine(wanted int64) int64 {
	wanted = max(wanted, r.start())
	if wanted == 0 {
		return 0
	}
	if i := bytes.IndexByte(r.read(wanted, chunkSize), '\n'); i >= 0 {
		return wanted + int64(i) + 1
	}
	return wanted
}
