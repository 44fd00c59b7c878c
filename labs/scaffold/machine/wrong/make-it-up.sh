# caught-by: shows
# The board shows something again. It is not what the crew wrote.
set -euo pipefail
rm /srv/board/public/notes.txt
echo "Nothing to do today." >/srv/board/public/notes.txt
