# Sends one request again and again, and prints the answer once it differs
# from the one known, or when the span is over. Runs as root on a cluster's
# node in a mount namespace of its own, so that names are looked up as a pod
# would: with the nameserver and the search list that kubelet gives to pods.
# On a machine (from is empty) it runs as it is.
#
#   $1 from     namespace whose search list is used
#   $2 known    the state that the caller knows; empty: any
#   $3 watch    what makes answers differ: status (and body), or up (an answer
#               with a status below 500: from there on, the server is at fault)
#   $4 first    seconds to wait before the first request
#   $5 every    seconds between requests
#   $6 span     seconds after which the last answer is printed in any case
#   $7 timeout  seconds for one request
#   $8 limit    bytes of the body to keep
#   $9…         curl's arguments: method, headers, body, URL
#
# Output: a line `state sizes…`, then curl's report, the headers and the body.
# Exit 125: the request could not even be made.
set -u
from=$1 known=$2 watch=$3 first=$4 every=$5 span=$6 timeout=$7 limit=$8
shift 8

if [ -n "$from" ]; then
	kubelet=/var/lib/kubelet/config.yaml
	dir=/mnt
	mount -t tmpfs -o size=4m,mode=0700 probe "$dir" || exit 125
	dns=$(sed -n '/^clusterDNS:/{n;s/^ *- *//p;}' "$kubelet" | tr -d '"')
	domain=$(sed -n 's/^clusterDomain: *//p' "$kubelet" | tr -d '"')
	[ -n "$dns" ] && [ -n "$domain" ] || exit 125
	printf 'nameserver %s\nsearch %s.svc.%s svc.%s %s\noptions ndots:5\n' \
		"$dns" "$from" "$domain" "$domain" "$domain" >"$dir/resolv.conf" || exit 125
	mount --bind "$dir/resolv.conf" /etc/resolv.conf || exit 125
else
	dir=$(mktemp -d) || exit 125
	trap 'rm -rf "$dir"' EXIT
fi

end=$(($(date +%s) + span))
sleep "$first"
while :; do
	: >"$dir/headers"
	: >"$dir/body"
	curl --silent --globoff --noproxy '*' --proto '=http,https' --max-time "$timeout" \
		--dump-header "$dir/headers" --output - --write-out '%{stderr}%{json}' "$@" \
		</dev/null 2>"$dir/report" | head -c "$limit" >"$dir/body"
	[ -s "$dir/report" ] || exit 125
	code=$(sed -n 's/.*"http_code":\([0-9]*\).*/\1/p' "$dir/report")
	case $watch in
	up) if [ "$code" -ge 100 ] && [ "$code" -lt 500 ]; then state=up; else state=down; fi ;;
	*) state=$code-$(cksum <"$dir/body" | tr ' ' -) ;;
	esac
	if [ "$state" != "$known" ] || [ "$(date +%s)" -ge "$end" ]; then
		break
	fi
	sleep "$every"
done
printf '%s %s %s %s\n' "$state" "$(wc -c <"$dir/report")" "$(wc -c <"$dir/headers")" "$(wc -c <"$dir/body")"
cat "$dir/report" "$dir/headers" "$dir/body"
