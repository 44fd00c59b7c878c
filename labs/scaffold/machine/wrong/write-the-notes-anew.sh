# caught-by: notes-kept
# From memory. The board shows what was asked for; the rest of the notes is gone.
set -euo pipefail
rm -f /srv/board/archive/monday.txt
echo "Monday: paint the boat" >/srv/board/archive/monday.txt
ln -sfn ../archive/monday.txt /srv/board/public/notes.txt
