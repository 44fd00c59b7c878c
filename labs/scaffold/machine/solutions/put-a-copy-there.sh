# Without the link: the board gets a file of its own. Two solutions that are really different keep the checks from
# asking for one way of doing it.
set -euo pipefail
[ -r /srv/board/archive/monday.txt ] || chmod u+r /srv/board/archive/monday.txt
rm /srv/board/public/notes.txt
cp /srv/board/archive/monday.txt /srv/board/public/notes.txt
