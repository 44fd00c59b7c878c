# What every interactive shell of the machine reads.
case $- in *i*) ;; *) return ;; esac

HISTCONTROL=ignoredups HISTSIZE=5000 HISTFILESIZE=10000
shopt -s histappend checkwinsize

# The prompt shows the directory, and the exit code of a command that failed.
__drydock_prompt() {
	local code=$? failed=
	((code == 0)) || failed="\[\e[31m\]$code\[\e[0m\] "
	PS1="$failed\[\e[36m\]\h\[\e[0m\]:\[\e[34m\]\w\[\e[0m\]\\$ "
}
PROMPT_COMMAND=__drydock_prompt

alias ls='ls --color=auto' ll='ls -l' grep='grep --color=auto'

. /usr/share/bash-completion/bash_completion
