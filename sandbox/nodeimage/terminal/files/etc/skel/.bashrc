# What every interactive shell of the lab's terminal reads.
case $- in *i*) ;; *) return ;; esac

HISTCONTROL=ignoredups HISTSIZE=5000 HISTFILESIZE=10000
shopt -s histappend checkwinsize

# The prompt shows the namespace that kubectl works in, the directory, and the exit code of a command that failed.
# The namespace is read from the kubeconfig only when that file has changed: a prompt must not cost a process.
__drydock_prompt() {
	local code=$? file=${KUBECONFIG:-$HOME/.kube/config}
	if [[ -r $file && ( -z $__drydock_seen || $file -nt $__drydock_mark ) ]]; then
		__drydock_namespace=$(kubectl config view --minify -o 'jsonpath={..namespace}' 2>/dev/null)
		__drydock_seen=1
		{ : >|"$__drydock_mark"; } 2>/dev/null
	fi
	local failed=
	((code == 0)) || failed="\[\e[31m\]$code\[\e[0m\] "
	PS1="$failed\[\e[36m\]${__drydock_namespace:-lab}\[\e[0m\]:\[\e[34m\]\w\[\e[0m\]\\$ "
}
__drydock_mark=${TMPDIR:-/tmp}/.kubeconfig-read-$UID-$$
PROMPT_COMMAND=__drydock_prompt

alias ls='ls --color=auto' ll='ls -l' grep='grep --color=auto' k=kubectl

. /usr/share/bash-completion/bash_completion
# kubectl's completion is large: it is read the first time that Tab asks for it, under both names.
_drydock_complete_k() {
	_completion_loader kubectl
	complete -o default -F __start_kubectl k
	return 124
}
complete -F _drydock_complete_k k
