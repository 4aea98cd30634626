//! Links: from what a component imports to the units that satisfy it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::outbound::AllowedOrigin;
use crate::wire::{Digest, Interface, UnitId};

/// How a link's calls travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Local where the target runs on the same host, else over the lattice.
    #[default]
    Auto,
    /// Only inside the host.
    Local,
    /// Composed with the target into one component.
    Fused,
    /// Always over NATS.
    Lattice,
}

/// One import of a component, and who satisfies it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSpec {
    /// `ns:pkg` or `ns:pkg/interface`, with or without a version.
    pub interface: String,
    /// What the component may choose this link by, when it has several of one interface; `default` otherwise.
    #[serde(default = "default_link")]
    pub name: String,
    pub to: UnitId,
    /// Its share of the calls, where several links of one interface and one name lead to several units: of the sum of their weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    #[serde(default)]
    pub target: LinkTarget,
    pub transport: Transport,
    pub deadline_ms: Option<u64>,
    /// Functions that may be called again when it is not known whether they ran: their names, or `*` for all.
    #[serde(default)]
    pub idempotent: Vec<String>,
    /// Of a link to an HTTP client: where requests may go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowedOrigin>,
    /// Of a link to another app's store: whether its buckets and containers are this app's own, see
    /// [`own_name`](super::share::own_name).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_names: bool,
    /// Of a fused link: what becomes a part of the component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fused: Option<Box<FusedSpec>>,
}

impl LinkSpec {
    /// A link of which nothing is said but where it leads.
    pub fn new(interface: &str, to: UnitId, target: LinkTarget) -> Self {
        Self {
            interface: interface.to_owned(),
            name: default_link(),
            to,
            weight: None,
            target,
            transport: Transport::Auto,
            deadline_ms: None,
            idempotent: Vec::new(),
            allow: Vec::new(),
            own_names: false,
            fused: None,
        }
    }
}

/// A component that is a part of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FusedSpec {
    pub digest: Digest,
    /// What it imports itself, and who satisfies that: the whole has these imports and links as well.
    pub imports: Vec<Interface>,
    pub links: Vec<LinkSpec>,
}

/// What a link leads to, which decides how its calls look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkTarget {
    /// A provider of a capability: calls are those of its stateless interface in `wit/`.
    #[default]
    Capability,
    /// A component, or a provider of an interface of its own: calls are those of the imported interface itself.
    Wit,
}

/// The links that calls of `import` take, by name, out of links with their patterns and names. Of those with one name the
/// ones whose pattern says more go before the others; there are several where each has a share of the calls.
pub fn links_of<'l, L>(
    import: &Interface,
    links: impl IntoIterator<Item = (&'l str, &'l str, L)>,
) -> BTreeMap<&'l str, Vec<L>> {
    let mut found: BTreeMap<&str, (usize, Vec<L>)> = BTreeMap::new();
    for (pattern, name, link) in links.into_iter().filter(|(pattern, ..)| import.matches(pattern)) {
        let (length, of_name) = found.entry(name).or_default();
        if pattern.len() > *length {
            *length = pattern.len();
            of_name.clear();
        }
        if pattern.len() == *length {
            of_name.push(link);
        }
    }
    found.into_iter().map(|(name, (_, links))| (name, links)).collect()
}

/// The name of a link that has none.
pub const DEFAULT_LINK: &str = "default";

fn default_link() -> String {
    DEFAULT_LINK.to_owned()
}

/// The links that calls of `import` take, by name, out of those of its component.
pub fn links_of_import<'l>(import: &Interface, links: &'l [LinkSpec]) -> BTreeMap<&'l str, Vec<&'l LinkSpec>> {
    links_of(import, links.iter().map(|link| (link.interface.as_str(), link.name.as_str(), link)))
}

/// The fused parts of a component, each with those of the component's imports that it satisfies.
pub fn fused_parts<'l>(
    imports: &'l [Interface],
    links: &'l [LinkSpec],
) -> BTreeMap<&'l UnitId, (&'l FusedSpec, Vec<&'l Interface>)> {
    let mut parts: BTreeMap<_, (_, Vec<_>)> = BTreeMap::new();
    for import in imports {
        for link in links_of_import(import, links).into_values().flatten() {
            let Some(part) = link.fused.as_deref() else { continue };
            parts.entry(&link.to).or_insert((part, Vec::new())).1.push(import);
        }
    }
    parts
}
