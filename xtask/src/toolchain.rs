//! A Rust compiler for wasm32-wasip2: the active one where it has that target, else one made from Debian's packages.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    project::{cache, step},
    tools::{on_path, script},
};

pub(crate) const TARGET: &str = "wasm32-wasip2";

/// The `rustc` to build guests with.
pub(crate) fn wasm_rustc() -> Result<PathBuf> {
    let active = PathBuf::from("rustc");
    if has_target(&active) {
        return Ok(active);
    }
    let dir = cache()?.join("wasm-toolchain");
    let made = dir.join("rustc");
    if !made.exists() {
        if on_path("apt-get").is_none() {
            bail!("the active Rust cannot compile for {TARGET}; run: rustup target add {TARGET}");
        }
        step(&format!("Rust for {TARGET}: making a toolchain from Debian's packages (once)"), || {
            script("wasm-toolchain.sh", &dir)
        })
        .with_context(|| {
            format!("no Rust for {TARGET}; where rustup's servers can be reached: rustup target add {TARGET}")
        })?;
    }
    if !has_target(&made) {
        bail!("{} is broken; remove that folder and try again", dir.display());
    }
    Ok(made)
}

/// Whether this compiler has the target's standard library.
fn has_target(rustc: &Path) -> bool {
    let Ok(output) = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output() else {
        return false;
    };
    let dir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let Ok(files) = dir.read_dir() else { return false };
    output.status.success() && files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}
