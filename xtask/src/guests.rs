//! Builds the examples and the test guests. Cargo knows what has changed; for Python a hash over the sources does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    project::{cargo, guests, root, run, step},
    toolchain::{TARGET, wasm_rustc},
    tools::{componentize_py, sha256},
};

/// The WASI packages that the world of the Python guest needs, each after those that it uses.
const PYTHON_WIT: [&str; 7] = ["io", "clocks", "random", "filesystem", "sockets", "cli", "http"];

/// All guests: into `target/guests`, and the examples also beside their manifests.
pub(crate) fn build() -> Result<()> {
    let rustc = wasm_rustc()?;
    let target = root().join("target/guests-build");
    fs::create_dir_all(guests())?;
    step("guests: building for WebAssembly", || {
        for workspace in ["examples", "tests/guests"] {
            run(cargo()
                .args(["build", "--locked", "--release", "--target", TARGET, "--manifest-path"])
                .arg(root().join(workspace).join("Cargo.toml"))
                .env("RUSTC", &rustc)
                .env("CARGO_TARGET_DIR", &target)
                // Flags and wrappers that were meant for the machine's own compiler.
                .env_remove("RUSTFLAGS")
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                .env_remove("RUSTC_WRAPPER")
                .env_remove("RUSTC_WORKSPACE_WRAPPER"))?;
        }
        let built = target.join(TARGET).join("release");
        for (name, dir) in members("examples")? {
            install(&built, &name, &dir)?;
            install(&built, &name, &guests())?;
        }
        for (name, _) in members("tests/guests")? {
            install(&built, &name, &guests())?;
        }
        Ok(())
    })?;
    python_hello(&target)
}

/// Name and folder of each crate of a guest workspace that becomes a component.
fn members(workspace: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut members = Vec::new();
    for entry in fs::read_dir(root().join(workspace))? {
        let dir = entry?.path();
        let Ok(manifest) = fs::read_to_string(dir.join("Cargo.toml")) else { continue };
        // A provider's example is a program for this machine.
        if manifest.contains("lattice-provider") {
            continue;
        }
        if manifest.contains("cdylib") || dir.join("src/main.rs").exists() {
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            members.push((name, dir));
        }
    }
    if members.is_empty() {
        bail!("no component crate in {workspace}");
    }
    Ok(members)
}

/// Copies a component to where it is used, unless the same is there: an unchanged file keeps its time.
fn install(built: &Path, name: &str, dir: &Path) -> Result<()> {
    let from = built.join(format!("{}.wasm", name.replace('-', "_")));
    let bytes = fs::read(&from).with_context(|| format!("{} was not built", from.display()))?;
    replace(&dir.join(format!("{name}.wasm")), &bytes)
}

/// Writes a file as a whole, so that a running test never reads half of it.
fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let partial = file.with_extension(format!("partial.{}", std::process::id()));
    fs::write(&partial, bytes).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, file).with_context(|| format!("cannot write {}", file.display()))
}

/// The guest that is written in Python.
fn python_hello(target: &Path) -> Result<()> {
    let module = componentize_py()?;
    let source = root().join("tests/guests/python-hello");
    let mut sources = vec![source.join("app.py"), source.join("wit/world.wit")];
    let deps = PYTHON_WIT.map(|package| root().join("wit/deps").join(package));
    sources.extend(deps.iter().map(|dir| dir.join("package.wit")));
    // The folder's name has the version.
    let mut input = module.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
    for file in &sources {
        input.extend(fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    let hash = sha256(&input);
    let (stamp, component) = (target.join("python-hello.sha256"), guests().join("python-hello.wasm"));
    if component.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == hash) {
        return Ok(());
    }
    step("python-hello: componentizing (18 MB, with the interpreter)", || {
        // Python leaves its cache beside what it imports, so it gets a copy.
        let work = tempfile::tempdir_in(target)?;
        fs::copy(source.join("app.py"), work.path().join("app.py"))?;
        let output = work.path().join("python-hello.wasm");
        let mut python = Command::new("python3");
        python.args(["-c", "import componentize_py; componentize_py.script()", "--quiet"]);
        for dir in &deps {
            python.arg("--wit-path").arg(dir);
        }
        python.arg("--wit-path").arg(source.join("wit")).args([
            "--world",
            "test:python/python-hello",
            "componentize",
            "app",
        ]);
        run(python.arg("--output").arg(&output).arg("--python-path").arg(work.path()).env("PYTHONPATH", &module))?;
        replace(&component, &fs::read(&output)?)?;
        fs::write(&stamp, hash)?;
        Ok(())
    })
}
