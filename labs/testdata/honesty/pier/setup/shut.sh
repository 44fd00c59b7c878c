set -eu
# canary-setup
test -n "$VAR_pilot"
kubectl -n drydock-gate rollout status deployment/gate --timeout=90s
kubectl -n harbour rollout status deployment/desk --timeout=90s
