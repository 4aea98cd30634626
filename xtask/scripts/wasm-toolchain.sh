#!/usr/bin/env bash
# Makes a Rust toolchain for wasm32-wasip2 where rustup's servers cannot be reached but Debian's and crates.io can:
# Debian's compiler and standard library sources, with the standard library compiled once for the target.
#
#   wasm-toolchain.sh DIR     DIR must not exist yet; afterwards DIR/rustc compiles for wasm32-wasip2
#
# Everything is unpacked, nothing is installed, so no root is needed (except for apt's package lists when they are
# missing). It takes about three minutes and 1 GiB.
set -euo pipefail

final=${1:?usage: wasm-toolchain.sh DIR}
target=wasm32-wasip2

say() { printf '  [%3ds] %s\n' "$SECONDS" "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

for tool in apt-get apt-cache dpkg-deb cargo rustc; do
    command -v "$tool" >/dev/null || die "$tool is missing; this way needs Debian 12 or newer and Rust from rustup. \
Elsewhere run: rustup target add $target"
done
host=$(rustc -vV | sed -n 's/^host: //p')
multiarch=${host/-unknown-/-}
linkers=$(rustc --print sysroot)/lib/rustlib/$host/bin
[ -x "$linkers/wasm-component-ld" ] || die "the active Rust ($(rustc -V)) has no wasm-component-ld; install Rust with rustup"

# A folder of its own, renamed at the very end: an interrupted run leaves nothing that looks finished.
mkdir -p "$(dirname "$final")"
work=$(mktemp -d "$final.partial.XXXXXX")
trap 'rm -rf "$work"' EXIT
# mktemp's folder is private, but the toolchain may be shared by the users of a machine.
chmod 755 "$work"
mkdir "$work/deb" "$work/root"

# Nothing, rather than a failure, for a package that apt does not know.
newest() { (apt-cache show "$1" 2>/dev/null || true) | sed -n 's/^Version: //p' | sort -V | tail -n 1; }
version=$(newest rustc-web)
if [ -z "$version" ]; then
    say "apt's package lists: updating"
    apt-get update -qq >&2 || die "apt-get update failed; run it as root once, then try again"
    version=$(newest rustc-web)
fi
[ -n "$version" ] || die "apt knows no package rustc-web; it is in Debian 12 and newer (section main)"
std=libstd-rust-web-$(cut -d. -f1,2 <<<"${version%%+*}")
llvm=$( (apt-cache show "$std=$version" || true) | sed -n 's/^Depends:.*libllvm\([0-9]*\).*/\1/p' | head -n 1)
[ -n "$llvm" ] || die "cannot tell which LLVM the package $std needs"

say "Debian's Rust $version and LLVM $llvm: downloading (about 150 MB)"
download() {
    # apt drops root for downloads, and the user that it becomes cannot write here.
    (cd "$work/deb" && apt-get download -qq -o APT::Sandbox::User=root \
        "rustc-web=$version" "$std=$version" "libstd-rust-web-dev=$version" "rust-web-src=$version" \
        "libllvm$llvm" "lld-$llvm" wasi-libc >&2)
}
if ! download; then
    # A list that is older than the mirror names packages that are gone.
    say "apt's package lists look old: updating, then once more"
    apt-get update -qq >&2 || die "apt-get update failed; run it as root once, then try again"
    download || die "the download failed; see above"
fi

say "unpacking"
for deb in "$work"/deb/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
rm -r "$work/deb"

# The wrappers find everything from their own place, so that the folder can be renamed.
say "wrapping the compiler and the linker"
root=$work/root/usr
bin=$root/lib/rustlib/$host/bin
mkdir -p "$bin"
cp "$linkers/wasm-component-ld" "$bin/"
cat >"$work/rustc" <<EOF
#!/bin/sh
usr=\${0%/*}/root/usr
LD_LIBRARY_PATH=\$usr/lib/$multiarch:\$usr/lib/llvm-$llvm/lib exec "\$usr/bin/rustc" "\$@"
EOF
rm -f "$bin/rust-lld"
cat >"$bin/rust-lld" <<EOF
#!/bin/sh
usr=\${0%/*}/../../../..
LD_LIBRARY_PATH=\$usr/lib/$multiarch:\$usr/lib/llvm-$llvm/lib exec "\$usr/lib/llvm-$llvm/bin/lld" "\$@"
EOF
chmod +x "$work/rustc" "$bin/rust-lld"
"$work/rustc" -V >&2 || die "the unpacked compiler does not run"

say "the standard library for $target: compiling"
lib=$root/lib/rustlib/$target/lib
mkdir -p "$lib/self-contained" "$work/std/src"
cp "$root"/lib/wasm32-wasi/* "$lib/self-contained/"
cat >"$work/std/Cargo.toml" <<'EOF'
[package]
name = "nothing"
version = "0.0.0"
edition = "2021"
[profile.release]
panic = "abort"
[workspace]
EOF
echo '#![no_std]' >"$work/std/src/lib.rs"
# build-std is a nightly flag of cargo, and embedded bitcode is what lets guests use LTO.
(
    cd "$work/std"
    env -u CARGO_TARGET_DIR -u CARGO_BUILD_TARGET_DIR -u RUSTC_WRAPPER -u CARGO_ENCODED_RUSTFLAGS \
        RUSTC_BOOTSTRAP=1 RUSTC="$work/rustc" RUSTFLAGS="-C embed-bitcode=yes" \
        cargo build -q --release -Z build-std=std,panic_abort --target "$target" >&2
) || die "the standard library did not compile; see above"
rm -f "$work"/std/target/"$target"/release/deps/libnothing*
cp "$work/std/target/$target"/release/deps/*.rlib "$lib/"
rm -r "$work/std"
# Documentation and the sources were needed only until here.
rm -rf "$root/share" "$root/src"

if [ -e "$final" ]; then
    say "another run was faster; using its result"
else
    # -T: never move into a folder that appeared in between.
    mv -T "$work" "$final" 2>/dev/null || [ -x "$final/rustc" ] || die "cannot move the toolchain to $final"
fi
say "ready: $final/rustc"
