# answer who: ${vars.holder}
# answer size: ${vars.mib} MiB
# Looks who has a file without a name, in use by descriptor or mapping, and starts that one anew. A
# job that is no service is ended: a stopped process takes only KILL, or CONT and then TERM.
set -euo pipefail
holders=$(lsof -n +L1 /srv/shop 2>/dev/null | awk 'NR > 1 { print $2 }' | sort -u)
[ -n "$holders" ]
for pid in $holders; do
  name=$(tr '\0' '\n' <"/proc/$pid/cmdline" | sed -n '4p')
  case $name in
  till | printer | prices) shop restart "$name" ;;
  *) kill "$pid" && kill -CONT "$pid" ;;
  esac
done
