#!/bin/sh
# runc for a machine that lacks capabilities in its bounding set: asks only for those that exist.
# Drydock's sandbox/engine/setup.sh installs it where a privileged container does not run otherwise.
#
# A container manager may withhold a capability from the whole machine (CapBnd). Docker before 23 asks
# for all of them for a privileged container, and runc fails.
set -eu

names="CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT
SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"

bounding=0
while read -r key value; do
	if [ "$key" = CapBnd: ]; then bounding=$((0x$value)); fi
done </proc/self/status

lacking=''
bit=0
for name in $names; do
	[ $((bounding >> bit & 1)) = 1 ] || lacking="$lacking\"CAP_$name\","
	bit=$((bit + 1))
done

# drop FILE EXPRESSION: takes the lacking capabilities out of the process found at EXPRESSION.
drop() {
	[ -f "$1" ] || return 0
	new=$(jq -c --argjson lacking "[${lacking%,}]" \
		"$2 |= if .capabilities then .capabilities |= map_values(. - \$lacking) else . end" "$1")
	printf '%s' "$new" >"$1"
}

# The words of interest stand anywhere on the command line: global flags, the command, its flags.
command='' bundle=. process='' previous=''
for word in "$@"; do
	case $previous in
	--bundle | -b) bundle=$word ;;
	--process | -p) process=$word ;;
	esac
	case $word in
	create | run | exec) [ -n "$command" ] || command=$word ;;
	--bundle=*) bundle=${word#*=} ;;
	--process=*) process=${word#*=} ;;
	esac
	previous=$word
done

if [ -n "$lacking" ]; then
	case $command in
	create | run) drop "$bundle/config.json" .process ;;
	exec) [ -z "$process" ] || drop "$process" . ;;
	esac
fi
exec runc "$@"
