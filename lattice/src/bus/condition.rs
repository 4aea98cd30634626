//! How NATS is, as far as a client of it can see: for whoever looks for what is wrong.

use std::time::{Duration, Instant};

use async_nats::jetstream::{Context, stream};

use super::{Bus, Road, own_streams};
use crate::wire::CallError;

/// A server, its JetStream, and the streams of a lattice in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsCondition {
    pub server: String,
    pub version: String,
    pub round_trip: Duration,
    /// What the account has in files, in bytes, and how much it may have.
    pub storage: (u64, Option<u64>),
    pub streams: Vec<StreamCondition>,
}

/// One stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamCondition {
    pub name: String,
    pub bytes: u64,
    /// How many copies it is to have.
    pub copies: usize,
    /// Servers with a copy that is behind, or that do not answer.
    pub behind: Vec<String>,
    /// Why it cannot be read, when it cannot.
    pub problem: Option<String>,
}

impl Bus {
    /// Asks the server. `None` inside a process, where there is none.
    ///
    /// # Errors
    /// When it cannot be reached, or has no JetStream for us.
    pub async fn condition(&self) -> Result<Option<NatsCondition>, CallError> {
        let (Road::Nats(nats), Some(jetstream)) = (&self.road, self.jetstream()) else { return Ok(None) };
        let began = Instant::now();
        self.round_trip().await?;
        let round_trip = began.elapsed();
        let account = jetstream.query_account().await.map_err(|error| CallError::Transport(error.to_string()))?;
        let most = account.limits.max_storage.and_then(|most| u64::try_from(most).ok());
        let mut streams = Vec::new();
        for name in own_streams(&self.lattice) {
            streams.push(look(&jetstream, name).await);
        }
        let server = nats.client.server_info();
        let storage = (account.storage, most);
        Ok(Some(NatsCondition { server: server.server_name, version: server.version, round_trip, storage, streams }))
    }
}

async fn look(jetstream: &Context, name: String) -> StreamCondition {
    let info = async { jetstream.get_stream(&name).await?.get_info().await.map_err(Box::from) };
    let info: Result<stream::Info, Box<dyn std::error::Error + Send + Sync>> = info.await;
    let info = match info {
        Ok(info) => info,
        Err(error) => return StreamCondition { name, problem: Some(error.to_string()), ..StreamCondition::default() },
    };
    let cluster = info.cluster.as_ref();
    let behind = cluster.into_iter().flat_map(|cluster| &cluster.replicas);
    let behind = behind.filter(|replica| replica.offline || !replica.current).map(|replica| replica.name.clone());
    let leaderless = cluster.is_some_and(|cluster| cluster.leader.is_none());
    StreamCondition {
        bytes: info.state.bytes,
        copies: info.config.num_replicas,
        behind: behind.collect(),
        problem: leaderless.then(|| "its servers have no leader".to_owned()),
        name,
    }
}
