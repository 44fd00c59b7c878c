# The other side gives way: the pods get the labels and the port that the Service looks for. Two solutions that are
# really different keep the checks from asking for one way of doing it.
set -euo pipefail
tier=$(kubectl -n greet get service greeter -o jsonpath='{.spec.selector.tier}')
port=$(kubectl -n greet get service greeter -o jsonpath='{.spec.ports[0].targetPort}')
kubectl -n greet patch deployment greeter -p '{"spec":{"template":{
  "metadata":{"labels":{"tier":"'"$tier"'"}},
  "spec":{"containers":[{"name":"greeter","env":[{"name":"LISTEN","value":":'"$port"'"}]}]}}}}'
kubectl -n greet rollout status deployment greeter --timeout=60s
