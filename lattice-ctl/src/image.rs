//! From `image:` of a component to its bytes, or to what is wrong with it; and what all images of a manifest are.

pub(crate) mod place;
pub(crate) mod registry;
mod web;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use lattice::{
    bus::{ArtifactError, Artifacts, MAX_ARTIFACT},
    model::{
        check::ComponentFacts,
        manifest::Manifest,
        problem::{Problem, nearest},
    },
    wire::Digest,
};

use serde_saphyr::Spanned;

use self::{
    place::Place,
    registry::{Registries, Wanted},
};
use crate::{
    component::{InspectError, inspect},
    failure::Result,
    program,
    wit::Wit,
};

/// What the components and programs of a manifest are.
#[derive(Debug, Default)]
pub(crate) struct Images {
    /// By unit name.
    pub(crate) facts: BTreeMap<String, ComponentFacts>,
    /// Files that the lattice may not have yet.
    pub(crate) files: Vec<Bytes>,
    pub(crate) problems: Vec<Problem>,
    /// Whether an image was left out, because only the lattice has it.
    pub(crate) incomplete: bool,
}

impl Images {
    /// Reads every image of `manifest`.
    pub(crate) async fn read(manifest: &Manifest, origins: Origins<'_>) -> Result<Self> {
        let mut images = Self::default();
        images.components(manifest, origins).await?;
        images.programs(manifest, origins).await?;
        Ok(images)
    }

    /// The bytes of an image, unless something is wrong with it, or only the lattice has it.
    async fn get(&mut self, image: &Spanned<String>, wanted: Wanted, origins: Origins<'_>) -> Result<Option<Got>> {
        match origins.get(&image.value, wanted).await? {
            Ok(Some(got)) => return Ok(Some(got)),
            Ok(None) => self.incomplete = true,
            Err(wrong) => self.wrong(image, wrong),
        }
        Ok(None)
    }

    fn wrong(&mut self, image: &Spanned<String>, Wrong { message, help }: Wrong) {
        self.problems.push(Problem::at(image, message).help(help));
    }

    async fn components(&mut self, manifest: &Manifest, origins: Origins<'_>) -> Result<()> {
        for (key, component) in &manifest.spec.components.0 {
            let image = &component.image;
            let Some(Got { bytes, is_there }) = self.get(image, Wanted::Component, origins).await? else { continue };
            match inspect(&bytes) {
                Ok(inspected) => drop(self.facts.insert(key.value.clone(), inspected.facts)),
                Err(error) => {
                    self.wrong(image, wrong_kind(&image.value, &error));
                    continue;
                }
            }
            if !is_there {
                self.files.push(bytes);
            }
        }
        Ok(())
    }

    async fn programs(&mut self, manifest: &Manifest, origins: Origins<'_>) -> Result<()> {
        for (key, provider) in &manifest.spec.providers.0 {
            let Some(image) = &provider.image else { continue };
            let Some(Got { bytes, is_there }) = self.get(image, Wanted::Program, origins).await? else { continue };
            if let Err(wrong) = program::check(&image.value, &bytes) {
                self.wrong(image, wrong);
                continue;
            }
            let folder = origins.folder;
            let described = match provider.wit.as_ref().map(|wit| (wit, Wit::read(&absolute(folder, &wit.value)))) {
                None => None,
                Some((_, Ok(described))) => Some(described),
                Some((wit, Err(reason))) => {
                    let problem = Problem::at(wit, format!("cannot read the WIT in {}: {reason}", wit.value));
                    self.problems.push(problem.help("name a folder with one WIT package, or its file"));
                    continue;
                }
            };
            let facts = ComponentFacts {
                digest: Digest::of(&bytes),
                imports: Vec::new(),
                // What it serves stands in the manifest.
                exports: Vec::new(),
                import_shapes: BTreeMap::new(),
                export_shapes: described.as_ref().map(|(wit, _)| wit.shapes()).unwrap_or_default(),
                wit: described.as_ref().map(|(_, bytes)| Digest::of(bytes)),
            };
            self.facts.insert(key.value.clone(), facts);
            self.files.extend(described.map(|(_, bytes)| bytes));
            if !is_there {
                self.files.push(bytes);
            }
        }
        Ok(())
    }
}

/// What is wrong with an image, and the way out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) help: String,
}

pub(crate) fn wrong(message: impl Into<String>, help: impl Into<String>) -> Wrong {
    Wrong { message: message.into(), help: help.into() }
}

/// What an error of a network's client comes from: all before it repeats the address.
fn innermost(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map_or_else(String::new, ToString::to_string)
}

fn wrong_kind(image: &str, error: &InspectError) -> Wrong {
    wrong(format!("{image} {error}"), error.help())
}

pub(crate) fn too_large(image: &str, size: u64) -> std::result::Result<(), Wrong> {
    if size <= MAX_ARTIFACT as u64 {
        return Ok(());
    }
    Err(wrong(
        format!("{image} has {size} bytes, over the limit of {MAX_ARTIFACT} bytes"),
        "build it for release and strip debug information",
    ))
}

/// Where images are looked for.
#[derive(Clone, Copy)]
pub(crate) struct Origins<'o> {
    /// Files are relative to it.
    pub(crate) folder: &'o Path,
    /// Without them images that only the lattice has are left out.
    pub(crate) artifacts: Option<&'o Artifacts>,
    pub(crate) registries: &'o Registries,
}

/// An image's bytes.
struct Got {
    bytes: Bytes,
    /// Whether the lattice has them already.
    is_there: bool,
}

impl Origins<'_> {
    /// The bytes that `image` names; `None` when only the lattice has them, and it cannot be asked.
    async fn get(&self, image: &str, wanted: Wanted) -> Result<std::result::Result<Option<Got>, Wrong>> {
        let place = match Place::parse(image) {
            Ok(place) => place,
            Err(wrong) => return Ok(Err(wrong)),
        };
        let fresh = |bytes| Some(Got { bytes, is_there: false });
        match place {
            Place::File(path) if wanted == Wanted::Program => Ok(program::read(self.folder, &path).map(fresh)),
            Place::File(path) => Ok(read_file(self.folder, &path).map(fresh)),
            Place::Lattice(digest) => match self.artifacts {
                None => Ok(Ok(None)),
                Some(artifacts) => {
                    let stored = stored(artifacts, &digest).await?;
                    Ok(stored.map(|bytes| Some(Got { bytes, is_there: true })))
                }
            },
            Place::Web { url, digest } => match self.known(&digest).await? {
                Some(known) => Ok(Ok(Some(known))),
                None => Ok(self.registries.fetch_file(&url, &digest).await.map(fresh)),
            },
            Place::Registry(reference) => {
                let found = match self.registries.find(&reference, wanted).await {
                    Ok(found) => found,
                    Err(wrong) => return Ok(Err(wrong)),
                };
                match self.known(&found.digest).await? {
                    Some(known) => Ok(Ok(Some(known))),
                    None => Ok(self.registries.fetch(&reference, &found).await.map(fresh)),
                }
            }
        }
    }

    /// What the lattice has already need not be fetched from elsewhere.
    async fn known(&self, digest: &Digest) -> Result<Option<Got>> {
        let Some(artifacts) = self.artifacts else { return Ok(None) };
        if !artifacts.has(digest).await? {
            return Ok(None);
        }
        Ok(stored(artifacts, digest).await?.ok().map(|bytes| Got { bytes, is_there: true }))
    }
}

async fn stored(artifacts: &Artifacts, digest: &Digest) -> Result<std::result::Result<Bytes, Wrong>> {
    match artifacts.get(digest).await {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(ArtifactError::Missing(_)) => {
            Ok(Err(wrong(format!("the lattice has no artifact {digest}"), "name the file that has these bytes")))
        }
        Err(error @ ArtifactError::Damaged { .. }) => {
            Ok(Err(wrong(error.to_string(), "name the file that has these bytes")))
        }
        Err(error) => Err(error.into()),
    }
}

fn read_file(folder: &Path, image: &str) -> std::result::Result<Bytes, Wrong> {
    let path = absolute(folder, image);
    let metadata = fs::metadata(&path).map_err(|error| cannot_read(&path, &error))?;
    if metadata.is_dir() {
        let inside = wasm_files(&path);
        let help = match inside.first() {
            Some(first) => format!("name the file in it, such as `{}`", Path::new(image).join(first).display()),
            None => "name the .wasm file itself".to_owned(),
        };
        return Err(wrong(format!("{} is a folder", path.display()), help));
    }
    if !metadata.is_file() {
        return Err(wrong(format!("{} is not a regular file", path.display()), "name a .wasm file"));
    }
    // Before the bytes are in memory.
    too_large(image, metadata.len())?;
    let bytes = fs::read(&path).map_err(|error| cannot_read(&path, &error))?;
    Ok(bytes.into())
}

/// `image` in `folder`, without the `.` in between.
pub(crate) fn absolute(folder: &Path, image: &str) -> PathBuf {
    folder.join(image).components().collect()
}

fn cannot_read(path: &Path, error: &io::Error) -> Wrong {
    if error.kind() != io::ErrorKind::NotFound {
        return wrong(format!("cannot read {}: {error}", path.display()), "make it a file that you may read");
    }
    let message = format!("there is no file {}", path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let parent = path.parent().unwrap_or(Path::new("/"));
    let neighbours = wasm_files(parent);
    if let Some(near) = nearest(&name, neighbours.iter().map(String::as_str)) {
        return wrong(message, format!("did you mean `{near}`, which is in the same folder?"));
    }
    // The folder of a Rust project, also when the image is in its `target` and that is not there yet.
    match path.ancestors().skip(1).find(|folder| folder.join("Cargo.toml").is_file()) {
        Some(project) => wrong(
            message,
            format!(
                "build it in {}, for example with `cargo build --release --target wasm32-wasip2`, and let `image:` \
                 name the file that this makes",
                project.display()
            ),
        ),
        None => wrong(message, "paths are relative to the manifest; build the component, or correct the path"),
    }
}

fn wasm_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".wasm"))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use lattice::{bus::Bus, model::manifest::parse};

    use super::*;
    use crate::component::tests::component;

    fn origins<'o>(folder: &'o Path, bus: &'o Bus, registries: &'o Registries) -> Origins<'o> {
        Origins { folder, artifacts: Some(bus.artifacts()), registries }
    }

    async fn problems(folder: &Path, image: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: lattice/v1\nkind: App\nmetadata: {{ name: shop }}\nspec:\n  components:\n    cart: {{ image: \
             \"{image}\" }}\n"
        );
        let bus = Bus::memory("default".parse().unwrap());
        let registries = Registries::default();
        let images = Images::read(&parse(&text).unwrap(), origins(folder, &bus, &registries)).await.unwrap();
        let show = |p: &Problem| {
            let place = p.place.unwrap();
            format!("{}:{}: {} / {}", place.line, place.column, p.message, p.help.as_deref().unwrap_or("-"))
        };
        images.problems.iter().map(show).collect()
    }

    #[tokio::test]
    async fn a_missing_file_names_the_path_and_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        assert_eq!(
            problems(dir.path(), "./cart.wasm").await,
            [format!(
                "6:20: there is no file {at}/cart.wasm / paths are relative to the manifest; build the component, or \
                 correct the path"
            )]
        );
        fs::write(dir.path().join("Cargo.toml"), "").unwrap();
        let found = problems(dir.path(), "target/wasm32-wasip2/release/cart.wasm").await;
        assert!(
            found[0].contains(&format!("/ build it in {at}, for example with `cargo build --release")),
            "{found:?}"
        );
        fs::write(dir.path().join("carts.wasm"), "").unwrap();
        let found = problems(dir.path(), "cart.wasm").await;
        assert!(found[0].ends_with("/ did you mean `carts.wasm`, which is in the same folder?"), "{found:?}");
        let found = problems(dir.path(), ".").await;
        assert_eq!(found, [format!("6:20: {at} is a folder / name the file in it, such as `./carts.wasm`")]);
    }

    #[tokio::test]
    async fn a_file_of_another_kind_is_placed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cart.wasm"), "hello").unwrap();
        assert_eq!(
            problems(dir.path(), "cart.wasm").await,
            [
                "6:20: cart.wasm is not WebAssembly: it begins with `hello` / name a component: a .wasm file made for the \
              target wasm32-wasip2"
            ]
        );
        let sparse = fs::File::create(dir.path().join("big.wasm")).unwrap();
        sparse.set_len(MAX_ARTIFACT as u64 + 1).unwrap();
        let found = problems(dir.path(), "big.wasm").await;
        assert!(found[0].starts_with("6:20: big.wasm has 268435457 bytes, over the limit of"), "{found:?}");
        let found = problems(dir.path(), "ftp://example.com/cart").await;
        assert!(found[0].starts_with("6:20: images cannot be fetched with ftp://"), "{found:?}");
    }

    #[tokio::test]
    async fn a_digest_names_what_the_lattice_has() {
        let bytes = Bytes::from(component(&[], &["wasi:http/incoming-handler@0.2.3"]));
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest::of(&bytes);
        assert_eq!(
            problems(dir.path(), digest.as_str()).await,
            [format!("6:20: the lattice has no artifact {digest} / name the file that has these bytes")]
        );
        assert!(problems(dir.path(), "sha256:abc").await[0].starts_with("6:20: \"sha256:abc\" is not a digest"));
        let bus = Bus::memory("default".parse().unwrap());
        bus.artifacts().put(&bytes).await.unwrap();
        let registries = Registries::default();
        let found = origins(dir.path(), &bus, &registries).get(digest.as_str(), Wanted::Component).await.unwrap();
        let found = found.unwrap().unwrap();
        assert!(found.is_there && found.bytes == bytes);
    }
}
