//! What an `image:` names: a file, an artifact of the lattice, an image in a registry, or a file behind a URL.

use lattice::wire::Digest;
use oci_client::Reference;

use super::{Wrong, wrong};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Relative to the manifest.
    File(String),
    /// An artifact that the lattice has.
    Lattice(Digest),
    Registry(Reference),
    /// Bytes behind a URL, which must have this digest.
    Web {
        url: String,
        digest: Digest,
    },
}

/// What is at the end of an image's name whose bytes are pinned.
const PIN: &str = "@sha256:";

impl Place {
    pub(crate) fn parse(image: &str) -> Result<Self, Wrong> {
        if image.starts_with("sha256:") {
            let digest = image.parse().map_err(|error: lattice::wire::IdError| {
                wrong(error.to_string(), "write all 64 digits, or name a file")
            });
            return digest.map(Self::Lattice);
        }
        match image.split_once("://") {
            None => Ok(Self::File(image.to_owned())),
            Some(("file", path)) => Ok(Self::File(path.to_owned())),
            Some(("oci", name)) => registry(name).map(Self::Registry),
            Some(("https", _)) => web(image),
            Some(("http", _)) => Err(wrong(
                format!("{image} would be fetched without encryption"),
                "name it by https:// and with its digest, as in `https://example.com/cart.wasm@sha256:...`",
            )),
            Some((scheme, _)) => Err(wrong(
                format!("images cannot be fetched with {scheme}://"),
                "name a file, oci://registry/repository:tag, https://... with its digest, or `sha256:...` of an artifact that \
                 the lattice has",
            )),
        }
    }
}

/// `registry/repository:tag`. Both ends are asked for: what is left out would be guessed, and a guess can change.
pub(crate) fn registry(name: &str) -> Result<Reference, Wrong> {
    let shown = format!("oci://{name}");
    let help = "write oci://registry/repository:tag, as in `oci://ghcr.io/acme/cart:1.4.2`";
    let (first, rest) = name.split_once('/').ok_or_else(|| wrong(format!("{shown} names no registry"), help))?;
    if !(first.contains(['.', ':']) || first == "localhost") {
        return Err(wrong(format!("{shown} names no registry: `{first}` is none"), help));
    }
    if !rest.contains([':', '@']) {
        return Err(wrong(format!("{shown} names no tag and no digest"), help));
    }
    name.parse().map_err(|error| wrong(format!("{shown} is no image's name: {error}"), help))
}

fn web(image: &str) -> Result<Place, Wrong> {
    let help = "add its digest, as in `https://example.com/cart.wasm@sha256:...`: what is behind a URL may change";
    let Some(at) = image.rfind(PIN) else {
        return Err(wrong(format!("{image} does not say which bytes it means"), help));
    };
    let (url, pin) = image.split_at(at);
    let digest = pin[1..].parse().map_err(|error: lattice::wire::IdError| wrong(error.to_string(), help))?;
    Ok(Place::Web { url: url.to_owned(), digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known_by_its_beginning() {
        let digest = Digest::of(b"cart");
        assert_eq!(Place::parse("./cart.wasm"), Ok(Place::File("./cart.wasm".into())));
        assert_eq!(Place::parse("file://./build/cart.wasm"), Ok(Place::File("./build/cart.wasm".into())));
        assert_eq!(Place::parse(digest.as_str()), Ok(Place::Lattice(digest.clone())));
        let web = Place::parse(&format!("https://example.com/a@b/cart.wasm@{digest}"));
        assert_eq!(web, Ok(Place::Web { url: "https://example.com/a@b/cart.wasm".into(), digest }));
        for name in [
            "ghcr.io/acme/cart:1.4.2",
            "localhost/cart:1",
            "127.0.0.1:5000/cart:1",
            "a.example/x/y@sha256:\
            e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            let Ok(Place::Registry(reference)) = Place::parse(&format!("oci://{name}")) else { panic!("{name}") };
            assert_eq!(reference.to_string(), name);
        }
    }

    #[test]
    fn what_leaves_room_for_a_guess_is_refused() {
        for (image, message) in [
            ("oci://cart:1", "oci://cart:1 names no registry"),
            ("oci://acme/cart:1", "oci://acme/cart:1 names no registry: `acme` is none"),
            ("oci://ghcr.io/acme/cart", "oci://ghcr.io/acme/cart names no tag and no digest"),
            ("oci://ghcr.io/Acme/cart:1", "oci://ghcr.io/Acme/cart:1 is no image's name"),
            ("https://example.com/cart.wasm", "https://example.com/cart.wasm does not say which bytes it means"),
            ("https://example.com/cart.wasm@sha256:12", "\"sha256:12\" is not a digest"),
            ("http://example.com/cart.wasm", "http://example.com/cart.wasm would be fetched without encryption"),
            ("ftp://example.com/cart.wasm", "images cannot be fetched with ftp://"),
            ("sha256:abc", "\"sha256:abc\" is not a digest"),
        ] {
            let found = Place::parse(image).unwrap_err();
            assert!(found.message.starts_with(message), "{image}: {found:?}");
        }
    }
}
