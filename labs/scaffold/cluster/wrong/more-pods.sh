# caught-by: answers
# "It must be overloaded." More pods that nobody finds help nobody.
set -euo pipefail
kubectl -n greet scale deployment greeter --replicas=2
kubectl -n greet rollout status deployment greeter --timeout=60s
