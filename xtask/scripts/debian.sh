# For the scripts beside it: unpacks Debian's packages. Nothing is installed, so no root is needed and no service starts.
#
#   begin DIR               makes $work, which becomes DIR in the end; DIR must not exist yet
#   unpack NAME FUNCTION    unpacks the packages that FUNCTION prints into $work/root; apt knows NAME when it has its lists
#   finish DIR PROGRAM      moves $work to DIR, where PROGRAM runs then
# shellcheck shell=bash
set -euo pipefail

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

begin() {
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "apt-get is missing; install the package yourself"
    mkdir -p "$(dirname "$1")"
    work=$(mktemp -d "$1.partial.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    mkdir "$work/deb" "$work/root"
}

# The names of the packages that a package depends on.
depends() {
    apt-cache depends --no-recommends --no-suggests "$1" | sed -n 's/^  Depends: \([a-z0-9.+-]*\)$/\1/p'
}

download() {
    local names
    names=$("$1") || return 1
    # apt drops root for downloads, and the user that it becomes cannot write here.
    # shellcheck disable=SC2086
    (cd "$work/deb" && apt-get download -qq -o APT::Sandbox::User=root $names >&2)
}

unpack() {
    if ! apt-cache show "$1" >/dev/null 2>&1 || ! download "$2"; then
        apt-get update -qq >&2 || die "apt-get update failed; run it as root once, then try again"
        download "$2" || die "the download failed; see above"
    fi
    local deb
    for deb in "$work"/deb/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
    rm -r "$work/deb"
}

# Another process may have been faster.
finish() {
    mv -T "$work" "$1" 2>/dev/null || [ -x "$1/$2" ] || die "cannot move $2 to $1"
}
