package prove

import (
	"strings"
	"testing"

	"drydock/content"
)

func TestSame(t *testing.T) {
	for _, c := range []struct {
		name, want, got string
		shape, ok       bool
		difference      string
	}{
		{"the same", "a b\nc\n", "a b  \r\nc\n\n", false, true, ""},
		{"another line", "a\nb\n", "a\nc\n", false, false, "it prints “c” instead of “b”"},
		{"too short", "a\nb\n", "a\n", false, false, "it ends before “b”"},
		{"too long", "a\n", "a\nb\n", false, false, "it goes on with “b”"},
		{"nothing", "a\n", "", false, false, "it ends before “a”"},
		{"a gap in a line", "pid … of …\n", "pid 17 of 20\n", false, true, ""},
		{"a gap, and not its end", "pid … is up\n", "pid 17 is down\n", false, false, "instead of"},
		{"gaps in their order", "a…b…c", "a1c2b", false, false, "instead of"},
		{"a gap of lines", "a\n…\nz\n", "a\nb\nc\nz\n", false, true, ""},
		{"an empty gap of lines", "a\n…\nz\n", "a\nz\n", false, true, ""},
		{"a gap at the end", "a\n…\n", "a\nb\n", false, true, ""},
		{"a gap that nothing follows", "a\n…\nz\n", "a\nb\n", false, false, "after the gap it nowhere goes on with “z”"},
		{"two gaps", "…\nb\n…\n", "a\nb\nc\n", false, true, ""},
		{"numbers", "took 3.5 ms at 10:02:17\n", "took 12 ms at 9:40:01\n", true, true, ""},
		{"numbers, exactly", "took 3\n", "took 4\n", false, false, "instead of"},
		{"words", "took 3 ms\n", "cost 3 ms\n", true, false, "it prints “cost # ms” instead of “took # ms”"},
		{"a pod", "web-5d9c7b8f6-x2x9k   1/1   Running   0   3m20s\n", "web-7f44c6d65d-bbq7z 1/1 Running   0  14s\n", true, true, ""},
		{"a pod that is not well", "web-5d9c7b8f6-x2x9k 1/1 Running\n", "web-7f44c6d65d-bbq7z 1/1 Pending\n", true, false, "Pending"},
		{"a digest", "sha256:0badcafe1234\n", "sha256:9f8e7d6c5b4a\n", true, true, ""},
		{"a date", "Nov 22 17:40\n", "Dec  1 08:15\n", true, true, ""},
		{"shape with a gap", "a 1\n…\nz 2\n", "a 9\nb\nz 8\n", true, true, ""},
	} {
		ok, difference := same(&content.Output{Text: c.want, Shape: c.shape}, c.got)
		if ok != c.ok || !strings.Contains(difference, c.difference) {
			t.Errorf("%s: %v, %q, want %v, %q", c.name, ok, difference, c.ok, c.difference)
		}
	}
}
