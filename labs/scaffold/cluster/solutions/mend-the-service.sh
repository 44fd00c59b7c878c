# answer diagnose: ${vars.cause}
# A solution runs as the learner, in every variant. The line above gives an answer to a question.
set -euo pipefail
kubectl -n greet patch service greeter --type merge \
  -p '{"spec":{"selector":{"app":"greeter","tier":"front"},"ports":[{"name":"http","port":80,"targetPort":8080}]}}'
