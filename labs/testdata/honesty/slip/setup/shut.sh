set -eu
# canary-setup
test -n "$VAR_pilot"
mkdir -p /srv/lock/www
echo shut | tee /srv/lock/state >/srv/lock/www/index.html
echo '127.0.0.1 slip' >>/etc/hosts
(cd /srv/lock/www && exec setsid python3 -m http.server --bind 127.0.0.1 8080 </dev/null >/dev/null 2>&1) &
# A service of the learner's own, whose environment the learner can read, and one that this shell itself becomes.
setsid env VISIBLE=visible-environment setpriv --reuid=learner --regid=learner --clear-groups -- \
	tail -f /dev/null /visible-keeper </dev/null >/dev/null 2>&1 &
(while :; do sleep 3600; done) </dev/null >/dev/null 2>&1 &
