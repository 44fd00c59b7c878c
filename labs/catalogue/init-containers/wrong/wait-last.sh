# caught-by: init-order-kept
# What waits goes to the end of the queue, where it holds nobody back. Now the migration runs before there is a database.
set -euo pipefail
kubectl -n shop get deployment web -o json |
  jq '.spec.template.spec.initContainers |= [.[0], .[2], .[1]]' |
  kubectl -n shop replace -f -
