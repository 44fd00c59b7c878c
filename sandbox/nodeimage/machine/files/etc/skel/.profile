# What a login shell reads. The machine's own tools are of use to everybody here.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
[ -n "$BASH_VERSION" ] && [ -f ~/.bashrc ] && . ~/.bashrc
