//! Which version of an interface serves which.

use semver::Version;

/// Whether an export of version `export` serves an import of version `import`: both are of the same compatible track
/// (the same major version; below 1.0 the same minor; 0.0.x and pre-releases only themselves), and the export is not
/// the older one. Without a version only nothing else serves.
pub fn serves(import: Option<&str>, export: Option<&str>) -> bool {
    match (import, export) {
        (None, None) => true,
        (Some(import), Some(export)) => match (import.parse(), export.parse()) {
            (Ok(import), Ok(export)) => same_track(&import, &export) && not_older(&export, &import),
            // What is no version of ours is compatible with itself.
            _ => import == export,
        },
        _ => false,
    }
}

/// What to do when `export` does not serve `import`.
pub fn way_out(importer: &str, import: Option<&str>, exporter: &str, export: Option<&str>) -> String {
    let parsed = |version: Option<&str>| version.and_then(|v| v.parse::<Version>().ok());
    match (parsed(import), parsed(export)) {
        (Some(import), Some(export)) if same_track(&import, &export) => {
            format!(
                "`{exporter}` is older than what `{importer}` was built for: build it with version {import} or newer"
            )
        }
        (Some(import), _) => format!(
            "build `{exporter}` with a version compatible with {import}, or `{importer}` with the version that \
             `{exporter}` exports"
        ),
        (None, _) => "build both with the same version of the WIT package".to_owned(),
    }
}

/// Whether `text` is a version as WIT packages have it.
pub fn is_version(text: &str) -> bool {
    Version::parse(text).is_ok()
}

fn same_track(a: &Version, b: &Version) -> bool {
    let major = a.major == b.major;
    let minor = major && a.minor == b.minor;
    let patch = minor && a.patch == b.patch;
    match (a.pre.is_empty() && b.pre.is_empty(), a.major, a.minor) {
        (false, ..) => patch && a.pre == b.pre,
        (true, 0, 0) => patch,
        (true, 0, _) => minor,
        (true, ..) => major,
    }
}

fn not_older(a: &Version, b: &Version) -> bool {
    a.cmp_precedence(b).is_ge()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_serves_what_is_not_newer() {
        for (import, export, expected) in [
            ("0.2.1", "0.2.6", true),
            ("0.2.6", "0.2.1", false),
            ("0.2.1", "0.3.0", false),
            ("1.2.0", "1.10.0", true),
            ("1.2.0", "2.2.0", false),
            ("0.0.3", "0.0.3", true),
            ("0.0.3", "0.0.4", false),
            ("0.2.0-draft", "0.2.0-draft", true),
            ("0.2.0-draft", "0.2.0-draft2", false),
            ("0.2.0-draft", "0.2.0", false),
            ("0.2.0", "0.2.1-rc", false),
            ("1.0.0+a", "1.0.0+b", true),
            ("odd", "odd", true),
            ("odd", "1.0.0", false),
        ] {
            assert_eq!(serves(Some(import), Some(export)), expected, "{import} by {export}");
        }
        assert!(serves(None, None) && !serves(None, Some("1.0.0")) && !serves(Some("1.0.0"), None));
    }

    #[test]
    fn the_way_out_names_who_is_old() {
        assert_eq!(
            way_out("cart", Some("0.2.6"), "pricing", Some("0.2.1")),
            "`pricing` is older than what `cart` was built for: build it with version 0.2.6 or newer"
        );
        assert!(way_out("cart", Some("0.3.0"), "pricing", Some("0.2.1")).contains("compatible with 0.3.0"));
    }
}
