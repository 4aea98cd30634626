//! `ui`: a page that shows the lattice as it is, for a browser on this machine.
//!
//! ```text
//! the painter      the store, the hosts' counts  -> the picture, replaced as a whole while somebody looks
//! per connection   requests with the key         -> visits
//! the command      visits                        -> files of the page, the picture, answers out of the lattice
//! ```
//!
//! The page speaks with the rights of who has started it. So it is answered only to a browser that has the key, which stands in the address
//! that is printed: nobody else on the machine has that, and no other page.

mod answers;
mod assets;
mod changes;
mod door;
mod picture;

use std::{net::SocketAddr, sync::Arc};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use lattice::wire::InstanceId;
use lattice_provider_http_server::{Config, HttpServers};
use tokio::sync::mpsc;
use uuid::Uuid;

use self::{answers::Page, door::Door, picture::Watching};
use crate::{
    cli::{Global, UiArgs},
    failure::{Failure, Result},
    output::Output,
    up::stopped,
};

/// Requests that wait for their turn.
const VISITS: usize = 64;

pub(crate) async fn run(global: &Global, args: &UiArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let page = Page {
        global: global.clone(),
        watching: Watching::begin(&bus, args.allow_changes),
        bus,
        changes: args.allow_changes,
    };
    let key = Uuid::new_v4().simple().to_string();
    let (visits, mut arriving) = mpsc::channel(VISITS);
    let door = Arc::new(Door { key: key.clone(), visits });
    let start = |message: String| Failure::Start { message, help: Some("choose another address with --listen".into()) };
    let everything = "/".parse().map_err(|error| Failure::Other(format!("{error}")))?;
    let settings = serde_json::Map::from_iter([("address".to_owned(), args.listen.to_string().into())]);
    let config = Config::parse(&settings).map_err(|error| start(error.to_string()))?;
    let servers = HttpServers::default();
    // Routes need an owner; there is one alone.
    let owner: InstanceId = "0000000000000000".parse().map_err(|error| Failure::Other(format!("{error}")))?;
    let listening = servers.add(owner, None, &config, vec![(everything, door as _)]).await;
    let listening = listening.map_err(|error| start(error.to_string()))?;
    output.line(&address(listening.address, &key))?;
    if !args.listen.ip().is_loopback() {
        output
            .note("others than this machine can reach it, and what they read is not encrypted; the key keeps them out");
    }
    output.note(if args.allow_changes { "who has this address can change the lattice" } else { "it changes nothing" });
    let mut stopped = std::pin::pin!(stopped()?);
    let mut under_way = FuturesUnordered::new();
    loop {
        // Cancel-safe: a visit is taken when its arm completes, and the others only wait.
        tokio::select! {
            Some((request, answer)) = arriving.recv() => under_way.push(async {
                // Nobody waits for it when the browser has gone.
                let _ = answer.send(page.answer(request).await);
            }),
            Some(()) = under_way.next() => {}
            () = &mut stopped => return Ok(()),
        }
    }
}

/// What is typed into a browser.
fn address(at: SocketAddr, key: &str) -> String {
    format!("http://{at}/?key={key}")
}
