//! `new`: a project to begin with.

use std::{fs, path::Path};

use lattice::wire::UnitName;

use crate::{
    cli::{Kind, NewArgs},
    failure::{Failure, Result},
    output::Output,
};

/// A file of a template: where it comes, and what is in it.
type File = (&'static str, &'static str);

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("../templates/", $name))
    };
}

macro_rules! package {
    ($name:literal) => {
        (concat!("wit/deps/", $name, "/package.wit"), include_str!(concat!("../../wit/deps/", $name, "/package.wit")))
    };
}

const HTTP: &[File] = &[
    package!("cli"),
    package!("clocks"),
    package!("filesystem"),
    package!("http"),
    package!("io"),
    package!("random"),
    package!("sockets"),
];
const KEYVALUE: File = package!("keyvalue");
const RUST: File = ("Cargo.toml", template!("rust/Cargo.toml"));

/// The files of a template; those that all have come with them.
fn files(kind: Kind) -> Vec<File> {
    let own: &[File] = match kind {
        Kind::Http => &[
            RUST,
            ("src/lib.rs", template!("http/lib.rs")),
            ("wit/world.wit", template!("http/world.wit")),
            ("app.yaml", template!("http/app.yaml")),
        ],
        Kind::HttpKeyvalue => &[
            RUST,
            ("src/lib.rs", template!("http-keyvalue/lib.rs")),
            ("wit/world.wit", template!("http-keyvalue/world.wit")),
            ("app.yaml", template!("http-keyvalue/app.yaml")),
            KEYVALUE,
        ],
        Kind::Library => &[
            RUST,
            ("src/lib.rs", template!("library/lib.rs")),
            ("wit/world.wit", template!("library/world.wit")),
            ("app.yaml", template!("library/app.yaml")),
        ],
        Kind::Python => &[
            ("app.py", template!("python/app.py")),
            ("wit/world.wit", template!("http/world.wit")),
            ("app.yaml", template!("http/app.yaml")),
        ],
        Kind::Javascript => &[
            ("app.js", template!("javascript/app.js")),
            ("package.json", template!("javascript/package.json")),
            ("wit/world.wit", template!("http/world.wit")),
            ("app.yaml", template!("http/app.yaml")),
        ],
        Kind::Provider => &[
            ("Cargo.toml", template!("provider/Cargo.toml")),
            ("src/main.rs", template!("provider/main.rs")),
            ("wit/world.wit", template!("provider/world.wit")),
            ("app.yaml", template!("provider/app.yaml")),
        ],
    };
    let packages: &[File] = if matches!(kind, Kind::Library | Kind::Provider) { &[] } else { HTTP };
    let ignored = match kind {
        Kind::Provider => "/target\n/.lattice\n/{{name}}\n",
        _ => "/target\n/.lattice\n/*.wasm\n__pycache__\nnode_modules\n",
    };
    let all = [(".gitignore", ignored)];
    own.iter().chain(packages).chain(&all).copied().collect()
}

/// A name that all languages and manifests take.
pub(crate) fn parse_name(text: &str) -> std::result::Result<UnitName, String> {
    let name: UnitName = text.parse().map_err(|error: lattice::wire::IdError| error.to_string())?;
    let words = || text.split('-').all(|word| word.starts_with(|first: char| first.is_ascii_lowercase()));
    match text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') && words() {
        true => Ok(name),
        false => Err("write lowercase words, with - between them, each beginning with a letter".to_owned()),
    }
}

pub(crate) fn run(args: &NewArgs, output: &mut Output) -> Result<()> {
    let folder = args.folder.clone().unwrap_or_else(|| args.name.as_str().into());
    if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::Refused {
            message: format!("there is something in {} already", folder.display()),
            help: "name another folder with --folder".to_owned(),
        });
    }
    let sdk = match args.kind {
        Kind::Provider => sdk(args.sdk.as_deref())?,
        _ => String::new(),
    };
    for (path, text) in files(args.kind) {
        write(&folder.join(path), &fill_in(text, &args.name).replace("{{sdk}}", &sdk))?;
    }
    let shown = folder.display();
    output.say(&format!("made {shown}; next: cd {shown} && lattice-ctl dev"))?;
    output.report(&serde_json::json!({ "name": args.name, "folder": folder }))
}

/// Where the SDK of providers is, as Cargo.toml writes it.
fn sdk(named: Option<&Path>) -> Result<String> {
    let built_from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../providers/sdk"));
    let folder = named.unwrap_or(built_from);
    let found = folder.canonicalize().ok().filter(|folder| folder.join("Cargo.toml").is_file());
    let text = found.as_deref().and_then(Path::to_str).filter(|text| !text.contains(['"', '\\']));
    text.map(str::to_owned).ok_or_else(|| Failure::Refused {
        message: format!("there is no SDK of providers in {}", folder.display()),
        help: "name the folder `providers/sdk` of this project's source with --sdk".to_owned(),
    })
}

fn fill_in(text: &str, name: &UnitName) -> String {
    text.replace("{{name}}", name.as_str()).replace("{{snake}}", &name.as_str().replace('-', "_"))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(parent).and_then(|()| fs::write(path, text));
    written.map_err(|source| Failure::File { what: "cannot write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::{cli::Format, source::Source, wit::Wit};

    #[test]
    fn every_template_has_wit_and_a_manifest_that_can_be_read() {
        for kind in Kind::value_variants() {
            let folder = tempfile::tempdir().unwrap();
            let (mut output, _) = Output::captured(Format::Table);
            let place = folder.path().join("it");
            let args =
                NewArgs { kind: *kind, name: parse_name("my-thing").unwrap(), folder: Some(place.clone()), sdk: None };
            run(&args, &mut output).unwrap();
            Wit::read(&place.join("wit")).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            let manifest = Source::read(place.join("app.yaml").to_str().unwrap()).unwrap().parse().unwrap();
            assert_eq!(manifest.metadata.name.value, "my-thing");
            for (file, _) in files(*kind) {
                assert!(!fs::read_to_string(place.join(file)).unwrap().contains("{{"), "{kind:?}: {file}");
            }
            // What is there is not written over.
            assert!(run(&args, &mut output).unwrap_err().to_string().contains("there is something in"));
        }
    }

    #[test]
    fn names_are_those_of_crates_and_packages() {
        assert!(parse_name("shop-2").is_err() && parse_name("Shop").is_err() && parse_name("-a").is_err());
        assert!(parse_name("shop").is_ok() && parse_name("my-shop2").is_ok());
    }
}
