import os, pty, select

master, slave = pty.openpty()          # the two ends of a new pseudo-terminal


def seen_by(fd, wait=0.2):
    """Return what can be read from fd within `wait` seconds, or None."""
    ready, _, _ = select.select([fd], [], [], wait)
    return os.read(fd, 4096) if ready else None


for keys in (b"lx", b"\x7fs", b"\r"):
    os.write(master, keys)             # what a terminal does when keys are pressed
    print(f"keys {keys!r:10} screen {seen_by(master)!r:18} program {seen_by(slave)!r}")
