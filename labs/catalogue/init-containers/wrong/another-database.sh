# caught-by: one-database
# A new database is quick to make, and the shop starts with it at once. It has no orders in it.
set -euo pipefail
image=$(kubectl -n shop get deployment database -o jsonpath='{.spec.template.spec.containers[0].image}')
kubectl -n shop create deployment db2 --image="$image" -- workload db
kubectl -n shop expose deployment db2 --port=5432
kubectl -n shop get configmap shop -o json | jq '.data["shop.env"] |= sub("DB_HOST=.*"; "DB_HOST=db2")' |
  kubectl -n shop replace -f -
kubectl -n shop rollout restart deployment web
