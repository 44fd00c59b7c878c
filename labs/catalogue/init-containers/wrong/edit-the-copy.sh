# caught-by: settings-say-open
# The database is reachable again, but the title is written into the pods' own copies of the
# settings. The page shows it, until the next pod starts.
set -euo pipefail
kubectl -n shop patch service database --type merge \
  -p '{"spec":{"selector":{"app":"database","tier":"data"},"ports":[{"name":"db","port":5432,"targetPort":5432}]}}'
kubectl -n shop get configmap shop -o json | jq '.data["shop.env"] |= sub("DB_HOST=.*"; "DB_HOST=database")' |
  kubectl -n shop replace -f -
kubectl -n shop rollout restart deployment web
kubectl -n shop rollout status deployment web --timeout=90s
for pod in $(kubectl -n shop get pods -l app=web --field-selector=status.phase=Running -o name); do
  kubectl -n shop exec "$pod" -c page -- sh -c 'sed -i "s/^TITLE=.*/TITLE=\"The shop is open\"/" /settings/shop.env; kill 1' || true # the shell ends with its container
done
