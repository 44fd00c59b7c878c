# Goes before the scripts for clusters. $NAMESPACES are those of the lab.
namespaces() { # where the lab names none, all but the cluster's own
  if [ -n "$NAMESPACES" ]; then
    tr ' ' '\n' <<<"$NAMESPACES"
  else
    kubectl get namespaces --output=name | sed 's|.*/||' | grep -Ev '^(kube-.*|local-path-storage|drydock.*)$'
  fi
}
