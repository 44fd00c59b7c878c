# canary-baseline
read -r n; i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo $((n*2))
