#!/usr/bin/env bash
# Unpacks Debian's PostgreSQL with the libraries that it needs.
#
#   postgresql.sh DIR     DIR must not exist yet; afterwards DIR/initdb and DIR/postgres run
final=${1:?usage: postgresql.sh DIR}
# shellcheck source=debian.sh
. "$(dirname "$0")/debian.sh"

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
begin "$final"
unpack postgresql packages

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
finish "$final" postgres
