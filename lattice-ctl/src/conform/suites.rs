//! From what a provider serves to the checks of it.

use std::{sync::Arc, time::Duration};

use lattice::{
    bus::{Bus, NatsOptions},
    model::catalog::{self, Capability},
};
use lattice_provider::{
    Caller,
    blobstore::BlobstoreRemote,
    conformance::{self, BlobTest, Lasting, Suite},
    http::HttpClientRemote,
    keyvalue::KeyValueRemote,
};
use serde_json::{Map, Value};

use super::{ConformFailure, process::Provider, target::Target};
use crate::failure::Failure;

/// How much a store of objects is asked for. Some servers take shorter names than S3 does, and read everything for a listing.
const OBJECTS: BlobTest = BlobTest { names: 1500, longest: 100, large: 256, memory: Some(160) };

/// A capability that has a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    KeyValue,
    Blobstore,
    Postgres,
    Messaging,
    HttpClient,
}

const ALL: [Kind; 5] = [Kind::KeyValue, Kind::Blobstore, Kind::Postgres, Kind::Messaging, Kind::HttpClient];

impl Kind {
    fn capability(self) -> &'static Capability {
        match self {
            Self::KeyValue => &catalog::KEYVALUE,
            Self::Blobstore => &catalog::BLOBSTORE,
            Self::Postgres => &catalog::POSTGRES,
            Self::Messaging => &catalog::MESSAGING,
            Self::HttpClient => &catalog::HTTP_CLIENT,
        }
    }

    /// The interface that it is called by in reports.
    pub(super) fn interface(self) -> &'static str {
        self.capability().served.first().copied().unwrap_or_default()
    }

    /// How long one call may take.
    fn deadline(self) -> Duration {
        match self {
            Self::KeyValue | Self::Postgres => Duration::from_secs(10),
            Self::Messaging | Self::HttpClient => Duration::from_secs(30),
            Self::Blobstore => Duration::from_secs(120),
        }
    }
}

/// The interfaces that have a suite, for people.
pub(super) fn known() -> String {
    let all: Vec<_> = ALL.iter().flat_map(|kind| kind.capability().served).copied().collect();
    all.join(", ")
}

/// The suites for what a provider serves.
pub(super) struct Suites(Vec<Kind>);

impl Suites {
    pub(super) fn of(target: &Target) -> Result<Self, ConformFailure> {
        let serves = |kind: &Kind| {
            let mut wanted = kind.capability().interfaces();
            wanted.any(|wanted| target.interfaces.iter().any(|served| served.satisfies(&wanted)))
        };
        let kinds: Vec<_> = ALL.into_iter().filter(serves).collect();
        if kinds.is_empty() {
            let served: Vec<_> = target.interfaces.iter().map(ToString::to_string).collect();
            let nothing = || format!("{}, which answers no calls", target.name);
            let served = if served.is_empty() { nothing() } else { served.join(", ") };
            return Err(ConformFailure::NoSuite { served });
        }
        Ok(Self(kinds))
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        self.0.clone().into_iter()
    }

    /// What one suite is run on.
    pub(super) async fn place(
        &self,
        kind: Kind,
        provider: &Provider,
        bus: &Bus,
        target: &Target,
        tag: &str,
    ) -> Result<Place, Failure> {
        let broker = match kind {
            Kind::Messaging => broker(bus, &target.config).await?,
            _ => bus.clone(),
        };
        let caller = provider.caller(kind.deadline());
        let objects = BlobTest { memory: OBJECTS.memory.filter(|_| !target.in_memory), ..OBJECTS };
        let process = provider.id().unwrap_or_default();
        let private = target.config.contains_key("allowPrivate");
        Ok(Place { kind, caller, bus: bus.clone(), broker, tag: tag.to_owned(), objects, process, private })
    }
}

/// The NATS server to which a provider of messages sends, by its settings: those that messaging-nats has.
async fn broker(bus: &Bus, config: &Map<String, Value>) -> Result<Bus, Failure> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
    let Some(url) = text("url") else { return Ok(bus.clone()) };
    let options = NatsOptions {
        urls: url.split(',').map(|url| url.trim().to_owned()).collect(),
        creds: text("creds").map(Into::into),
        nkey: text("nkey").map(Into::into),
        user: text("user"),
        password: text("password"),
        ca: text("caFile").map(Into::into),
        ..NatsOptions::default()
    };
    Ok(Bus::connect_for_calls(&options, bus.lattice().clone(), "lattice-ctl conform").await?)
}

/// One suite, and what it is run on.
pub(super) struct Place {
    kind: Kind,
    caller: Arc<dyn Caller>,
    bus: Bus,
    /// Where messages are listened to.
    broker: Bus,
    tag: String,
    objects: BlobTest,
    /// The provider's.
    process: u32,
    /// Whether its settings say that it may send requests to private addresses.
    private: bool,
}

impl Place {
    fn key_value(&self) -> Arc<KeyValueRemote> {
        Arc::new(KeyValueRemote(self.caller.clone()))
    }

    fn blobstore(&self) -> Arc<BlobstoreRemote> {
        Arc::new(BlobstoreRemote(self.caller.clone(), self.bus.exchange()))
    }

    pub(super) fn suite(&self) -> Suite {
        let Self { kind, caller, broker, tag, .. } = self;
        match kind {
            Kind::KeyValue => conformance::key_value_suite(self.key_value(), &format!("{tag} ")),
            Kind::Blobstore => {
                let (objects, process) = (self.objects, self.process);
                conformance::blobstore_suite(self.blobstore(), &format!("{tag}-"), objects, process)
            }
            Kind::Postgres => conformance::postgres_suite(caller, &format!("{tag}_")),
            Kind::Messaging => conformance::messaging_suite(caller, broker, tag),
            Kind::HttpClient => {
                let client = Arc::new(HttpClientRemote { caller: caller.clone(), bus: self.bus.clone() });
                conformance::http_client_suite(client, self.process, self.private)
            }
        }
    }

    /// What can be written to see whether it stays; `None` where nothing is.
    pub(super) async fn lasting(&self) -> Result<Option<Box<dyn Lasting>>, String> {
        let Self { kind, caller, broker, tag, .. } = self;
        Ok(Some(match kind {
            Kind::KeyValue => Box::new(conformance::key_value_lasting(self.key_value(), &format!("{tag} "))),
            Kind::Blobstore => Box::new(conformance::blobstore_lasting(self.blobstore(), &format!("{tag}-"))),
            Kind::Postgres => Box::new(conformance::postgres_lasting(caller, &format!("{tag}_"))),
            Kind::Messaging => Box::new(conformance::messaging_lasting(caller, broker, tag).await?),
            Kind::HttpClient => return Ok(None),
        }))
    }
}
