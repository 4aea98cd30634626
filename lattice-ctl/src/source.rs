//! Manifests and where they stand.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
};

use lattice::{
    bus::Bus,
    model::{
        manifest::{self, Manifest},
        problem::Problem,
    },
};

use crate::{
    cli::ManifestOptions,
    failure::{Failure, Result},
    image::{Origins, registry::Registries},
    problems::Rejected,
};

/// The largest manifest, in bytes: it travels in one message of NATS, together with what is made of it.
const MAX_MANIFEST: u64 = 512 * 1024;
/// The most files of one folder.
const MAX_FILES: usize = 1000;

/// A manifest's text, and the folder that its images are relative to.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// As the user named it.
    pub(crate) name: String,
    /// In a file of several manifests all others are blank: places are those of the file.
    pub(crate) text: String,
    pub(crate) folder: PathBuf,
}

impl Source {
    /// Where its images are looked for.
    pub(crate) fn origins<'o>(&'o self, bus: Option<&'o Bus>, registries: &'o Registries) -> Origins<'o> {
        Origins { folder: &self.folder, artifacts: bus.map(Bus::artifacts), registries }
    }

    /// The one manifest in `file`, or on stdin when it is `-`.
    pub(crate) fn read(file: &str) -> Result<Self> {
        if Path::new(file).is_dir() {
            return Err(unreadable(file, "it is a folder"));
        }
        match documents(read_file(file)?).as_slice() {
            [one] => Ok(one.clone()),
            many => Err(unreadable(file, &format!("it has {} manifests, and one is wanted here", many.len()))),
        }
    }

    /// All manifests that the options name: of files, of stdin, and of the files in folders.
    pub(crate) fn read_all(options: &ManifestOptions) -> Result<Vec<(Self, Manifest)>> {
        let mut files = Vec::new();
        for file in &options.file {
            match Path::new(file) {
                path if path.is_dir() => files.extend(in_folder(path)?),
                _ => files.push(file.clone()),
            }
        }
        let mut all = Vec::new();
        for file in files {
            let mut source = read_file(&file)?;
            source.text = fill_in(&source, options)?;
            for source in documents(source) {
                let manifest = source.parse()?;
                all.push((source, manifest));
            }
        }
        let mut names = BTreeMap::new();
        for (source, manifest) in &all {
            let name = &manifest.metadata.name;
            if let Some(first) = names.insert(name.value.clone(), source.name.clone()) {
                let problem = Problem::at(name, format!("app `{}` is in {first} as well", name.value));
                return Err(source.rejected(vec![problem.help("remove one of the two")]));
            }
        }
        Ok(in_order(all))
    }

    /// The manifest alone.
    pub(crate) fn own_text(&self) -> String {
        match self.text.trim_start_matches(['\n', '\r', ' ']) {
            // A file of one manifest is kept as it is.
            text if text.len() == self.text.len() => self.text.clone(),
            text => text.trim_end().to_owned() + "\n",
        }
    }

    pub(crate) fn parse(&self) -> Result<Manifest> {
        manifest::read(&self.text).map_err(|problems| self.rejected(problems))
    }

    /// These problems, beside this text.
    pub(crate) fn rejected(&self, mut problems: Vec<Problem>) -> Failure {
        problems.sort_by_key(|p| p.place.map(|place| place.offset));
        Failure::Rejected(Box::new(Rejected { name: self.name.clone(), text: self.text.clone(), problems }))
    }
}

/// Apps after those whose units they are linked to, else in their order.
fn in_order(mut left: Vec<(Source, Manifest)>) -> Vec<(Source, Manifest)> {
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |(_, manifest): &(Source, Manifest)| {
            left.iter().any(|(_, other)| {
                other.metadata.name.value != manifest.metadata.name.value
                    && manifest
                        .links()
                        .any(|(.., link)| link.to.value.starts_with(&format!("{}/", other.metadata.name.value)))
            })
        };
        // Where two wait for each other the first goes first, and is told what it lacks.
        let next = left.iter().position(|one| !waits(one)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

/// The manifests in a folder, by name.
fn in_folder(folder: &Path) -> Result<Vec<String>> {
    let shown = folder.display().to_string();
    let entries = fs::read_dir(folder).map_err(|error| unreadable(&shown, &error.to_string()))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let is_manifest =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let mut files: Vec<_> = paths.filter(is_manifest).map(|path| path.display().to_string()).collect();
    files.sort();
    match files.len() {
        0 => Err(unreadable(&shown, "no file in it ends with .yaml or .yml")),
        1..=MAX_FILES => Ok(files),
        many => Err(unreadable(&shown, &format!("it has {many} manifests, and {MAX_FILES} are the most"))),
    }
}

fn read_file(file: &str) -> Result<Source> {
    let here = || env::current_dir().map_err(|e| unreadable(file, &e.to_string()));
    let (name, folder, read) = if file == "-" {
        ("<stdin>", here()?, read_limited(io::stdin().lock()))
    } else {
        let path = Path::new(file);
        let parent = path.parent().unwrap_or(Path::new(""));
        (file, here()?.join(parent), fs::File::open(path).and_then(read_limited))
    };
    let bytes = read.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => unreadable(name, "there is no such file"),
        _ => unreadable(name, &e.to_string()),
    })?;
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(unreadable(name, &format!("it is larger than {MAX_MANIFEST} bytes")));
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| unreadable(name, &format!("byte {} is not UTF-8 text", e.utf8_error().valid_up_to())))?;
    Ok(Source { name: name.to_owned(), text, folder })
}

/// Each document of a file, with the others blank.
fn documents(source: Source) -> Vec<Source> {
    let (mut parts, mut begin): (Vec<Range<usize>>, usize) = (Vec::new(), 0);
    let mut offset = 0;
    for line in source.text.split_inclusive('\n') {
        let after = offset + line.len();
        if line.trim_end() == "---" || line.starts_with("--- ") {
            parts.push(begin..offset);
            begin = after;
        }
        offset = after;
    }
    parts.push(begin..source.text.len());
    let says_something = |part: &Range<usize>| {
        let mut lines = source.text[part.clone()].lines().map(str::trim);
        lines.any(|line| !line.is_empty() && !line.starts_with('#'))
    };
    parts.retain(says_something);
    match parts.as_slice() {
        // What is wrong with an empty file is for the parser to say.
        [] | [_] => vec![source],
        many => {
            let blank = |text: &str| {
                text.chars().map(|c| if c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) }).collect()
            };
            let one = |part: &Range<usize>| {
                let (before, after): (String, String) =
                    (blank(&source.text[..part.start]), blank(&source.text[part.end..]));
                Source { text: before + &source.text[part.clone()] + &after, ..source.clone() }
            };
            many.iter().map(one).collect()
        }
    }
}

/// The text with `${NAME}` replaced by what `--set` or the environment has for it. Without either nothing is replaced.
fn fill_in(source: &Source, options: &ManifestOptions) -> Result<String> {
    if options.set.is_empty() && !options.env {
        return Ok(source.text.clone());
    }
    let value = |name: &str| {
        let set = options.set.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        set.or_else(|| options.env.then(|| env::var(name).ok()).flatten())
    };
    let mut text = String::new();
    let mut rest = source.text.as_str();
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(kept) = before.strip_suffix('$') {
            // `$${` is a dollar sign and a bracket.
            text += kept;
            text += "${";
            rest = &from[2..];
            continue;
        }
        text += before;
        let name = from[2..].split_once('}').map(|(name, _)| name);
        let name = name.filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        let line = 1 + text.matches('\n').count();
        let Some(name) = name else {
            return Err(unreadable(
                &source.name,
                &format!("line {line} has `${{` without a name and `}}`; `$${{` writes it as it is"),
            ));
        };
        text += &value(name).ok_or_else(|| {
            unreadable(
                &source.name,
                &format!("line {line} has ${{{name}}}, and nothing says what that is: add --set {name}=VALUE"),
            )
        })?;
        rest = &from[name.len() + 3..];
    }
    Ok(text + rest)
}

fn read_limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_MANIFEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &str, reason: &str) -> Failure {
    Failure::ManifestFile { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(file: &Path) -> String {
        Source::read(file.to_str().unwrap()).unwrap_err().to_string()
    }

    fn options(file: &Path, set: &[(&str, &str)]) -> ManifestOptions {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ManifestOptions { file: vec![file.display().to_string()], set, env: false }
    }

    fn app(name: &str, to: &str) -> String {
        format!(
            "apiVersion: lattice/v1\nkind: App\nmetadata: {{ name: {name} }}\nspec:\n  components:\n    one: {{ image: x.wasm, links: {{ \
             acme:one: {to} }} }}\n"
        )
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert!(reason(dir.path()).ends_with(": it is a folder"));
        assert!(reason(&dir.path().join("no.yaml")).ends_with(": there is no such file"));
        let file = dir.path().join("latin1.yaml");
        fs::write(&file, b"kind: \xfc").unwrap();
        assert!(reason(&file).ends_with(": byte 6 is not UTF-8 text"));
        fs::write(&file, vec![b'#'; MAX_MANIFEST as usize + 1]).unwrap();
        assert!(reason(&file).ends_with(": it is larger than 524288 bytes"));
        fs::write(&file, "a: 1\n---\nb: 2\n").unwrap();
        assert!(reason(&file).ends_with(": it has 2 manifests, and one is wanted here"));
        let empty = tempfile::tempdir().unwrap();
        let failure = Source::read_all(&options(empty.path(), &[])).unwrap_err().to_string();
        assert!(failure.ends_with(": no file in it ends with .yaml or .yml"), "{failure}");
    }

    #[test]
    fn each_document_of_each_file_is_a_manifest_at_its_own_place() {
        let dir = tempfile::tempdir().unwrap();
        let both = format!("# ä comment\n---\n{}--- # and\n{}", app("shop", "bank/rates"), app("bank", "two"));
        fs::write(dir.path().join("b.yaml"), both).unwrap();
        fs::write(dir.path().join("a.yml"), app("first", "two")).unwrap();
        fs::write(dir.path().join("notes.txt"), "nothing").unwrap();
        let all = Source::read_all(&options(dir.path(), &[])).unwrap();
        let names: Vec<_> = all.iter().map(|(_, manifest)| manifest.metadata.name.value.as_str()).collect();
        assert_eq!(names, ["first", "bank", "shop"], "who is linked to others comes after them");
        let (bank, manifest) = &all[1];
        assert_eq!(manifest.metadata.name.referenced.line(), 12);
        assert_eq!(bank.own_text(), app("bank", "two"));
        assert_eq!(all[0].0.own_text(), app("first", "two"));
        // Twice the same app.
        fs::write(dir.path().join("c.yaml"), app("shop", "two")).unwrap();
        let Err(Failure::Rejected(twice)) = Source::read_all(&options(dir.path(), &[])) else { panic!() };
        assert!(twice.problems[0].message.contains("app `shop` is in"), "{:?}", twice.problems);
    }

    #[test]
    fn values_are_filled_in_where_somebody_asks_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.yaml");
        let source = |text: &str| {
            fs::write(&file, text).unwrap();
            read_file(file.to_str().unwrap()).unwrap()
        };
        let text = "name: ${NAME}\nport: ${PORT}${PORT} $${NAME} $x\n";
        assert_eq!(fill_in(&source(text), &options(&file, &[])).unwrap(), text);
        let set = options(&file, &[("NAME", "no"), ("PORT", "80"), ("NAME", "shop")]);
        assert_eq!(fill_in(&source(text), &set).unwrap(), "name: shop\nport: 8080 ${NAME} $x\n");
        for (text, reason) in [
            ("a\nb: ${WHO}", "line 2 has ${WHO}, and nothing says what that is: add --set WHO=VALUE"),
            ("a: ${", "line 1 has `${` without a name and `}`; `$${` writes it as it is"),
            ("a: ${a b}", "line 1 has `${` without a name and `}`; `$${` writes it as it is"),
        ] {
            let failure = fill_in(&source(text), &set).unwrap_err().to_string();
            assert!(failure.ends_with(reason), "{failure}");
        }
    }
}
