#!/usr/bin/env bash
# Makes a base image for Python models without any registry: Debian's python3 of this machine with its library and pip,
# the C libraries that they need, CA certificates, a static busybox for the shell.
# Usage: python-base-image.sh [TAG]     default tag windjammer-test-python:3
set -euo pipefail
tag=${1:-windjammer-test-python:3}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

fetch() {
  (cd "$root/tmp" && { apt-get download -q "$@" >/dev/null 2>&1 || { apt-get update -q >/dev/null && apt-get download -q "$@" >/dev/null; }; })
}
mkdir -p "$root"/{bin,usr/bin,etc/ssl/certs,tmp,root,proc,sys,dev,run}
fetch busybox-static python3-pip-whl
for package in "$root"/tmp/*.deb; do dpkg -x "$package" "$root/tmp"; done
install -m755 "$(find "$root/tmp" -path '*bin/busybox')" "$root/bin/busybox"
for name in $("$root/bin/busybox" --list); do [ "$name" = busybox ] || ln -sf /bin/busybox "$root/bin/$name"; done

python=$(readlink -f /usr/bin/python3)
library=$("$python" -I -c 'import os; print(os.path.dirname(os.__file__))')
install -m755 "$python" "$root/usr/bin/"
ln -sf "$(basename "$python")" "$root/usr/bin/python3"
mkdir -p "$root$library"
tar -C "$library" --exclude=__pycache__ --exclude=test --exclude=idlelib --exclude='config-*' -cf - . | tar -C "$root$library" -xf -
wheel=$(find "$root/tmp" -name 'pip-*.whl')
"$python" -I -m zipfile -e "$wheel" "$root$library"

extra='^(libstdc\+\+\.so\.6|libgcc_s\.so\.1|libgomp\.so\.1|libnss_files\.so\.2)$'
{
  { ldd "$python"; find "$library" -name '*.so' -exec ldd {} \; ; } 2>/dev/null | awk '/=> \//{print $3} /^\t\/lib/{print $1}'
  ldconfig -p | awk -v extra="$extra" '$1 ~ extra {print $NF}' | grep -v '/lib32/\|/libx32/'
} | sort -u | while read -r each; do
  mkdir -p "$root$(dirname "$each")"
  cp -L "$each" "$root$each"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
rm -rf "${root:?}"/tmp/*
chmod 1777 "$root/tmp"
printf 'root:x:0:0:root:/root:/bin/sh\nmodel:x:1000:1000::/tmp:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nmodel:x:1000:\n' >"$root/etc/group"

tar -C "$root" --numeric-owner --sort=name --mtime=@0 -c . |
  curl -fsS --unix-socket "${DOCKER_SOCK:-/var/run/docker.sock}" -H 'Content-Type: application/x-tar' -X POST --data-binary @- \
    "http://docker/images/create?fromSrc=-&repo=${tag%:*}&tag=${tag##*:}&changes=ENV%20PATH%3D%2Fusr%2Fbin%3A%2Fbin" >/dev/null
echo "$tag"
