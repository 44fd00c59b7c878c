# caught-by: page-answers
# The cause is mended, and the shop's own Service is made anew while one is at it: the pods are ready, and the Service
# knocks at a port that they don't listen on.
set -euo pipefail
kubectl -n shop patch service database --type merge \
  -p '{"spec":{"selector":{"app":"database","tier":"data"},"ports":[{"name":"db","port":5432,"targetPort":5432}]}}'
kubectl -n shop get configmap shop -o json | jq '.data["shop.env"] |= sub("DB_HOST=.*"; "DB_HOST=database")' |
  kubectl -n shop replace -f -
kubectl -n shop rollout restart deployment web
kubectl -n shop rollout status deployment web --timeout=90s
kubectl -n shop delete service web
kubectl -n shop expose deployment web --port=80 --target-port=80
