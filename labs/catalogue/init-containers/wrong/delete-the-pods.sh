# caught-by: web-ready
# New pods, same settings, same Service: they wait just as long.
set -euo pipefail
kubectl -n shop delete pods -l app=web
kubectl -n shop wait --for=jsonpath='{.status.initContainerStatuses[1].state.running}' pods -l app=web --timeout=60s
