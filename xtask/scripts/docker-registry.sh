#!/usr/bin/env bash
# Unpacks Debian's registry of OCI images.
#
#   docker-registry.sh DIR     DIR must not exist yet; afterwards DIR/docker-registry runs
final=${1:?usage: docker-registry.sh DIR}
# shellcheck source=debian.sh
. "$(dirname "$0")/debian.sh"

# It is one file that needs nothing but the C library.
packages() { echo docker-registry; }
begin "$final"
unpack docker-registry packages
mv "$work/root/usr/bin/docker-registry" "$work/docker-registry"
"$work/docker-registry" --version >&2 || die "the unpacked registry does not run"
finish "$final" docker-registry
