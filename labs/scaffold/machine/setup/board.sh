# Runs as the machine's root, in bash; each var of the variant is there as $VAR_ and its name.
set -euo pipefail

mkdir -p /srv/board/{public,archive}
printf 'Monday: paint the boat\nTuesday: mend the nets\n' >/srv/board/archive/monday.txt
ln -s ../archive/monday.txt /srv/board/public/notes.txt
case $VAR_fault in
link) ln -sfn ../archive/mondays.txt /srv/board/public/notes.txt ;;
mode) chmod 000 /srv/board/archive/monday.txt ;;
esac
# What the learner is to mend has to be theirs: there is no way to root.
chown -R --no-dereference learner: /srv/board

# Files outlive a restart of the machine, processes do not: what has to run again belongs into rc.local.
cat >/etc/rc.local <<'RC'
#!/bin/bash
cd /
setsid setpriv --reuid=learner --regid=learner --clear-groups --no-new-privs -- \
  python3 -m http.server 8080 --bind 127.0.0.1 --directory /srv/board/public </dev/null >/dev/null 2>&1 &
RC
chmod 755 /etc/rc.local
/etc/rc.local
