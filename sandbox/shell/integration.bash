# What bash reads when drydock-shell starts it, in the place of ~/.bashrc: what a login shell reads, and then
# marks between what programs print, in the way of FinalTerm (OSC 133) and Visual Studio Code (OSC 633).
# From these the server can tell which command printed what, and with which exit code it ended. They are
# invisible, and the prompt stays as it is. Whoever does not want them:  unset PS0 PROMPT_COMMAND

# As "bash --login" does.
if [ -r /etc/profile ]; then . /etc/profile; fi
for __drydock_file in ~/.bash_profile ~/.bash_login ~/.profile; do
	if [ -r "$__drydock_file" ]; then
		. "$__drydock_file"
		break
	fi
done
unset __drydock_file
logout() { exit "$@"; }

# The command line, with what would end a mark written as \xHH. It runs in a subshell, before the command. It
# is read from the history, whose own numbers tell whether it is there at all: the line before must not be
# taken for one that was kept out, as those are that begin with a space where HISTCONTROL says so.
__drydock_before() {
	local LC_ALL=C line number text=
	line=$(HISTTIMEFORMAT='' builtin history 1)
	if [[ $line =~ ^[[:space:]]*([0-9]+)\*?[[:space:]]*(.*)$ ]]; then
		number=${BASH_REMATCH[1]} text=${BASH_REMATCH[2]}
		if [[ $number == "$1" && $HISTCONTROL$HISTIGNORE != ignoredups ]] || ! shopt -qo history; then text=; fi
	fi
	text=${text:0:2000}
	text=${text//\\/\\\\} text=${text//;/\\x3b} text=${text//$'\n'/\\x0a} text=${text//$'\e'/\\x1b} text=${text//$'\a'/\\x07}
	printf '\e]633;E;%s\a\e]133;C\a' "$text"
}

# After the command and before the prompt.
__drydock_after() {
	printf '\e]133;D;%s\a\e]133;A\a' "$1"
	__drydock_seen=$(HISTTIMEFORMAT='' builtin history 1)
	__drydock_seen=${__drydock_seen#"${__drydock_seen%%[0-9]*}"}
	__drydock_seen=${__drydock_seen%%[!0-9]*}
}
# A value that is given to PROMPT_COMMAND later, as to a plain variable, is its first.
__drydock_seen=
PS0='$(__drydock_before "$__drydock_seen")'"$PS0"
PROMPT_COMMAND=("${PROMPT_COMMAND[@]-}" '__drydock_after "$?"')
