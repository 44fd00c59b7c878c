# answer size: ${vars.mib}
# Restarts nothing: services are asked to open their files anew, and a job that was stopped is let
# go on to its end.
set -euo pipefail
shop status
for service in printer prices; do kill -HUP "$(cat /run/shop/$service)"; done
pkill -CONT -f '/opt/shop/shopd backup' || true # there is none in most variants
