#!/usr/bin/env bash
# Unpacks Debian's Redis with the libraries that it needs.
#
#   redis-server.sh DIR     DIR must not exist yet; afterwards DIR/redis-server runs
final=${1:?usage: redis-server.sh DIR}
# shellcheck source=debian.sh
. "$(dirname "$0")/debian.sh"

# The direct dependencies are enough: what those need in turn is on every Debian.
packages() {
    echo redis-tools
    depends redis-tools | grep -vxE 'adduser|libc6'
}
begin "$final"
unpack redis-tools packages

# Server, sentinel and checkers are one binary that looks at the name by which it is called.
ln -sf redis-check-rdb "$work/root/usr/bin/redis-server"
libraries=$(cd "$work/root" && echo usr/lib/*-linux-gnu*)
cat >"$work/redis-server" <<EOF
#!/bin/sh
LD_LIBRARY_PATH=\${0%/*}/root/$libraries exec "\${0%/*}/root/usr/bin/redis-server" "\$@"
EOF
chmod +x "$work/redis-server"
"$work/redis-server" --version >&2 || die "the unpacked Redis does not run"
finish "$final" redis-server
