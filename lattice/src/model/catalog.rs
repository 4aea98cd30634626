//! The providers that every host knows, and what they serve. `apply` checks manifests against it; each provider's
//! own tests check that its typed configuration has exactly these keys.

use crate::wire::Interface;

/// The name of the HTTP server.
pub const HTTP_SERVER: &str = "http-server";

/// A provider that can be named in `use:`.
#[derive(Debug)]
pub struct ProviderKind {
    pub name: &'static str,
    /// The WIT package or interface that components may link to it, without a version.
    pub serves: &'static [&'static str],
    pub config: &'static [ConfigKey],
    /// Whether `isolate: process` is possible.
    pub can_isolate: bool,
    /// Whether it takes `routes:`.
    pub has_routes: bool,
}

/// A key of a provider's `config:`.
#[derive(Debug)]
pub struct ConfigKey {
    pub name: &'static str,
    pub required: bool,
    pub about: &'static str,
}

const fn key(name: &'static str, required: bool, about: &'static str) -> ConfigKey {
    ConfigKey { name, required, about }
}

const KEYVALUE: &[&str] = &["wasi:keyvalue/store", "wasi:keyvalue/atomics", "wasi:keyvalue/batch"];

/// All of them.
pub const PROVIDERS: &[ProviderKind] = &[
    ProviderKind {
        name: HTTP_SERVER,
        serves: &[],
        config: &[
            key("address", true, "IP address and port to listen on, such as 127.0.0.1:8080"),
            key("maxBody", false, "largest request body, such as 8MiB (default 8MiB)"),
            key("maxHeaders", false, "largest request head in bytes, such as 64KiB (default 64KiB)"),
            key("headerTimeout", false, "time for a request's head to arrive, such as 10s (default 30s)"),
        ],
        can_isolate: false,
        has_routes: true,
    },
    ProviderKind { name: "keyvalue-memory", serves: KEYVALUE, config: &[], can_isolate: true, has_routes: false },
    ProviderKind {
        name: "keyvalue-redb",
        serves: KEYVALUE,
        config: &[key(
            "file",
            false,
            "name of the database file in the host's data folder (default <app>-<unit>.redb)",
        )],
        can_isolate: true,
        has_routes: false,
    },
    ProviderKind {
        name: "keyvalue-nats",
        serves: KEYVALUE,
        config: &[
            key("bucket", false, "name of the JetStream key-value bucket (default <lattice>-<app>-<unit>)"),
            key("replicas", false, "copies of the bucket in the NATS cluster (default 1)"),
        ],
        can_isolate: true,
        has_routes: false,
    },
    ProviderKind {
        name: "keyvalue-redis",
        serves: KEYVALUE,
        config: &[
            key("url", true, "such as redis://127.0.0.1:6379"),
            key("prefix", false, "what each key in Redis begins with (default <app>:)"),
        ],
        can_isolate: true,
        has_routes: false,
    },
];

/// The provider that `name` means.
pub fn find(name: &str) -> Option<&'static ProviderKind> {
    PROVIDERS.iter().find(|p| p.name == name)
}

/// The names of the providers that could serve `interface` (without a version).
pub fn serving(interface: &str) -> Vec<&'static str> {
    PROVIDERS.iter().filter(|p| p.serves.contains(&interface)).map(|p| p.name).collect()
}

/// A capability that a provider of one's own can have: what it serves then, and what components import in its place.
const CAPABILITIES: &[(&str, &[&str])] = &[("lattice:keyvalue/store@0.1.0", KEYVALUE)];

/// Whether who serves `served` has the capability behind `import`.
pub fn stands_for(served: &Interface, import: &Interface) -> bool {
    CAPABILITIES.iter().any(|(capability, imports)| {
        let capability = capability.parse::<Interface>();
        capability.is_ok_and(|capability| served.satisfies(&capability)) && imports.contains(&import.unversioned())
    })
}

/// What the host gives to every component without a link, and without a right to anything outside.
const AMBIENT: &[&str] = &[
    "wasi:cli",
    "wasi:clocks",
    "wasi:filesystem",
    "wasi:io",
    "wasi:random",
    "wasi:sockets",
    "wasi:http",
    "wasmcloud:bus",
];

/// Whether `package` needs no link. Files, sockets and outgoing HTTP are there to be imported, and refuse every use.
pub fn is_ambient(package: &str) -> bool {
    AMBIENT.contains(&package)
}
