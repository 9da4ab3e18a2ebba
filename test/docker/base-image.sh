#!/usr/bin/env bash
# Makes a base image without any registry: this repository's own Node 24, the libraries it and prebuilt addons need,
# npm, a static busybox for the shell, CA certificates. It has no compiler and no apt.
# Usage: base-image.sh [TAG]     default tag windjammer-test-base:24
set -euo pipefail
tag=${1:-windjammer-test-base:24}
repository=$(cd "$(dirname "$0")/../.." && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

node=$(readlink -f "$(ls "$repository"/node_modules/node*/bin/node | head -1)")
npm=$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")
mkdir -p "$root"/{bin,usr/bin,usr/lib/node_modules,etc/ssl/certs,tmp,root,proc,sys,dev,run,home/node}

(
  cd "$root/tmp"
  apt-get download -q busybox-static >/dev/null 2>&1 || { apt-get update -q >/dev/null && apt-get download -q busybox-static >/dev/null; }
  dpkg -x busybox-static_*.deb .
)
install -m755 "$root"/tmp/*bin/busybox "$root/bin/busybox" 2>/dev/null || install -m755 "$root"/tmp/usr/bin/busybox "$root/bin/busybox"
rm -rf "${root:?}"/tmp/*
chmod 1777 "$root/tmp"
for name in $("$root/bin/busybox" --list); do [ "$name" = busybox ] || ln -sf /bin/busybox "$root/bin/$name"; done
ln -sf /bin/busybox "$root/usr/bin/env"

install -m755 "$node" "$root/usr/bin/node"
extra='^(libstdc\+\+\.so\.6|libgcc_s\.so\.1|libgomp\.so\.1|librt\.so\.1|libresolv\.so\.2|libz\.so\.1|libnss_dns\.so\.2|libnss_files\.so\.2|libutil\.so\.1|libdl\.so\.2|libpthread\.so\.0|libm\.so\.6)$'
{
  ldd "$node" | awk '/=> \//{print $3} /^\t\/lib/{print $1}'
  ldconfig -p | awk -v extra="$extra" '$1 ~ extra {print $NF}' | grep -v '/lib32/\|/libx32/'
} | sort -u | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
cp -a "$npm" "$root/usr/lib/node_modules/npm"
rm -rf "$root"/usr/lib/node_modules/npm/{docs,man}
ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/bin/npm"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nnode:x:1000:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chown -R 1000:1000 "$root/home/node"

tar -C "$root" --numeric-owner --sort=name --mtime=@0 -c . |
  curl -fsS --unix-socket "${DOCKER_SOCK:-/var/run/docker.sock}" -H 'Content-Type: application/x-tar' -X POST --data-binary @- \
    "http://docker/images/create?fromSrc=-&repo=${tag%:*}&tag=${tag##*:}&changes=ENV%20PATH%3D%2Fusr%2Fbin%3A%2Fbin&changes=ENV%20NODE_EXTRA_CA_CERTS%3D%2Fetc%2Fssl%2Fcerts%2Fca-certificates.crt" >/dev/null
echo "$tag"
