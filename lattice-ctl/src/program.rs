//! From `image:` of a provider to bytes that are a program, or to what is wrong with it.

use std::{fs, io, path::Path};

use bytes::Bytes;
use lattice::model::problem::nearest;

use crate::{
    component::beginning,
    image::{Wrong, absolute, too_large, wrong},
};

/// How the files of programs begin, other than scripts: ELF, and Mach-O of 64 bits.
const MAGIC: [&[u8]; 2] = [b"\x7fELF", b"\xcf\xfa\xed\xfe"];
const HELP: &str = "name an executable for the system of the hosts, or a script whose first line names its interpreter, \
                    such as `#!/usr/bin/env python3`";

/// The bytes of a file that is a program.
pub(crate) fn read(folder: &Path, image: &str) -> Result<Bytes, Wrong> {
    let path = absolute(folder, image);
    let metadata = fs::metadata(&path).map_err(|error| cannot_read(&path, &error))?;
    if metadata.is_dir() {
        return Err(wrong(format!("{} is a folder", path.display()), "name the executable file in it"));
    }
    if !metadata.is_file() {
        return Err(wrong(format!("{} is not a regular file", path.display()), HELP));
    }
    // Before the bytes are in memory.
    too_large(image, metadata.len())?;
    let bytes = fs::read(&path).map_err(|error| cannot_read(&path, &error))?;
    Ok(bytes.into())
}

/// Whether the bytes of `image` can be started as a program.
pub(crate) fn check(image: &str, bytes: &[u8]) -> Result<(), Wrong> {
    if MAGIC.iter().any(|magic| bytes.starts_with(magic)) {
        return Ok(());
    }
    if bytes.starts_with(b"\0asm") {
        let help = "a component goes under `components:`, and is linked to in the same way";
        return Err(wrong(format!("{image} is WebAssembly, not a program"), help));
    }
    if !bytes.starts_with(b"#!") {
        let found = if bytes.is_empty() { "is empty".to_owned() } else { format!("begins with {}", beginning(bytes)) };
        return Err(wrong(format!("{image} is not a program: it {found}"), HELP));
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        let help = "save it with the line ends of Unix: the carriage return would be a part of the interpreter's name";
        return Err(wrong(format!("the first line of {image} ends with a carriage return"), help));
    }
    Ok(())
}

fn cannot_read(path: &Path, error: &io::Error) -> Wrong {
    if error.kind() != io::ErrorKind::NotFound {
        return wrong(format!("cannot read {}: {error}", path.display()), "make it a file that you may read");
    }
    let message = format!("there is no file {}", path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let entries = fs::read_dir(path.parent().unwrap_or(Path::new("/"))).into_iter().flatten().flatten();
    let files: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    match nearest(&name, files.iter().map(String::as_str)) {
        Some(near) => wrong(message, format!("did you mean `{near}`, which is in the same folder?")),
        None => wrong(message, "paths are relative to the manifest; build the program, or correct the path"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_is_named() {
        for good in [&b"\x7fELF\x02"[..], b"#!/bin/sh\n", b"#!/usr/bin/env python3\nprint()\r\n"] {
            check("x", good).unwrap();
        }
        for (bytes, message) in [
            (&b""[..], "x is not a program: it is empty"),
            (b"print()\n", "x is not a program: it begins with `print()`"),
            (b"PK\x03\x04..", "x is not a program: it begins with the mark of a zip archive"),
            (b"\0asm\x0d\0\x01\0", "x is WebAssembly, not a program"),
            (b"#!/bin/sh\r\necho", "the first line of x ends with a carriage return"),
        ] {
            assert_eq!(check("x", bytes).unwrap_err().message, message);
        }
    }

    #[test]
    fn a_file_that_is_not_there_suggests() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ledger.py"), "#!/bin/sh\n").unwrap();
        assert!(read(dir.path(), "./ledger.py").is_ok());
        let help = |image: &str| read(dir.path(), image).unwrap_err().help;
        assert_eq!(help("ledgr.py"), "did you mean `ledger.py`, which is in the same folder?");
        assert!(help("nothing-like-it").starts_with("paths are relative to the manifest"));
        assert_eq!(help("."), "name the executable file in it");
    }
}
