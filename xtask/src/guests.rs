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

/// The components in Python: their folder, which has an `app.py`, and their world of `wit/worlds.wit`.
const PYTHON: [(&str, &str); 2] = [("tests/guests/python-hello", "http"), ("examples/python", "http-keyvalue")];

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
    PYTHON.iter().try_for_each(|(folder, world)| python(&root().join(folder), world, &target))
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

/// A guest that is written in Python; it is called as its folder.
fn python(source: &Path, world: &str, target: &Path) -> Result<()> {
    let module = componentize_py()?;
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    // The module's folder has its version in its name.
    let mut input = module.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
    input.extend(world.bytes());
    let wit = root().join("wit");
    for file in [source.join("app.py"), wit.join("worlds.wit")].into_iter().chain(packages(&wit)?) {
        input.extend(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    let hash = sha256(&input);
    // Those of the examples also beside their manifests, as all examples.
    let example = source.parent() == Some(&root().join("examples"));
    let places = [Some(guests()), example.then(|| source.to_owned())].into_iter().flatten();
    let components: Vec<_> = places.map(|place| place.join(format!("{name}.wasm"))).collect();
    let stamp = target.join(format!("{name}.sha256"));
    if components.iter().all(|file| file.exists()) && fs::read_to_string(&stamp).is_ok_and(|old| old == hash) {
        return Ok(());
    }
    step(&format!("{name}: componentizing (18 MB, with the interpreter)"), || {
        // Python leaves its cache beside what it imports, so it gets a copy.
        let work = tempfile::tempdir_in(target)?;
        fs::copy(source.join("app.py"), work.path().join("app.py"))?;
        let output = work.path().join("app.wasm");
        let mut python = Command::new("python3");
        python.args(["-c", "import componentize_py; componentize_py.script()", "--quiet", "--wit-path"]).arg(&wit);
        python.args(["--world", &format!("lattice:worlds/{world}"), "componentize", "app", "--output"]).arg(&output);
        run(python.arg("--python-path").arg(work.path()).env("PYTHONPATH", &module))?;
        let bytes = fs::read(&output)?;
        components.iter().try_for_each(|file| replace(file, &bytes))?;
        fs::write(&stamp, hash)?;
        Ok(())
    })
}

/// The packages that our worlds are made of, always in the same order.
fn packages(wit: &Path) -> Result<Vec<PathBuf>> {
    let folders = fs::read_dir(wit.join("deps")).with_context(|| format!("cannot read {}", wit.display()))?;
    let mut files = folders.map(|folder| Ok(folder?.path().join("package.wit"))).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}
