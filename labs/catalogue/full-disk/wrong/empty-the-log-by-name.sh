# caught-by: room
# The name leads to a new file. The old one has none any more.
set -euo pipefail
rm -f /srv/shop/log/printer.log
: >/srv/shop/log/printer.log
sync
