# caught-by: sells
# The space is free at once. So is the counter.
set -euo pipefail
pkill -9 -f /opt/shop/shopd
