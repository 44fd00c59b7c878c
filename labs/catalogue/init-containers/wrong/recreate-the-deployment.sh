# caught-by: same-deployment
# "Turn it off and on again", with the fix on the way.
set -euo pipefail
kubectl -n shop get deployment web -o json | jq 'del(.metadata.uid, .metadata.resourceVersion, .status)' >/tmp/web.json
kubectl -n shop delete deployment web
kubectl -n shop create -f /tmp/web.json
