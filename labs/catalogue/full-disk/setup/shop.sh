# Makes the shop, its programs and its disk, and leaves the fault behind. /etc/rc.local does it
# again when the machine is started again: processes and what is in memory are gone then.
set -euo pipefail

cat >/etc/shop.conf <<'END'
# Where the till writes its orders. "shop restart till" makes it read this again.
orders=/srv/shop/orders
END
chown learner: /etc/shop.conf

mkdir -p /opt/shop
cat >/opt/shop/shopd <<'END'
#!/usr/bin/python3 -u
"""The shop's programs: till, printer, prices and backup."""
import http.server, mmap, os, signal, socketserver, sys, time

DISK = "/srv/shop"
SERVICES = ["till", "printer", "prices"]


def setting(name):
    for line in open("/etc/shop.conf"):
        key, _, value = line.strip().partition("=")
        if key == name:
            return value
    raise SystemExit("shop.conf has no " + name)


def alive(name):
    try:
        pid = int(open("/run/shop/" + name).read())
        state = open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[0]
        words = open("/proc/%d/cmdline" % pid).read().split("\0")
        return state not in "TZ" and "/opt/shop/shopd" in words and name in words
    except (OSError, ValueError):
        return False


class Till(http.server.BaseHTTPRequestHandler):
    orders = ""

    def trouble(self):
        """What keeps the shop from selling: it writes an order and takes it back."""
        probe = os.path.join(self.orders, ".probe")
        try:
            with open(probe, "wb") as f:
                f.write(b"x" * 65536)
        except OSError as err:
            return "an order can't be written: %s" % os.strerror(err.errno)
        finally:
            try:
                os.remove(probe)
            except OSError:
                pass
        for name in SERVICES:
            if not alive(name):
                return "%s does not run; orders are neither priced nor printed without it" % name
        return ""

    def do_GET(self):
        trouble = self.trouble()
        body = ((trouble or "The shop is open.") + "\n").encode()
        self.send_response(507 if trouble else 200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def till():
    Till.orders = setting("orders")
    os.makedirs(Till.orders, exist_ok=True)
    Server(("127.0.0.1", 8080), Till).serve_forever()


def printer():
    """Prints receipts, and keeps a log. HUP makes it open the log anew."""
    path = DISK + "/log/printer.log"
    log = open(path, "ab", buffering=0)

    def reopen(*_):
        nonlocal log
        log.close()
        log = open(path, "ab", buffering=0)

    signal.signal(signal.SIGHUP, reopen)
    while True:
        try:
            log.write(b"%d paper ok, ink ok\n" % time.time())
        except OSError:
            pass  # it prints all the same
        time.sleep(5)


def prices():
    """Keeps the price list in its memory. HUP makes it read the list anew."""
    path = DISK + "/prices.bin"

    def read():
        with open(path, "rb") as f:
            return mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)

    known = read()

    def reread(*_):
        nonlocal known
        known.close()
        known = read()

    signal.signal(signal.SIGHUP, reread)
    while True:
        signal.pause()


def backup(mib):
    """Packs the orders into a file that nobody else is to see, sends it away, and goes."""
    path = DISK + "/.backup"
    with open(path, "wb") as f:
        os.remove(path)
        f.write(b"\0" * (mib << 20))
        f.flush()
        os.kill(os.getpid(), signal.SIGSTOP)  # as Ctrl-Z does


if __name__ == "__main__":
    {"till": till, "printer": printer, "prices": prices, "backup": lambda: backup(int(sys.argv[2]))}[sys.argv[1]]()
END

cat >/usr/local/bin/shop <<'END'
#!/bin/bash
# Starts and stops the shop's services: till, printer and prices.
usage() { echo "usage: shop status | start NAME | stop NAME | restart NAME     (till, printer, prices)" >&2; exit 2; }
pid() { cat "/run/shop/$1" 2>/dev/null; }
runs() { [ -n "$(pid "$1")" ] && grep -qzx -- "$1" "/proc/$(pid "$1")/cmdline" 2>/dev/null; }
start() {
	runs "$1" && { echo "$1 runs already"; return; }
	# From the root, so that it keeps no directory in use.
	(cd / && exec setsid /opt/shop/shopd "$1" </dev/null >/dev/null 2>&1) &
	echo $! >"/run/shop/$1"
}
stop() {
	runs "$1" || { echo "$1 does not run"; return; }
	kill "$(pid "$1")"
	for _ in {1..50}; do runs "$1" || return 0; sleep 0.1; done
	kill -9 "$(pid "$1")"
}
case ${1-}:${2-} in
status:) for s in till printer prices; do if runs $s; then echo "$s runs (process $(pid $s))"; else echo "$s does not run"; fi; done ;;
start:till | start:printer | start:prices) start "$2" ;;
stop:till | stop:printer | stop:prices) stop "$2" ;;
restart:till | restart:printer | restart:prices) stop "$2"; start "$2" ;;
*) usage ;;
esac
END
chmod 755 /opt/shop/shopd /usr/local/bin/shop

cat >/etc/rc.local <<END
#!/bin/bash
set -euo pipefail
holder=$VAR_holder mib=$VAR_mib
END
cat >>/etc/rc.local <<'END'
learner() { (cd / && exec setsid setpriv --reuid=learner --regid=learner --clear-groups --no-new-privs -- "$@" </dev/null >/dev/null 2>&1) }
until_true() { for _ in {1..200}; do "$@" && return; sleep 0.05; done; echo "in vain: $*" >&2; exit 1; }

mkdir -p /run/shop /srv/shop
mount -t tmpfs -o size=24m,mode=755,noexec shop /srv/shop
mkdir /srv/shop/{orders,log,archive}
for n in {1001..1040}; do
	printf '{"order": %d, "item": "rope, %d fathoms", "paid": true}\n' "$n" $((n % 37 + 1)) >"/srv/shop/orders/$n.json"
done
head -c 3M /dev/zero | tr '\0' '#' >/srv/shop/archive/2025.tar
head -c 4096 /dev/zero >/srv/shop/prices.bin
: >/srv/shop/log/printer.log
case $holder in
printer) head -c "${mib}M" <(yes 'paper low') >/srv/shop/log/printer.log ;;
prices) head -c "${mib}M" /dev/zero >/srv/shop/prices.bin ;;
esac
chown -R learner: /run/shop /srv/shop

for service in till printer prices; do learner shop start "$service"; done
mapped() { grep -q prices.bin "/proc/$(cat /run/shop/prices)/maps"; }
logs() { readlink /proc/"$(cat /run/shop/printer)"/fd/* | grep -q printer.log; }
answers() { curl -s -o /dev/null http://127.0.0.1:8080/; }
until_true mapped
until_true logs
until_true answers
case $holder in
printer) rm /srv/shop/log/printer.log ;;
prices)
	head -c 4096 /dev/zero >/srv/shop/.prices.new
	chown learner: /srv/shop/.prices.new
	mv /srv/shop/.prices.new /srv/shop/prices.bin
	;;
backup)
	learner /opt/shop/shopd backup "$mib" &
	stopped() { pid=$(pgrep -xf '/usr/bin/python3 -u /opt/shop/shopd backup [0-9]*') && grep -q '^State:.T' "/proc/$pid/status"; }
	until_true stopped
	;;
esac
# What was written last took the rest.
cat /dev/zero >/srv/shop/archive/last-week.tar 2>/dev/null || true
chown learner: /srv/shop/archive/last-week.tar
END
chmod 700 /etc/rc.local
/etc/rc.local
