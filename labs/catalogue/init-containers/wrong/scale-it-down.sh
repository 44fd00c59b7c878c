# caught-by: web-ready
# A Deployment that wants no pods is "available" at once.
set -euo pipefail
kubectl -n shop scale deployment web --replicas=0
kubectl -n shop rollout status deployment web --timeout=60s
