# Makes the cluster offer what the shop asks for, whatever that is: the name, the label, the port.
# The waiting pods go on by themselves, without a restart.
set -euo pipefail

host=$(kubectl -n shop get configmap shop -o jsonpath='{.data.shop\.env}' | sed -n 's/^DB_HOST=//p')
if ! kubectl -n shop get service "$host" >/dev/null 2>&1; then
  kubectl -n shop create service externalname "$host" --external-name database.shop.svc.cluster.local
fi

tier=$(kubectl -n shop get service database -o jsonpath='{.spec.selector.tier}')
port=$(kubectl -n shop get service database -o jsonpath='{.spec.ports[0].targetPort}')
kubectl -n shop patch deployment database --type strategic -p "
spec:
  template:
    metadata: {labels: {tier: $tier}}
    spec:
      containers:
        - name: database
          env: [{name: LISTEN, value: ':$port'}]
"
kubectl -n shop rollout status deployment database --timeout=60s
kubectl -n shop wait --for=condition=Available deployment/web --timeout=90s

# The title is read when a pod starts: change it, then replace the pods one after the other.
kubectl -n shop get configmap shop -o json |
  jq '.data["shop.env"] |= sub("TITLE=.*"; "TITLE=\"The shop is open\"")' |
  kubectl -n shop replace -f -
for pod in $(kubectl -n shop get pods -l app=web -o name); do
  kubectl -n shop delete "$pod"
  kubectl -n shop rollout status deployment web --timeout=60s
done
