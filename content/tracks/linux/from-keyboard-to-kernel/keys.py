import os, sys, termios, tty

fd = sys.stdin.fileno()
before = termios.tcgetattr(fd)
tty.setraw(fd)                         # no ICANON, no ECHO, no ISIG, no OPOST
try:
    while True:
        data = os.read(fd, 16)
        os.write(1, f"{data!r}\r\n".encode())
        if data in (b"q", b""):
            break
finally:
    termios.tcsetattr(fd, termios.TCSADRAIN, before)
