//! A page of names. A folder has no order that lasts, so each page looks at all names of the folders that it may be in, and
//! keeps the first ones: that takes the memory of a page, however many objects there are.

use std::{collections::BTreeSet, io};

use cap_std::fs::Dir;
use lattice_provider::blobstore::{ObjectPage, PAGE, PageBuilder, is_object};

/// The objects of a container after `cursor`, as many as a page takes.
pub(crate) fn page(dir: &Dir, cursor: Option<&str>) -> io::Result<ObjectPage> {
    let mut first = First { after: cursor.map(sortable), names: BTreeSet::new() };
    first.walk(dir, "")?;
    let mut page = PageBuilder::default();
    first.names.iter().all(|name| page.push(name.replace(SEPARATOR, "/")));
    Ok(page.finish())
}

/// Instead of `/`: it sorts before all characters of a name, so that a folder's objects stand together.
const SEPARATOR: char = '\0';

fn sortable(name: &str) -> String {
    name.replace('/', "\0")
}

struct First {
    after: Option<String>,
    /// One more than a page takes, so that it is known whether there is a next one.
    names: BTreeSet<String>,
}

impl First {
    fn walk(&mut self, dir: &Dir, prefix: &str) -> io::Result<()> {
        for entry in dir.entries()? {
            let entry = entry?;
            // What is no UTF-8 was made by others, and has no name here.
            let Ok(own) = entry.file_name().into_string() else { continue };
            let name = format!("{prefix}{own}");
            let ty = entry.file_type()?;
            // A link to a folder may lead in a circle.
            if ty.is_dir() {
                let inside = format!("{name}{SEPARATOR}");
                if self.may_want(&inside) {
                    gone(entry.open_dir().and_then(|dir| self.walk(&dir, &inside)))?;
                }
                continue;
            }
            let file = ty.is_file() || (ty.is_symlink() && dir.metadata(&own).is_ok_and(|found| found.is_file()));
            if file && self.wants(&name) && is_object(&name.replace(SEPARATOR, "/")) {
                self.names.insert(name);
                if self.names.len() > PAGE + 1 {
                    self.names.pop_last();
                }
            }
        }
        Ok(())
    }

    fn wants(&self, name: &str) -> bool {
        let full = self.names.len() > PAGE && self.names.last().is_some_and(|last| last.as_str() < name);
        !full && self.after.as_deref().is_none_or(|after| after < name)
    }

    /// Whether a folder may have names that are wanted.
    fn may_want(&self, inside: &str) -> bool {
        self.wants(inside) || self.after.as_deref().is_some_and(|after| after.starts_with(inside))
    }
}

/// No error where others have removed a folder.
fn gone(walked: io::Result<()>) -> io::Result<()> {
    match walked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
