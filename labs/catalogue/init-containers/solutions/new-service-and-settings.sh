# Leaves what is there alone: a second Service that is right, settings under a new name that use it,
# and the Deployment pointed at them. The change of the template rolls the pods.
set -euo pipefail

kubectl -n shop expose deployment database --name=orders --port=5432 --target-port=5432

cat >/tmp/shop.env <<'END'
TITLE="The shop is open"
DB_HOST=orders
DB_PORT=5432
END
kubectl -n shop create configmap shop-2 --from-file=shop.env=/tmp/shop.env

kubectl -n shop patch deployment web --type strategic \
  -p '{"spec":{"template":{"spec":{"volumes":[{"name":"source","configMap":{"name":"shop-2"}}]}}}}'
kubectl -n shop rollout status deployment web --timeout=90s
