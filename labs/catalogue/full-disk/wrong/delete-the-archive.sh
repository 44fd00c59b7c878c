# caught-by: room
# What du shows as big is not what fills the disk: a quarter becomes free, until the next night.
set -euo pipefail
rm /srv/shop/archive/*.tar
