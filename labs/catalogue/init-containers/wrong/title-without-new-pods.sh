# caught-by: page-says-open
# The settings say that the shop is open. The pods have copied them before.
set -euo pipefail
kubectl -n shop patch service database --type merge \
  -p '{"spec":{"selector":{"app":"database","tier":"data"},"ports":[{"name":"db","port":5432,"targetPort":5432}]}}'
kubectl -n shop get configmap shop -o json | jq '.data["shop.env"] |= sub("DB_HOST=.*"; "DB_HOST=database")' |
  kubectl -n shop replace -f -
kubectl -n shop rollout restart deployment web
kubectl -n shop rollout status deployment web --timeout=90s
kubectl -n shop get configmap shop -o json | jq '.data["shop.env"] |= sub("TITLE=.*"; "TITLE=\"The shop is open\"")' |
  kubectl -n shop replace -f -
