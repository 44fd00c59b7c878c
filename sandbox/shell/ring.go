package shell

// ring keeps the last bytes of an endless stream, addressed by their absolute
// offset in it. It grows with the stream up to its limit, so that a quiet tab
// costs little.
type ring struct {
	buf   []byte // the byte at absolute offset o is buf[(o-base)%len(buf)]
	limit int
	base  int64 // absolute offset of the first byte ever written
	end   int64 // absolute offset one past the last byte written
}

// firstSize is enough for a prompt and a few commands.
const firstSize = 16 << 10

func newRing(limit int, base int64) *ring {
	return &ring{buf: make([]byte, min(firstSize, limit)), limit: limit, base: base, end: base}
}

// start is the absolute offset of the oldest byte kept.
func (r *ring) start() int64 { return max(r.base, r.end-int64(len(r.buf))) }

// at is the place in buf of an absolute offset.
func (r *ring) at(offset int64) int64 { return (offset - r.base) % int64(len(r.buf)) }

func (r *ring) write(p []byte) {
	r.grow(len(p))
	if drop := len(p) - len(r.buf); drop > 0 {
		r.end += int64(drop)
		p = p[drop:]
	}
	for len(p) > 0 {
		n := copy(r.buf[r.at(r.end):], p)
		r.end += int64(n)
		p = p[n:]
	}
}

// grow makes room for n more bytes as long as nothing had to be dropped yet.
func (r *ring) grow(n int) {
	need := r.end - r.base + int64(n)
	size := int64(len(r.buf))
	if size == int64(r.limit) || need <= size {
		return
	}
	for size < need && size < int64(r.limit) {
		size *= 2
	}
	// Nothing has wrapped yet: growing happens before the first byte is dropped.
	kept := r.buf[:r.end-r.base]
	r.buf = make([]byte, min(size, int64(r.limit)))
	copy(r.buf, kept)
}

// read copies what is kept from the absolute offset on, which must lie
// between start and end, and returns how much that was.
func (r *ring) read(p []byte, from int64) int {
	total := 0
	for total < len(p) && from < r.end {
		at := r.at(from)
		stop := min(int64(len(r.buf)), at+r.end-from)
		n := copy(p[total:], r.buf[at:stop])
		total += n
		from += int64(n)
	}
	return total
}
