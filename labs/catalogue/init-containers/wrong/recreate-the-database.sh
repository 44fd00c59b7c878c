# caught-by: same-database
# The database is the one that can't be reached, so it is made anew, as it was. Its orders were in it.
set -euo pipefail
kubectl -n shop get deployment database -o json | jq 'del(.metadata.uid, .metadata.resourceVersion, .status)' >/tmp/database.json
kubectl -n shop delete deployment database
kubectl -n shop create -f /tmp/database.json
kubectl -n shop rollout status deployment database --timeout=60s
