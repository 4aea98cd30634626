//! `ui`: a page that shows the lattice as it is, for a browser on this machine.
//!
//! ```text
//! per connection   requests with the key   -> visits
//! the command      visits                  -> the page's answers
//! ```

mod changes;

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use http::{Request, Response};
use lattice::wire::{CallError, InstanceId};
use lattice_provider::http::{Body, HttpHandler};
use lattice_provider_http_server::{Config, HttpServers};
use lattice_view::page::{Door, Page};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::changes::Commands;
use crate::{
    cli::{Global, UiArgs},
    failure::{Failure, Result},
    output::Output,
    up::stopped,
};

/// Requests that wait for their turn.
const VISITS: usize = 64;

/// A request, and who waits for its answer.
type Visit = (Request<Body>, oneshot::Sender<Response<Body>>);

/// The page's door, and the way to the command.
struct Porch {
    door: Door,
    visits: mpsc::Sender<Visit>,
}

#[async_trait]
impl HttpHandler for Porch {
    async fn handle(&self, request: Request<Body>) -> std::result::Result<Response<Body>, CallError> {
        let mut response = match self.door.answer(&request) {
            Some(response) => response,
            None => {
                let (answer, answered) = oneshot::channel();
                let gone = || CallError::Transport("lattice-ctl is ending".to_owned());
                self.visits.send((request, answer)).await.map_err(|_| gone())?;
                answered.await.map_err(|_| gone())?
            }
        };
        Door::guard(&mut response);
        Ok(response)
    }
}

pub(crate) async fn run(global: &Global, args: &UiArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let page = Page::new(bus, args.allow_changes.then(|| Commands(global.clone())));
    let key = Uuid::new_v4().simple().to_string();
    let (visits, mut arriving) = mpsc::channel(VISITS);
    let door = Door::new(key.clone(), "open the address that `lattice-ctl ui` has printed\n");
    let porch = Arc::new(Porch { door, visits });
    let start = |message: String| Failure::Start { message, help: Some("choose another address with --listen".into()) };
    let everything = "/".parse().map_err(|error| Failure::Other(format!("{error}")))?;
    let settings = serde_json::Map::from_iter([("address".to_owned(), args.listen.to_string().into())]);
    let config = Config::parse(&settings).map_err(|error| start(error.to_string()))?;
    let servers = HttpServers::default();
    // Routes need an owner; there is one alone.
    let owner: InstanceId = "0000000000000000".parse().map_err(|error| Failure::Other(format!("{error}")))?;
    let listening = servers.add(owner, None, &config, vec![(everything, porch as _)]).await;
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
