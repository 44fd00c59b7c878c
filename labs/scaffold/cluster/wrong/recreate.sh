# caught-by: same-deployment
# Everything is made anew, and right. It works, and in a real system it would have cost more than the fault.
set -euo pipefail
kubectl -n greet get deployment greeter -o json | jq 'del(.metadata.uid, .metadata.resourceVersion, .status)' >/tmp/greeter.json
kubectl -n greet delete deployment,service greeter
kubectl -n greet create -f /tmp/greeter.json
kubectl -n greet expose deployment greeter --port=80 --target-port=8080
