//! A lattice's buckets in JetStream: what it is, signs of life, and artifacts.

use std::{error::Error, iter::successors, time::Duration};

use async_nats::{
    Client,
    connection::State,
    jetstream::{
        Context, ErrorCode,
        context::{
            CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind, RequestError,
            RequestErrorKind,
        },
        kv, object_store,
    },
};
use tokio::{
    sync::{OnceCell, watch},
    time::{Instant, sleep, timeout},
};

use super::connect::{ConnectError, check_version, jetstream};
use crate::wire::{CHUNK, LatticeName, PAYLOAD_HEADROOM};

/// A sign of life that is older than this is gone.
const BEAT_MAX_AGE: Duration = Duration::from_secs(4);
/// A request to JetStream that takes longer counts as failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A lattice's buckets. They are opened when they are first needed and there is a connection.
pub(super) struct Buckets {
    pub(super) client: Client,
    /// Whether NATS answers now.
    pub(super) connected: watch::Receiver<bool>,
    lattice: LatticeName,
    domain: Option<String>,
    open: OnceCell<Open>,
}

pub(super) struct Open {
    pub(super) context: Context,
    pub(super) state: kv::Store,
    pub(super) beats: kv::Store,
    pub(super) artifacts: object_store::ObjectStore,
}

/// The buckets of a lattice: what it is, signs of life, and artifacts.
fn buckets(lattice: &LatticeName) -> [String; 3] {
    ["", "-beats", "-artifacts"].map(|what| format!("lattice-{lattice}{what}"))
}

/// The streams in which a lattice keeps what it is.
pub fn own_streams(lattice: &LatticeName) -> [String; 3] {
    let [state, beats, artifacts] = buckets(lattice);
    [format!("KV_{state}"), format!("KV_{beats}"), format!("OBJ_{artifacts}")]
}

impl Buckets {
    pub(super) fn new(
        client: &Client,
        connected: &watch::Receiver<bool>,
        domain: Option<&str>,
        lattice: &LatticeName,
    ) -> Self {
        Self {
            client: client.clone(),
            connected: connected.clone(),
            lattice: lattice.clone(),
            domain: domain.map(str::to_owned),
            open: OnceCell::new(),
        }
    }

    /// The buckets, which exist then.
    pub(super) async fn open(&self) -> Result<&Open, ConnectError> {
        self.open.get_or_try_init(async || open(&self.client, self.domain.as_deref(), &self.lattice).await).await
    }

    /// The same, unless there never was a connection: who may have to wait for one is not to wait here.
    pub(super) async fn opened(&self) -> Result<&Open, String> {
        if self.open.get().is_none() && self.client.connection_state() != State::Connected {
            return Err("there is no connection to NATS yet".to_owned());
        }
        self.open().await.map_err(|error| error.to_string())
    }

    /// What one message carries of an artifact.
    pub(super) fn chunk(&self) -> usize {
        CHUNK.min(self.client.max_payload().saturating_sub(PAYLOAD_HEADROOM)).max(1)
    }
}

/// How long JetStream may take to answer: after the death of a server a cluster agrees on new leaders, which takes up to
/// nine seconds a ballot, and a ballot can be a draw.
pub(super) const AGREE: Duration = Duration::from_secs(30);
/// How long one attempt at one bucket may take: what was asked while nobody led is never answered.
pub(super) const ATTEMPT: Duration = Duration::from_secs(3);
/// How long the servers of a cluster may take to find each other.
const MEET: Duration = Duration::from_secs(3);
/// Between two attempts.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Why a bucket cannot be opened.
enum Failed {
    /// JetStream is there and refuses.
    Refused(String),
    /// There are too few servers for so many copies.
    TooFew(String),
    /// It does not answer now.
    Away(String),
    /// It is not there, and it is not known whether it is to be there.
    Undecided,
}

/// An error and what it came from.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    successors(Some(error), |error: &&'e (dyn Error + 'static)| <dyn Error>::source(*error))
}

/// What JetStream has answered, when it has.
fn code(error: &(dyn Error + 'static)) -> Option<ErrorCode> {
    chain(error).find_map(|error| {
        let get = error.downcast_ref::<GetStreamError>().map(GetStreamError::kind);
        let create = error.downcast_ref::<CreateStreamError>().map(CreateStreamError::kind);
        match (get, create) {
            (Some(GetStreamErrorKind::JetStream(told)), _) | (_, Some(CreateStreamErrorKind::JetStream(told))) => {
                Some(told.error_code())
            }
            _ => None,
        }
    })
}

impl Failed {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let reason = chain(error).last().map_or_else(String::new, ToString::to_string);
        match code(error) {
            Some(code) if TOO_FEW.contains(&code) => Self::TooFew(reason),
            Some(code) if AWAY.contains(&code) => Self::Away(reason),
            Some(_) => Self::Refused(reason),
            None if nobody_listens(error) => Self::Refused(reason),
            None => Self::Away(reason),
        }
    }

    fn is_too_few(&self) -> bool {
        matches!(self, Self::TooFew(_))
    }
}

/// Whether there is no JetStream: a server that has it, and cannot use it now, answers or lets us wait.
fn nobody_listens(error: &(dyn Error + 'static)) -> bool {
    let none = |error: &RequestError| error.kind() == RequestErrorKind::NoResponders;
    chain(error).any(|error| error.downcast_ref::<RequestError>().is_some_and(none))
}

/// What a cluster says while it has not agreed on who leads.
const AWAY: [ErrorCode; 4] = [
    ErrorCode::CLUSTER_NOT_AVAILABLE,
    ErrorCode::CLUSTER_NOT_LEADER,
    ErrorCode::CLUSTER_NOT_ACTIVE,
    ErrorCode::CLUSTER_INCOMPLETE,
];
/// What a cluster says that has too few servers, or too little room on them, for several copies.
const TOO_FEW: [ErrorCode; 4] = [
    ErrorCode::CLUSTER_NO_PEERS,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
];

/// Whether the stream that was asked for certainly is not there; else why it cannot be had.
fn absent(error: &(dyn Error + 'static)) -> Result<(), Failed> {
    if code(error) == Some(ErrorCode::STREAM_NOT_FOUND) { Ok(()) } else { Err(Failed::of(error)) }
}

/// Opens a bucket, or makes it with the most copies that can be had.
async fn bucket(context: &Context, config: &kv::Config, copies: &[usize]) -> Result<kv::Store, Failed> {
    match context.get_key_value(&config.bucket).await {
        Ok(store) => return Ok(store),
        Err(error) => absent(&error)?,
    }
    let mut failed = Failed::Undecided;
    for copies in copies {
        match context.create_key_value(kv::Config { num_replicas: *copies, ..config.clone() }).await {
            Ok(store) => return Ok(store),
            Err(error) => failed = Failed::of(&error),
        }
        if !failed.is_too_few() {
            break;
        }
    }
    Err(failed)
}

/// The same for objects.
async fn objects(context: &Context, bucket: &str, copies: &[usize]) -> Result<object_store::ObjectStore, Failed> {
    match context.get_object_store(bucket).await {
        Ok(store) => return Ok(store),
        Err(error) => absent(&error)?,
    }
    let mut failed = Failed::Undecided;
    for copies in copies {
        let config = object_store::Config { bucket: bucket.to_owned(), num_replicas: *copies, ..Default::default() };
        match context.create_object_store(config).await {
            Ok(store) => return Ok(store),
            Err(error) => failed = Failed::of(&error),
        }
        if !failed.is_too_few() {
            break;
        }
    }
    Err(failed)
}

/// Makes sure that the lattice's buckets exist, and opens them.
async fn open(client: &Client, domain: Option<&str>, lattice: &LatticeName) -> Result<Open, ConnectError> {
    check_version(client)?;
    let mut context = jetstream(client.clone(), domain);
    context.set_timeout(REQUEST_TIMEOUT);
    let info = client.server_info();
    let copies: &[usize] = match (&info.domain, domain) {
        // It may be a leaf node, whose own JetStream would make a lattice beside the one that is meant.
        (Some(_), None) => &[],
        // A clustered server keeps three copies; the cluster may be smaller than that, and then one copy has to do. Of servers elsewhere
        // nothing is known.
        (_, Some(_)) => &[3, 1],
        _ if info.cluster.is_some() => &[3, 1],
        _ => &[1],
    };
    let [state, beats, artifacts] = buckets(lattice);
    let state = kv::Config {
        bucket: state,
        description: format!("State of lattice {lattice}"),
        history: 1,
        ..Default::default()
    };
    let beats = kv::Config {
        bucket: beats,
        description: format!("Signs of life of the hosts of lattice {lattice}"),
        history: 1,
        max_age: BEAT_MAX_AGE,
        ..Default::default()
    };
    let server = format!("{}:{}", info.host, info.port);
    let begin = Instant::now();
    loop {
        // Servers that have just started do not know of each other: fewer copies are for those that are alone for certain.
        let copies = if begin.elapsed() < MEET { copies.get(..1).unwrap_or_default() } else { copies };
        match open_all(&context, &state, &beats, &artifacts, copies).await {
            Ok(open) => return Ok(open),
            Err(Failed::TooFew(_)) if begin.elapsed() < MEET => {}
            Err(Failed::Away(_)) if begin.elapsed() < AGREE => {}
            Err(Failed::Undecided) => {
                return Err(ConnectError::WhichDomain { server, domain: info.domain.unwrap_or_default() });
            }
            Err(Failed::Refused(reason) | Failed::TooFew(reason)) => {
                return Err(ConnectError::NoJetStream { server, reason });
            }
            Err(Failed::Away(reason)) => {
                return Err(ConnectError::Unreachable {
                    urls: server,
                    reason: format!("JetStream does not answer: {reason}"),
                });
            }
        }
        sleep(PAUSE).await;
    }
}

async fn open_all(
    context: &Context,
    state: &kv::Config,
    beats: &kv::Config,
    artifacts: &str,
    copies: &[usize],
) -> Result<Open, Failed> {
    Ok(Open {
        context: context.clone(),
        state: attempt(bucket(context, state, copies)).await?,
        beats: attempt(bucket(context, beats, copies)).await?,
        artifacts: attempt(objects(context, artifacts, copies)).await?,
    })
}

async fn attempt<T>(opening: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    timeout(ATTEMPT, opening).await.unwrap_or_else(|_| Err(Failed::Away(format!("nothing came for {ATTEMPT:?}"))))
}
