# Ends every process that the learner may end: politely, then not. What has a supervisor comes
# back. A learner has no way to restart the machine itself.
others() { # all but this one and those that it runs in
  local pid=$BASHPID mine=" "
  while [ "${pid:-0}" -gt 1 ]; do
    mine+="$pid "
    pid=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 2)
  done
  for pid in $(pgrep -u "$(id -u)"); do
    case $mine in *" $pid "*) ;; *) kill -0 "$pid" 2>/dev/null && echo "$pid" ;; esac
  done
}
for signal in TERM CONT; do # one that is stopped takes a signal only when it goes on
  for pid in $(others); do kill -s "$signal" "$pid" 2>/dev/null; done
done
for _ in $(seq 20); do
  [ -z "$(others)" ] && exit 0
  sleep 0.1
done
for pid in $(others); do kill -s KILL "$pid" 2>/dev/null; done
exit 0
