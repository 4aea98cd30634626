//! A manifest and where it stands.

use std::{
    env, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use lattice::model::{
    manifest::{self, Manifest},
    problem::Problem,
};

use crate::{
    failure::{Failure, Result},
    problems::Rejected,
};

/// The largest manifest, in bytes: it travels in one message of NATS, together with what is made of it.
const MAX_MANIFEST: u64 = 512 * 1024;

/// A manifest's text, and the folder that its images are relative to.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// As the user named it.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) folder: PathBuf,
}

impl Source {
    /// Reads `file`, or stdin when it is `-`.
    pub(crate) fn read(file: &str) -> Result<Self> {
        let here = || env::current_dir().map_err(|e| unreadable(file, &e.to_string()));
        let (name, folder, read) = if file == "-" {
            ("<stdin>", here()?, read_limited(io::stdin().lock()))
        } else {
            let path = Path::new(file);
            if path.is_dir() {
                return Err(unreadable(file, "it is a folder"));
            }
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
        Ok(Self { name: name.to_owned(), text, folder })
    }

    pub(crate) fn parse(&self) -> Result<Manifest> {
        manifest::parse(&self.text).map_err(|problem| self.rejected(vec![problem]))
    }

    /// These problems, beside this text.
    pub(crate) fn rejected(&self, mut problems: Vec<Problem>) -> Failure {
        problems.sort_by_key(|p| p.place.map(|place| place.offset));
        Failure::Rejected(Box::new(Rejected { name: self.name.clone(), text: self.text.clone(), problems }))
    }
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
    }
}
