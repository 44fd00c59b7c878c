# Shortens the file through the process that has it open: nothing is restarted and nothing ended.
# A mapping has no descriptor to go through, so that one service is started anew.
set -euo pipefail
done=
for fd in /proc/[0-9]*/fd/*; do
  case $(readlink "$fd" 2>/dev/null) in
  "/srv/shop/"*" (deleted)") : >"$fd"; done=yes ;;
  esac
done
[ -n "$done" ] || shop restart prices
