//! `push` and `pull`: components and programs, to and from OCI registries.

use std::{fs, io::Write as _, path::Path};

use bytes::Bytes;
use lattice::wire::Digest;
use oci_client::Reference;
use serde::Serialize;

use crate::{
    cli::{PullArgs, PushArgs},
    component::inspect,
    failure::{Failure, Result},
    image::{
        Wrong,
        place::Place,
        registry::{Pushed, Registries, Wanted},
        too_large,
    },
    output::Output,
    program,
};

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    image: &'a str,
    /// Of the image's manifest; `null` of what was pulled.
    image_digest: Option<String>,
    /// Of the bytes, as the lattice names them.
    digest: Digest,
    bytes: usize,
}

pub(crate) async fn push(args: &PushArgs, output: &mut Output) -> Result<()> {
    let image = registry(&args.image)?;
    let shown = args.file.display().to_string();
    let file = |source| Failure::File { what: "cannot read", path: args.file.clone(), source };
    too_large(&shown, fs::metadata(&args.file).map_err(file)?.len()).map_err(refused)?;
    let bytes = Bytes::from(fs::read(&args.file).map_err(file)?);
    let kind = match bytes.starts_with(b"\0asm") {
        true => Pushed::Component { config: config(&shown, &bytes)? },
        false => program::check(&shown, &bytes).map(|()| Pushed::Program).map_err(refused)?,
    };
    let registries = Registries::new(&args.registry)?;
    let image_digest = registries.push(&image, &bytes, &kind).await.map_err(refused)?;
    let digest = Digest::of(&bytes);
    output.say(&format!("pushed {}@{image_digest}", args.image))?;
    output.report(&Report { image: &args.image, image_digest: Some(image_digest), digest, bytes: bytes.len() })
}

pub(crate) async fn pull(args: &PullArgs, output: &mut Output) -> Result<()> {
    let image = registry(&args.image)?;
    let registries = Registries::new(&args.registry)?;
    let found = registries.find(&image, Wanted::Either).await.map_err(refused)?;
    let bytes = registries.fetch(&image, &found).await.map_err(refused)?;
    let file = |source| Failure::File { what: "cannot write", path: args.file.clone(), source };
    write(&args.file, &bytes).map_err(file)?;
    output.say(&format!("pulled {} to {} ({})", args.image, args.file.display(), found.digest))?;
    output.report(&Report { image: &args.image, image_digest: None, digest: found.digest, bytes: bytes.len() })
}

/// All of it or nothing: a file that was there stays whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

fn registry(image: &str) -> Result<Reference> {
    match Place::parse(image).map_err(refused)? {
        Place::Registry(reference) => Ok(reference),
        _ => Err(Failure::Refused {
            message: format!("{image} is in no registry"),
            help: "write oci://registry/repository:tag".to_owned(),
        }),
    }
}

fn refused(wrong: Wrong) -> Failure {
    Failure::Refused { message: wrong.message, help: wrong.help }
}

/// The configuration of a component, as the ecosystem has agreed on it. It says nothing of when: the same bytes are the same image.
fn config(file: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let inspected = inspect(bytes)
        .map_err(|error| Failure::Refused { message: format!("{file} {error}"), help: error.help().to_owned() })?;
    let names =
        |interfaces: &[lattice::wire::Interface]| interfaces.iter().map(ToString::to_string).collect::<Vec<_>>();
    let config = serde_json::json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [Digest::of(bytes)],
        "component": {
            "imports": names(&inspected.facts.imports),
            "exports": names(&inspected.facts.exports),
        },
    });
    serde_json::to_vec(&config).map_err(|error| Failure::Other(error.to_string()))
}
