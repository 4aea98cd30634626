//! The files of the page, which are a part of this program.

/// A file, and what a browser is told that it is.
pub(super) struct Asset {
    name: &'static str,
    pub(super) kind: &'static str,
    pub(super) bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal: $kind:literal),* $(,)?) => {
        &[$(Asset { name: $name, kind: $kind, bytes: include_bytes!(concat!("assets/", $name)) }),*]
    };
}

const ASSETS: &[Asset] = assets! {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "actions.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "apps.js": "text/javascript; charset=utf-8",
    "detail.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "events.js": "text/javascript; charset=utf-8",
    "hosts.js": "text/javascript; charset=utf-8",
    "layout.js": "text/javascript; charset=utf-8",
    "log.js": "text/javascript; charset=utf-8",
    "loop.js": "text/javascript; charset=utf-8",
    "picture.js": "text/javascript; charset=utf-8",
    "selection.js": "text/javascript; charset=utf-8",
    "text.js": "text/javascript; charset=utf-8",
};

/// The file at a path.
pub(super) fn find(path: &str) -> Option<&'static Asset> {
    let name = match path.strip_prefix('/')? {
        "" => "index.html",
        name => name,
    };
    ASSETS.iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_in_the_program() {
        let mut there: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/page/assets"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut known: Vec<_> = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
        there.sort();
        known.sort();
        assert_eq!(there, known);
        assert_eq!(find("/").map(|asset| asset.name), Some("index.html"));
        assert!(find("/../mod.rs").is_none() && find("index.html").is_none());
    }
}
