# caught-by: init-containers-kept
# "Init:1/3? Then let it be Init:0/0." The shop starts, as long as the database happens to be there.
set -euo pipefail
kubectl -n shop patch deployment web --type json -p '[{"op":"remove","path":"/spec/template/spec/initContainers/1"}]'
