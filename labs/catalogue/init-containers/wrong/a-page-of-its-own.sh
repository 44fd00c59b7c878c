# caught-by: same-program
# The page needs nobody's settings when it is told what to say. It says it for ever, whatever the settings are.
set -euo pipefail
kubectl -n shop patch deployment web --type strategic -p '{"spec":{"template":{"spec":{"containers":[
  {"name":"page","command":["workload","web","--listen",":8080","--title","The shop is open"]}]}}}}'
