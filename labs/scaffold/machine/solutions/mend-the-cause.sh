# answer diagnose: ${vars.cause}
# A solution runs as the learner, in every variant. The line above gives an answer to a question.
set -euo pipefail
chmod u+r /srv/board/archive/monday.txt
ln -sfn ../archive/monday.txt /srv/board/public/notes.txt
