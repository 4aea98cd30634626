//! The providers that every host knows, and what they serve. `apply` checks manifests against it; each provider's
//! own tests check that its typed configuration has exactly these keys.

use super::app::LinkTarget;
use crate::wire::Interface;

/// The name of the HTTP server.
pub const HTTP_SERVER: &str = "http-server";
/// The name of what calls components by the clock.
pub const CRON: &str = "cron";
/// The name of what brings messages to components.
pub const MESSAGING_NATS: &str = "messaging-nats";
/// Who has watches, for people.
pub const WITH_WATCHES: &str = "a key-value store";

/// A provider that can be named in `use:`.
#[derive(Debug)]
pub struct ProviderKind {
    pub name: &'static str,
    /// What components may link to it; `None` when nothing.
    pub capability: Option<&'static Capability>,
    pub config: &'static [ConfigKey],
    /// Whether `isolate: process` is possible.
    pub can_isolate: bool,
    /// Whether it takes `routes:`.
    pub has_routes: bool,
    /// Whether it takes `subscriptions:`.
    pub has_subscriptions: bool,
}

impl ProviderKind {
    /// Whether it takes `watches:`.
    pub fn has_watches(&self) -> bool {
        self.capability.is_some_and(|capability| capability.served == KEYVALUE.served)
    }
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

/// Something that components import and that several kinds of providers can be behind.
#[derive(Debug)]
pub struct Capability {
    /// What components import, without a version.
    pub imports: &'static [&'static str],
    /// The interfaces that its providers answer over the lattice.
    pub served: &'static [&'static str],
    /// Whether calls are made as `imports` say, or as `served` does.
    pub target: LinkTarget,
}

impl Capability {
    /// The interfaces that its providers answer over the lattice.
    pub fn interfaces(&self) -> impl Iterator<Item = Interface> + use<> {
        self.served.iter().filter_map(|served| served.parse().ok())
    }

    /// Whether it is behind a component's import.
    pub fn serves(&self, import: &Interface) -> bool {
        self.imports.contains(&import.unversioned())
            // The host translates calls of the versions that it knows; what it hands on must be of a version that fits.
            && (self.target == LinkTarget::Capability || self.interfaces().any(|served| served.satisfies(import)))
    }
}

/// Key-value stores. A bucket is a resource for components, and a name in each call for providers.
pub const KEYVALUE: Capability = Capability {
    imports: &["wasi:keyvalue/store", "wasi:keyvalue/atomics", "wasi:keyvalue/batch"],
    served: &["lattice:keyvalue/store@0.1.0"],
    target: LinkTarget::Capability,
};

/// Sending HTTP requests. A request is a resource for components, and a message with its terms for providers.
pub const HTTP_CLIENT: Capability = Capability {
    imports: &["wasi:http/outgoing-handler", "wasi:http/client"],
    served: &["lattice:http/client@0.1.0"],
    target: LinkTarget::Capability,
};

/// PostgreSQL, as components of wasmCloud know it, and with errors and transactions of our own.
pub const POSTGRES: Capability = Capability {
    imports: &["wasmcloud:postgres/query", "wasmcloud:postgres/prepared", "lattice:postgres/sql"],
    served: &[
        "wasmcloud:postgres/query@0.1.1-draft",
        "wasmcloud:postgres/prepared@0.1.1-draft",
        "lattice:postgres/sql@0.1.0",
    ],
    target: LinkTarget::Wit,
};

/// Stores of objects. Containers and values are resources for components, and names and streams in calls for providers.
pub const BLOBSTORE: Capability = Capability {
    imports: &["wasi:blobstore/blobstore", "wasi:blobstore/container", "wasi:blobstore/types"],
    served: &["lattice:blobstore/store@0.1.0"],
    target: LinkTarget::Capability,
};

/// Sending messages, as components of wasmCloud know it.
pub const MESSAGING: Capability = Capability {
    imports: &["wasmcloud:messaging/consumer"],
    served: &["wasmcloud:messaging/consumer@0.2.0"],
    target: LinkTarget::Wit,
};

/// A setting that all key-value stores have.
const TTL: ConfigKey =
    key("ttl", false, "how long an entry lives after its last write, such as 10m (default: for ever)");

/// Settings that all providers on PostgreSQL have.
const POOL_SIZE: ConfigKey = key("poolSize", false, "connections at a time (default 10)");
const DATABASE_TLS: ConfigKey = key("tls", false, "disable, prefer or require (default prefer)");
const DATABASE_CA: ConfigKey =
    key("caFile", false, "file with the certificates by which the database is known (default: the system's)");

/// All of them.
pub const PROVIDERS: &[ProviderKind] = &[
    ProviderKind {
        name: HTTP_SERVER,
        capability: None,
        config: &[
            key("address", true, "IP address and port to listen on, such as 127.0.0.1:8080"),
            key("maxBody", false, "largest request body, such as 8MiB (default 8MiB)"),
            key("maxHeaders", false, "largest request head in bytes, such as 64KiB (default 64KiB)"),
            key("headerTimeout", false, "time for a request's head to arrive, such as 10s (default 30s)"),
            key("maxConnections", false, "connections at a time (default 8192)"),
            key("http2", false, "whether HTTP/2 is spoken as well (default true)"),
            key(
                "tls",
                false,
                "the files with certificate and key in PEM, as in { cert: /etc/shop.pem, key: /etc/shop.key }",
            ),
            key("cors", false, "what pages of other origins may do, as in { origins: [https://app.example.com] }"),
            key("forwarded", false, "whether components get x-forwarded-for, -proto and -host (default false)"),
            key("accessLog", false, "whether each request leaves a line in the log (default false)"),
        ],
        can_isolate: false,
        has_routes: true,
        has_subscriptions: false,
    },
    ProviderKind {
        name: "http-client",
        capability: Some(&HTTP_CLIENT),
        config: &[
            key(
                "allowPrivate",
                false,
                "true, or a list of addresses and ranges such as 10.0.0.0/8, that names may stand for",
            ),
            key("caFile", false, "PEM file on the host with further authorities to trust"),
            key("connectTimeout", false, "time for a connection with its TLS, such as 2s (default 5s)"),
            key("firstByteTimeout", false, "time for a response to begin (default 30s)"),
            key("betweenBytesTimeout", false, "time for a response to go on (default 30s)"),
            key("keepAlive", false, "how long a connection waits for another request (default 60s)"),
            key("maxConnections", false, "connections to one host and port (default 256)"),
        ],
        can_isolate: true,
        has_routes: false,
        has_subscriptions: false,
    },
    ProviderKind {
        name: "keyvalue-memory",
        capability: Some(&KEYVALUE),
        config: &[TTL],
        can_isolate: true,
        has_routes: false,
        has_subscriptions: false,
    },
    ProviderKind {
        name: "keyvalue-redb",
        capability: Some(&KEYVALUE),
        config: &[
            key("file", false, "name of the database file in the host's data folder (default <app>-<unit>.redb)"),
            TTL,
        ],
        can_isolate: true,
        has_routes: false,
        has_subscriptions: false,
    },
    ProviderKind {
        name: "keyvalue-nats",
        capability: Some(&KEYVALUE),
        config: &[
            key("bucket", false, "name of the JetStream key-value bucket (default <lattice>-<app>-<unit>)"),
            key("replicas", false, "copies of the bucket in the NATS cluster (default 1)"),
            TTL,
        ],
        can_isolate: true,
        has_routes: false,
        has_subscriptions: false,
    },
    ProviderKind {
        name: "keyvalue-redis",
        capability: Some(&KEYVALUE),
        config: &[
            key("url", true, "such as redis://127.0.0.1:6379"),
            key("prefix", false, "what each key in Redis begins with (default <app>:)"),
            TTL,
        ],
        can_isolate: true,
        has_routes: false,
        has_subscriptions: false,
    },
    ProviderKind {
        name: "keyvalue-postgres",
        capability: Some(&KEYVALUE),
        config: &[
            key("url", true, "such as postgres://user:password@127.0.0.1:5432/db"),
            key("table", false, "the table, made when it is not there (default lattice_keyvalue)"),
            key("namespace", false, "whose rows of the table are ours (default <app>)"),
            TTL,
            POOL_SIZE,
            DATABASE_TLS,
            DATABASE_CA,
        ],
        can_isolate: true,
        has_routes: false,
        has_subscriptions: false,
    },
    ProviderKind {
        name: "postgres",
        capability: Some(&POSTGRES),
        config: &[
            key("url", true, "such as postgres://user:password@127.0.0.1:5432/db"),
            POOL_SIZE,
            key("waitTimeout", false, "how long a call waits for a free connection, such as 500ms (default 1s)"),
            key(
                "statementTimeout",
                false,
                "how long the database works on a statement, such as 5s (default: as it has it)",
            ),
            key("maxRows", false, "rows of one result (default 100000)"),
            key("maxBytes", false, "size of one result, such as 4MiB (default 16MiB)"),
            key("statementCache", false, "statements that a connection keeps prepared (default 256)"),
            DATABASE_TLS,
            DATABASE_CA,
        ],
        can_isolate: true,
        has_routes: false,
        has_subscriptions: false,
    },
    ProviderKind {
        name: MESSAGING_NATS,
        capability: Some(&MESSAGING),
        config: &[
            key(
                "url",
                false,
                "such as nats://127.0.0.1:4222, or several with commas (default: the lattice's own NATS)",
            ),
            key("creds", false, "file on the host with NATS credentials; with url"),
            key("nkey", false, "file on the host with the seed of an nkey user; with url"),
            key("user", false, "name of the NATS user; with url"),
            key("password", false, "what belongs to user"),
            key("caFile", false, "PEM file on the host with the authority of the servers; with url"),
            key("confirm", false, "whether a message counts as sent when a stream has stored it (default false)"),
            key("replicas", false, "copies of the streams that it makes (default 1)"),
        ],
        can_isolate: true,
        has_routes: false,
        has_subscriptions: true,
    },
    ProviderKind {
        name: CRON,
        capability: None,
        config: &[],
        can_isolate: false,
        has_routes: false,
        has_subscriptions: false,
    },
    blob("blob-memory", &[]),
    blob(
        "blob-s3",
        &[
            key("bucket", true, "the bucket; a container is a folder in it"),
            key("prefix", false, "folder of the bucket that the containers are in (default none)"),
            key("region", false, "such as eu-central-1 (default us-east-1)"),
            key("endpoint", false, "of a server that is not AWS, such as http://127.0.0.1:9000"),
            key("accessKeyId", false, "(default: the role of the machine)"),
            key("secretAccessKey", false, "what belongs to accessKeyId"),
        ],
    ),
    blob(
        "blob-azure",
        &[
            key("account", true, "name of the storage account"),
            key("container", true, "the account's container; one of ours is a folder in it"),
            key("prefix", false, "folder of the container that ours are in (default none)"),
            key("endpoint", false, "of a server that is not Azure, such as http://127.0.0.1:10000/account"),
            key("accessKey", false, "(default: the identity of the machine)"),
        ],
    ),
    blob(
        "blob-gcs",
        &[
            key("bucket", true, "the bucket; a container is a folder in it"),
            key("prefix", false, "folder of the bucket that the containers are in (default none)"),
            key("endpoint", false, "of a server that is not Google's, such as http://127.0.0.1:4443"),
            key(
                "serviceAccountKey",
                false,
                "the JSON of a service account's key (default: the identity of the machine)",
            ),
        ],
    ),
    blob(
        "blob-nats",
        &[
            key(
                "prefix",
                false,
                "what names of buckets begin with; one is a container (default <lattice>-<app>-<unit>-)",
            ),
            key("replicas", false, "copies of each bucket in the NATS cluster (default 1)"),
        ],
    ),
    blob("blob-fs", &[key("root", true, "folder in which each container is a folder, such as /srv/files")]),
];

const fn blob(name: &'static str, config: &'static [ConfigKey]) -> ProviderKind {
    ProviderKind {
        name,
        capability: Some(&BLOBSTORE),
        config,
        can_isolate: true,
        has_routes: false,
        has_subscriptions: false,
    }
}

/// The provider that `name` means.
pub fn find(name: &str) -> Option<&'static ProviderKind> {
    PROVIDERS.iter().find(|p| p.name == name)
}

/// Those whose data is gone with their process.
const IN_MEMORY: &[&str] = &["keyvalue-memory", "blob-memory"];

impl ProviderKind {
    /// Whether its data is gone with its process.
    pub fn in_memory(&self) -> bool {
        IN_MEMORY.contains(&self.name)
    }

    /// Whether a component's import may be linked to it.
    pub fn serves(&self, import: &Interface) -> bool {
        self.capability.is_some_and(|capability| capability.serves(import))
    }

    /// The interfaces that it answers over the lattice.
    pub fn interfaces(&self) -> Vec<Interface> {
        self.capability.into_iter().flat_map(Capability::interfaces).collect()
    }
}

/// The names of the providers that could serve `import`.
pub fn serving(import: &Interface) -> Vec<&'static str> {
    PROVIDERS.iter().filter(|p| p.serves(import)).map(|p| p.name).collect()
}

/// The capabilities whose providers answer other interfaces than those that components import.
const ADAPTED: &[&Capability] = &[&KEYVALUE, &BLOBSTORE];

/// Whether who serves `served` has the capability behind `import`.
pub fn stands_for(served: &Interface, import: &Interface) -> bool {
    ADAPTED
        .iter()
        .any(|capability| capability.serves(import) && capability.interfaces().any(|wanted| served.satisfies(&wanted)))
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
    "wasi:config",
    "wasi:logging",
    "wasmcloud:bus",
    "wasmcloud:secrets",
];

/// Whether `package` needs no link. Files, sockets and outgoing HTTP are there to be imported, and refuse every use.
pub fn is_ambient(package: &str) -> bool {
    AMBIENT.contains(&package)
}
