#!/usr/bin/env bash
# Unpacks Debian's PostgreSQL with the libraries that it needs. Nothing is installed, so no root is needed and no service starts.
#
#   postgresql.sh DIR     DIR must not exist yet; afterwards DIR/initdb and DIR/postgres run
set -euo pipefail

final=${1:?usage: postgresql.sh DIR}
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "apt-get is missing; install PostgreSQL yourself"

mkdir -p "$(dirname "$final")"
work=$(mktemp -d "$final.partial.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir "$work/deb" "$work/root"

depends() {
    apt-cache depends --no-recommends --no-suggests "$1" | sed -n 's/^  Depends: \([a-z0-9.+-]*\)$/\1/p'
}
# The server's package, of the version that this Debian has; the libraries that it needs, and those that these need.
packages() {
    local server direct
    server=$(depends postgresql | grep -E '^postgresql-[0-9]+$' | head -n1)
    [ -n "$server" ] || return 1
    echo "$server"
    direct=$(depends "$server" | grep -E '^lib' | grep -vxE 'libc6|libllvm.*')
    # shellcheck disable=SC2086
    { echo "$direct"; for library in $direct; do depends "$library"; done; } | grep -E '^lib' |
        grep -vxE 'libc6|libgcc-s1|libstdc\+\+6|libllvm.*' | sort -u
}
download() {
    local names
    names=$(packages) || return 1
    # apt drops root for downloads, and the user that it becomes cannot write here.
    # shellcheck disable=SC2086
    (cd "$work/deb" && apt-get download -qq -o APT::Sandbox::User=root $names >&2)
}
if ! apt-cache show postgresql >/dev/null 2>&1 || ! download; then
    apt-get update -qq >&2 || die "apt-get update failed; run it as root once, then try again"
    download || die "the download failed; see above"
fi
for deb in "$work"/deb/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
rm -r "$work/deb"

programs=$(cd "$work/root" && echo usr/lib/postgresql/*/bin)
libraries=$(cd "$work/root" && echo usr/lib/*-linux-gnu*)
for program in initdb postgres; do
    cat >"$work/$program" <<EOF
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")
LD_LIBRARY_PATH=\$here/root/$libraries exec "\$here/root/$programs/$program" "\$@"
EOF
    chmod 755 "$work/$program"
    "$work/$program" --version >&2 || die "the unpacked PostgreSQL does not run"
done
mv -T "$work" "$final" 2>/dev/null || [ -x "$final/postgres" ] || die "cannot move PostgreSQL to $final"
