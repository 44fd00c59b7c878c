# Makes images that stand for web servers: busybox's own, with the folders, the
# port and the commands of theirs. $nginx and $apache hold the images' names.
set -e
work=$(mktemp -d -p /var/tmp)
trap 'rm -rf "$work"' EXIT
mkdir "$work/base" "$work/root" "$work/image"
ctr -n k8s.io images mount docker.io/library/busybox:1.35 "$work/base" >/dev/null
cp -a "$work/base/." "$work/root/"
umount "$work/base"
ctr -n k8s.io snapshots rm "$work/base"

cd "$work/root"
mkdir -p usr/sbin usr/local/bin usr/share/nginx/html usr/local/apache2/htdocs etc/nginx/conf.d
cat >usr/sbin/nginx <<'EOF'
#!/bin/sh
case "$1" in
-v | -V) echo "nginx version: none, busybox's web server stands for it" >&2 && exit ;;
-t | -T | -s) exit 0 ;;
esac
exec /bin/httpd -f -vv -p 80 -h /usr/share/nginx/html
EOF
cat >usr/local/bin/httpd-foreground <<'EOF'
#!/bin/sh
exec /bin/httpd -f -vv -p 80 -h /usr/local/apache2/htdocs
EOF
chmod 755 usr/sbin/nginx usr/local/bin/httpd-foreground
echo '<!DOCTYPE html><html><head><title>Welcome to nginx!</title></head><body><h1>Welcome to nginx!</h1></body></html>' >usr/share/nginx/html/index.html
echo '<html><body><h1>It works!</h1></body></html>' >usr/local/apache2/htdocs/index.html
tar --numeric-owner -cf "$work/image/layer.tar" .

cd "$work/image"
image() { # PROGRAM NAME…
	program=$1
	shift
	tags=$(printf ',"%s"' "$@")
	printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["%s"],"ExposedPorts":{"80/tcp":{}},"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
		"$(dpkg --print-architecture)" "$program" "$(sha256sum <layer.tar | cut -d' ' -f1)" >config.json
	printf '[{"Config":"config.json","RepoTags":[%s],"Layers":["layer.tar"]}]' "${tags#,}" >manifest.json
	tar -cf ../image.tar manifest.json config.json layer.tar
	ctr -n k8s.io images import ../image.tar >/dev/null
}
if [ "${#nginx[@]}" -gt 0 ]; then image /usr/sbin/nginx "${nginx[@]}"; fi
if [ "${#apache[@]}" -gt 0 ]; then image /usr/local/bin/httpd-foreground "${apache[@]}"; fi
