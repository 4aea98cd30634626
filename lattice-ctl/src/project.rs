//! The project of a component or a provider: what it is written in, and how it is built.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::SystemTime,
};

use lattice::wire::UnitName;
use serde::Deserialize;
use tokio::process::Command;

use crate::{
    component::inspect,
    failure::{Failure, Result},
    toolchain::{self, Rustc, TARGET},
};

/// A component's or a provider's source, or a component itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Project {
    /// The folder of a crate.
    Rust(PathBuf),
    /// The folder of a crate that is a provider, a program of this machine: it depends on `lattice-provider`.
    Provider(PathBuf),
    /// A folder with `app.py`, and the WIT of its world in `wit`.
    Python(PathBuf),
    /// A folder with `app.js`, and the WIT of its world in `wit`.
    JavaScript(PathBuf),
    /// A file that somebody else builds.
    File(PathBuf),
}

/// How a component is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Soon done.
    Dev,
    /// Small.
    Release,
}

/// What makes a release soon done: for cargo, by its environment. Nothing that counts for macros as well, which would be built twice, and
/// nothing that a project with `lto` could not be built with.
const QUICK: [(&str, &str); 2] =
    [("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")];

/// What may lie beside a source and is none.
const NO_SOURCE: [&str; 4] = ["target", "node_modules", "__pycache__", "venv"];
/// The most files that are looked at.
const MOST_FILES: usize = 20_000;

/// The state of a project's files: it changes when one of them does.
pub(crate) type Fingerprint = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// A line of what cargo says in JSON, as far as it is about what it has built.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    executable: Option<PathBuf>,
}

impl Project {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let found = path.canonicalize();
        let path = found.map_err(|source| Failure::File { what: "cannot find", path: path.to_owned(), source })?;
        if path.is_file() {
            return Ok(Self::File(path));
        }
        let has = |name: &str| path.join(name).is_file();
        if has("Cargo.toml") {
            let manifest = read(&path.join("Cargo.toml"))?;
            Ok(if is_provider(&String::from_utf8_lossy(&manifest)) { Self::Provider(path) } else { Self::Rust(path) })
        } else if has("app.py") {
            Ok(Self::Python(path))
        } else if has("app.js") {
            Ok(Self::JavaScript(path))
        } else {
            Err(Failure::Refused {
                message: format!("{} is no project: it has no Cargo.toml, app.py or app.js", path.display()),
                help: "name the folder of one, or a component's file; `lattice-ctl new http NAME` makes one".to_owned(),
            })
        }
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        match self {
            Self::Rust(folder) | Self::Provider(folder) | Self::Python(folder) | Self::JavaScript(folder) => folder,
            Self::File(file) => file.parent().unwrap_or(Path::new("/")),
        }
    }

    /// What its component is called: as the folder, or the file.
    pub(crate) fn name(&self) -> Result<UnitName> {
        let path = match self {
            Self::File(path) => path,
            folder => folder.folder(),
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let name = name.trim_matches('-');
        name.parse().map_err(|_| Failure::Refused {
            message: format!("`{name}` cannot be the name of a component"),
            help: "name it with --name".to_owned(),
        })
    }

    /// Builds it. The component, or the program, comes to `output`; what the compiler says goes to stderr as it comes.
    pub(crate) async fn build(&self, profile: Profile, output: &Path) -> Result<()> {
        let bytes = match self {
            Self::Provider(folder) => {
                let program = read(&program(folder, profile).await?)?;
                return replace(output, &program, Some(PROGRAM));
            }
            Self::Rust(folder) => component(folder, profile).await?,
            Self::Python(folder) => python(folder).await?,
            Self::JavaScript(folder) => javascript(folder).await?,
            Self::File(file) => read(file)?,
        };
        let bytes = crate::build::component(bytes)?;
        if let Err(error) = inspect(&bytes) {
            return Err(Failure::Refused { message: format!("what was built {error}"), help: error.help().to_owned() });
        }
        replace(output, &bytes, None)
    }

    /// Its files as they are now.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut found = Fingerprint::new();
        match self {
            Self::File(file) => look_at(file, &mut found),
            folder => walk(folder.folder(), &mut found),
        }
        // The program lies beside its source, and nothing in its name tells that it is built.
        if let (Self::Provider(_), Ok(program)) = (self, crate::build::place(self)) {
            found.remove(&program);
        }
        found
    }
}

fn look_at(file: &Path, found: &mut Fingerprint) {
    // One that has just gone is gone.
    if let Ok(metadata) = file.metadata() {
        found.insert(file.to_owned(), (metadata.modified().ok(), metadata.len()));
    }
}

/// All files that may be source: no hidden ones, and none that are built.
fn walk(folder: &Path, found: &mut Fingerprint) {
    let Ok(entries) = folder.read_dir() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Ok(kind) = entry.file_type() else { continue };
        if name.starts_with('.') || NO_SOURCE.contains(&&*name) || found.len() >= MOST_FILES {
            continue;
        }
        match kind.is_dir() {
            true => walk(&entry.path(), found),
            // The component lies beside its source; editors write beside it, too.
            false if name.ends_with(".wasm") || name.ends_with('~') || name == "Cargo.lock" => {}
            false => look_at(&entry.path(), found),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|source| Failure::File { what: "cannot read", path: file.to_owned(), source })
}

/// The mode of a program.
const PROGRAM: u32 = 0o755;

/// Writes a file as a whole, so that nobody reads half of it; with a mode of its own, or as new files are.
fn replace(file: &Path, bytes: &[u8], mode: Option<u32>) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let partial = file.with_extension(format!("partial.{}", std::process::id()));
    let written = fs::write(&partial, bytes)
        .and_then(|()| mode.map_or(Ok(()), |mode| fs::set_permissions(&partial, fs::Permissions::from_mode(mode))))
        .and_then(|()| fs::rename(&partial, file));
    written.map_err(|source| {
        // It may not be there.
        let _ = fs::remove_file(&partial);
        Failure::File { what: "cannot write", path: file.to_owned(), source }
    })
}

/// Whether a crate's manifest makes it a provider.
fn is_provider(manifest: &str) -> bool {
    let names = |line: &str| {
        let name = line.trim().trim_start_matches("[dependencies.").strip_prefix("lattice-provider");
        name.is_some_and(|rest| rest.trim_start().starts_with(['=', '.', ']']))
    };
    manifest.lines().any(names)
}

/// Builds a crate for WebAssembly, and reads what came of it.
async fn component(folder: &Path, profile: Profile) -> Result<Vec<u8>> {
    let mut cargo = cargo(folder);
    // Of one profile, so that what both depend on is built once.
    cargo.args(["--target", TARGET, "--release"]);
    if profile == Profile::Dev {
        cargo.envs(QUICK);
    }
    if let Rustc::Other(rustc) = toolchain::rustc()? {
        // Flags and wrappers that were meant for the machine's own compiler.
        cargo.env("RUSTC", rustc);
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            cargo.env_remove(name);
        }
    }
    let is_wasm = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "wasm");
    let built = artifacts(cargo, folder).await?.into_iter().flat_map(|message| message.filenames);
    let help = "give it a library with `crate-type = [\"cdylib\"]`, or a `src/main.rs`";
    read(&only(folder, "component", built.filter(is_wasm).collect(), help)?)
}

/// Builds a crate for this machine, and returns where its program is.
async fn program(folder: &Path, profile: Profile) -> Result<PathBuf> {
    let mut cargo = cargo(folder);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    let built = artifacts(cargo, folder).await?.into_iter().filter_map(|message| message.executable);
    only(folder, "program", built.collect(), "give it a `src/main.rs`")
}

fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--message-format", "json-render-diagnostics", "--manifest-path"]);
    cargo.arg(folder.join("Cargo.toml")).current_dir(folder);
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    cargo
}

/// What cargo has built of the crate in `folder`.
async fn artifacts(mut cargo: Command, folder: &Path) -> Result<Vec<Message>> {
    let started = cargo.spawn().map_err(|error| Failure::Start {
        message: format!("cannot start cargo: {error}"),
        help: Some("install Rust with rustup (https://rustup.rs)".to_owned()),
    })?;
    let said = started.wait_with_output().await.map_err(|error| Failure::Other(format!("cargo is lost: {error}")))?;
    if !said.status.success() {
        return Err(Failure::Build);
    }
    let manifest = folder.join("Cargo.toml");
    let lines = said.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{"));
    let messages = lines.filter_map(|line| serde_json::from_slice::<Message>(line).ok());
    let ours = messages.filter(|message| {
        message.reason == "compiler-artifact" && message.manifest_path.as_deref() == Some(manifest.as_path())
    });
    Ok(ours.collect())
}

/// The one file that a crate is built for.
fn only(folder: &Path, what: &str, mut built: Vec<PathBuf>, help: &str) -> Result<PathBuf> {
    let manifest = folder.join("Cargo.toml");
    match (built.pop(), built.len()) {
        (Some(one), 0) => Ok(one),
        (None, _) => {
            Err(Failure::Refused { message: format!("{} makes no {what}", manifest.display()), help: help.to_owned() })
        }
        (Some(_), more) => Err(Failure::Refused {
            message: format!("{} makes {} {what}s", manifest.display(), more + 1),
            help: "build one that makes one".to_owned(),
        }),
    }
}

/// Makes a component of `app.js` with the world in `wit`.
async fn javascript(folder: &Path) -> Result<Vec<u8>> {
    let work = work()?;
    let output = work.path().join("app.wasm");
    let mut javascript = Command::from(toolchain::componentize_js(folder)?);
    javascript.arg("app.js").args(["--wit", "wit", "--out"]).arg(&output);
    javascript.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let status = javascript.status().await.map_err(|error| Failure::Start {
        message: format!("cannot start componentize-js: {error}"),
        help: Some("it needs node".to_owned()),
    })?;
    if status.success() { read(&output) } else { Err(Failure::Build) }
}

/// A folder for what is made on the way.
fn work() -> Result<tempfile::TempDir> {
    let failed = |source| Failure::File { what: "cannot make a folder in", path: std::env::temp_dir(), source };
    tempfile::tempdir().map_err(failed)
}

/// Makes a component of `app.py` with the world in `wit`.
async fn python(folder: &Path) -> Result<Vec<u8>> {
    let work = work()?;
    let output = work.path().join("app.wasm");
    let mut python = Command::from(toolchain::componentize_py()?);
    python.arg("--quiet").arg("--wit-path").arg(folder.join("wit")).args(["componentize", "app", "--output"]);
    python.arg(&output).arg("--python-path").arg(folder);
    // Python would leave its cache in the folder, and that would look like a change.
    python.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(work.path()).stdin(Stdio::null()).kill_on_drop(true);
    let status = python.status().await.map_err(|error| Failure::Start {
        message: format!("cannot start componentize-py: {error}"),
        help: Some("it needs python3".to_owned()),
    })?;
    if status.success() { read(&output) } else { Err(Failure::Build) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("My_Shop.v2");
        fs::create_dir(&place).unwrap();
        assert!(Project::open(&place).unwrap_err().to_string().contains("is no project"));
        fs::write(place.join("app.py"), "").unwrap();
        let project = Project::open(&place).unwrap();
        assert!(matches!(project, Project::Python(_)));
        assert_eq!(project.name().unwrap().as_str(), "my-shop");
        fs::remove_file(place.join("app.py")).unwrap();
        fs::write(place.join("app.js"), "").unwrap();
        assert!(matches!(Project::open(&place).unwrap(), Project::JavaScript(_)));
        fs::write(place.join("Cargo.toml"), "").unwrap();
        assert!(matches!(Project::open(&place).unwrap(), Project::Rust(_)));
        assert!(Project::open(&place.join("nothing")).unwrap_err().to_string().contains("cannot find"));
    }

    #[test]
    fn a_crate_that_depends_on_the_sdk_is_a_provider() {
        for yes in [
            "lattice-provider = \"0.1\"",
            "[dependencies.lattice-provider]\n",
            "a = \"1\"\nlattice-provider.workspace = true",
        ] {
            assert!(is_provider(yes), "{yes}");
        }
        for no in ["", "lattice-provider-macros = \"1\"", "name = \"lattice-provider\"", "# lattice-provider"] {
            assert!(!is_provider(no), "{no}");
        }
    }

    #[test]
    fn sources_are_looked_at_and_what_is_built_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "");
        write("src/lib.rs", "one");
        let project = Project::open(folder.path()).unwrap();
        let before = project.fingerprint();
        assert_eq!(before.len(), 2);
        for built in ["target/debug/x", "it.wasm", ".git/index", ".lattice/log", "Cargo.lock", "src/lib.rs~"] {
            write(built, "built");
        }
        assert_eq!(project.fingerprint(), before);
        write("src/lib.rs", "other");
        assert_ne!(project.fingerprint(), before);
        write("src/lib.rs", "one");
        write("wit/world.wit", "package a:b;");
        assert_eq!(project.fingerprint().len(), 3);
    }
}
