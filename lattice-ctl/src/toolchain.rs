//! The compilers that components are built with, and where they are found.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::failure::Failure;

pub(crate) const TARGET: &str = "wasm32-wasip2";

/// The folders in which `cargo xtask tools` keeps what it has fetched.
pub(crate) fn caches() -> impl Iterator<Item = PathBuf> {
    let folder =
        |name: &str, below: &str| env::var_os(name).filter(|v| !v.is_empty()).map(|v| Path::new(&v).join(below));
    let all = [folder("LATTICE_CACHE", ""), folder("XDG_CACHE_HOME", "lattice"), folder("HOME", ".cache/lattice")];
    all.into_iter().flatten()
}

/// A `rustc` for components, and whether it is another one than cargo takes by itself.
#[derive(Debug, Clone)]
pub(crate) enum Rustc {
    Active,
    Other(PathBuf),
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRustc {
    Missing,
    /// There is one, which cannot compile for the target.
    NoTarget,
}

impl NoRustc {
    pub(crate) fn message(self) -> String {
        match self {
            Self::Missing => "there is no rustc".to_owned(),
            Self::NoTarget => format!("rustc has no target {TARGET}"),
        }
    }

    pub(crate) fn mend(self) -> String {
        match self {
            Self::Missing => "install Rust with rustup (https://rustup.rs)".to_owned(),
            Self::NoTarget => format!("`rustup target add {TARGET}`"),
        }
    }
}

impl From<NoRustc> for Failure {
    fn from(why: NoRustc) -> Self {
        Self::Start { message: format!("cannot build for WebAssembly: {}", why.message()), help: Some(why.mend()) }
    }
}

/// The active compiler where it has the target, else one that `cargo xtask tools` has made. Looked for once: compilers take their time to
/// say what they can.
pub(crate) fn rustc() -> Result<Rustc, NoRustc> {
    static FOUND: OnceLock<Result<Rustc, NoRustc>> = OnceLock::new();
    FOUND.get_or_init(look_for).clone()
}

fn look_for() -> Result<Rustc, NoRustc> {
    let active = Path::new("rustc");
    if has_target(active) {
        return Ok(Rustc::Active);
    }
    let made = caches().map(|cache| cache.join("wasm-toolchain/rustc")).find(|rustc| has_target(rustc));
    let missing = || match sysroot(active) {
        Some(_) => NoRustc::NoTarget,
        None => NoRustc::Missing,
    };
    made.map(Rustc::Other).ok_or_else(missing)
}

/// Where a compiler has its libraries.
pub(crate) fn sysroot(rustc: &Path) -> Option<String> {
    print(rustc, &["--print", "sysroot"])
}

/// Whether a compiler has the target's standard library.
fn has_target(rustc: &Path) -> bool {
    let Some(folder) = print(rustc, &["--print", "target-libdir", "--target", TARGET]) else { return false };
    let Ok(files) = Path::new(&folder).read_dir() else { return false };
    files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

fn print(program: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A program on PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The newest folder of this name, before its version, that `cargo xtask tools` has fetched.
fn fetched(name: &str) -> Option<PathBuf> {
    let newest = |cache: PathBuf| {
        let entries = cache.read_dir().ok()?.flatten();
        let ours = entries.filter(|entry| {
            let found = entry.file_name();
            let version = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('-'));
            version.is_some()
        });
        ours.map(|entry| entry.path()).max()
    };
    caches().find_map(newest)
}

/// A command that makes components of Python: the program on PATH, else the module that `cargo xtask tools` has fetched.
pub(crate) fn componentize_py() -> Result<Command, Failure> {
    if let Some(program) = on_path("componentize-py") {
        return Ok(Command::new(program));
    }
    let Some(module) = fetched("componentize-py") else {
        return Err(Failure::Start {
            message: "cannot build a component in Python: there is no componentize-py".to_owned(),
            help: Some("`pip install componentize-py==0.25.1`".to_owned()),
        });
    };
    let mut command = Command::new("python3");
    command.args(["-c", "import componentize_py; componentize_py.script()"]).env("PYTHONPATH", module);
    Ok(command)
}

/// A command that makes components of JavaScript: that which the project in `folder` has installed, that on PATH, else
/// that which `cargo xtask tools` has fetched.
pub(crate) fn componentize_js(folder: &Path) -> Result<Command, Failure> {
    let installed = || Some(folder.join("node_modules/.bin/componentize-js")).filter(|file| file.is_file());
    let kept = || Some(fetched("componentize-js")?.join("componentize-js")).filter(|file| file.is_file());
    let program = installed().or_else(|| on_path("componentize-js")).or_else(kept);
    program.map(Command::new).ok_or_else(|| Failure::Start {
        message: "cannot build a component in JavaScript: there is no componentize-js".to_owned(),
        help: Some(format!("`npm install` in {}", folder.display())),
    })
}
