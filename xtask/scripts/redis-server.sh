#!/usr/bin/env bash
# Unpacks Debian's Redis with the libraries that it needs. Nothing is installed, so no root is needed and no service starts.
#
#   redis-server.sh DIR     DIR must not exist yet; afterwards DIR/redis-server runs
set -euo pipefail

final=${1:?usage: redis-server.sh DIR}
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "apt-get is missing; install redis-server yourself"

mkdir -p "$(dirname "$final")"
work=$(mktemp -d "$final.partial.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir "$work/deb" "$work/root"

# The direct dependencies are enough: what those need in turn is on every Debian.
packages() {
    echo redis-tools
    apt-cache depends --no-recommends --no-suggests redis-tools | sed -n 's/^  Depends: \([a-z0-9.+-]*\)$/\1/p' |
        grep -vxE 'adduser|libc6'
}
download() {
    # apt drops root for downloads, and the user that it becomes cannot write here.
    # shellcheck disable=SC2046
    (cd "$work/deb" && apt-get download -qq -o APT::Sandbox::User=root $(packages) >&2)
}
if ! apt-cache show redis-tools >/dev/null 2>&1 || ! download; then
    apt-get update -qq >&2 || die "apt-get update failed; run it as root once, then try again"
    download || die "the download failed; see above"
fi
for deb in "$work"/deb/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
rm -r "$work/deb"

# Server, sentinel and checkers are one binary that looks at the name by which it is called.
ln -sf redis-check-rdb "$work/root/usr/bin/redis-server"
libraries=$(cd "$work/root" && echo usr/lib/*-linux-gnu*)
cat >"$work/redis-server" <<EOF
#!/bin/sh
LD_LIBRARY_PATH=\${0%/*}/root/$libraries exec "\${0%/*}/root/usr/bin/redis-server" "\$@"
EOF
chmod +x "$work/redis-server"
"$work/redis-server" --version >&2 || die "the unpacked Redis does not run"
mv -T "$work" "$final" 2>/dev/null || [ -x "$final/redis-server" ] || die "cannot move Redis to $final"
