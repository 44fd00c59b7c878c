# caught-by: init-containers-kept
# The init container is still there, by name.
set -euo pipefail
kubectl -n shop patch deployment web --type strategic \
  -p '{"spec":{"template":{"spec":{"initContainers":[{"name":"wait-for-database","command":["true"]}]}}}}'
