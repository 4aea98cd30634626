#!/usr/bin/env bash
# Unpacks Debian's Chromium without a window, with the libraries and the one family of fonts that it needs.
#
#   chromium.sh DIR     DIR must not exist yet; afterwards DIR/chromium runs
#
# It is for tests that open a page: `chromium --headless --no-sandbox --remote-debugging-pipe --user-data-dir=FOLDER`
# speaks the DevTools protocol on its file descriptors 3 and 4. About 100 MB are fetched, and take 300 MB of disk.
final=${1:?usage: chromium.sh DIR}
# shellcheck source=debian.sh
. "$(dirname "$0")/debian.sh"

# What is on every Debian, and what is only an alternative to that, or to what nobody asks here.
present='libc6|libgcc-s1|libstdc\+\+6|libacl1|libblkid1|libbz2-1\.0|libmount1|libpcre2-8-0|libselinux1|libsystemd0|libtinfo6'
unasked='libdebian-installer4|libelogind0|libnewt0\.52|libreadline8|libslang2|libtextwrap1'

# The browser's libraries need further ones in turn. Its data is a package of its own, whose other dependencies (a
# desktop's tools) are for a window.
packages() {
    local direct
    direct=$(depends chromium-headless-shell | grep '^lib') || return 1
    printf '%s\n' chromium-headless-shell chromium-common fonts-dejavu-core
    # shellcheck disable=SC2086
    apt-cache depends --recurse --important $direct | grep '^lib' | grep -vxE "$present|$unasked" | sort -u
}
begin "$final"
unpack chromium-headless-shell packages

# A machine without a screen often has no fonts, and a page without fonts is empty.
cat >"$work/fonts.conf" <<'FONTS'
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">root/usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <alias><family>serif</family><prefer><family>DejaVu Serif</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
FONTS
libraries=$(cd "$work/root" && echo usr/lib/*-linux-gnu)
cat >"$work/chromium" <<WRAPPER
#!/bin/sh
here=\$(dirname "\$(readlink -f "\$0")")
root=\$here/root
export FONTCONFIG_FILE="\$here/fonts.conf"
export LD_LIBRARY_PATH="\$root/$libraries:\$root/${libraries#usr/}:\$root/$libraries/pulseaudio"
exec "\$root/usr/lib/chromium/chromium-headless-shell" "\$@"
WRAPPER
chmod 755 "$work/chromium"
# A run that opens a page: `--version` needs none of the data.
page=$("$work/chromium" --headless --no-sandbox --user-data-dir="$work/profile" --dump-dom 'data:text/html,it runs' 2>/dev/null) || true
[[ $page == *"it runs"* ]] || die "the unpacked Chromium does not run"
rm -rf "$work/profile"
finish "$final" chromium
