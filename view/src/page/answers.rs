//! What the page asks for.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use lattice::{
    bus::Bus,
    model::{
        event::Event,
        log::{Level, Query},
    },
    wire::{AppName, UnitName},
};
use lattice_provider::http::Body;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    assets::{self, Asset},
    change::{Change, Changes, Nobody, Refusal},
    picture::{Drawn, Watching},
};
use crate::{
    ViewError,
    asking::{Places, Silent},
    events,
    logs::{self, Printed},
    why,
    world::World,
};

type Result<T> = std::result::Result<T, Refusal>;

/// Lines and events that are told to who has none yet.
const BEGIN: usize = 500;
const JSON: &str = "application/json";
/// The longest request, in bytes.
const LONGEST: usize = 16 * 1024;

/// What stands behind the page.
pub struct Page<C = Nobody> {
    bus: Bus,
    watching: Watching,
    /// Who changes things for the page, if it may.
    changes: Option<C>,
}

/// A request's query, by name.
pub(super) struct Asked(pub(super) BTreeMap<String, String>);

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// A value that must be there.
    fn need<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<T> {
        self.read(name)?.ok_or_else(|| bad(format!("the request does not say `{name}`")))
    }

    fn read<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>> {
        self.0.get(name).map(|text| text.parse().map_err(|error| bad(format!("{name}: {error}")))).transpose()
    }

    /// Where an answer of before has ended, in words that we have given ourselves.
    fn cursor<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let read = |text: &String| serde_json::from_str(text).map_err(|error| bad(format!("cursor: {error}")));
        self.0.get("cursor").map(read).transpose()
    }
}

fn bad(error: String) -> Refusal {
    let help = "the page and the program that serves it are of two releases: load the page again".to_owned();
    Refusal { status: StatusCode::BAD_REQUEST, error, help: Some(help) }
}

impl<C: Changes> Page<C> {
    /// Shows the lattice of `bus`. Without `changes` it shows it and no more.
    pub fn new(bus: Bus, changes: Option<C>) -> Self {
        Self { watching: Watching::begin(&bus, changes.is_some()), bus, changes }
    }

    /// Answers a request of somebody who was let in.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let asked = Asked::of(&request);
        let answered = match (&method, path.as_str()) {
            (&Method::GET, "/api/picture") => self.picture().await,
            (&Method::GET, "/api/unit") => self.unit(&asked).await,
            (&Method::GET, "/api/log") => self.log(&asked).await,
            (&Method::GET, "/api/events") => self.events(&asked).await,
            (&Method::POST, "/api/do") => self.change(request).await,
            (&Method::GET | &Method::HEAD, path) => return file(assets::find(path)),
            _ => return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
        };
        match answered {
            Ok(body) => reply(StatusCode::OK, JSON, body),
            Err(Refusal { status, error, help }) => {
                reply(status, JSON, json!({ "error": error, "help": help }).to_string().into())
            }
        }
    }

    async fn picture(&self) -> Result<Bytes> {
        written(&self.look().await?.picture)
    }

    async fn look(&self) -> Result<Arc<Drawn>> {
        self.watching.look().await.ok_or_else(|| Refusal {
            status: StatusCode::BAD_GATEWAY,
            error: format!("the lattice {} does not answer", self.bus.lattice()),
            help: Some("see whether NATS can be reached: `lattice-ctl doctor`".to_owned()),
        })
    }

    /// What a unit is to be, and why it is where it is.
    async fn unit(&self, asked: &Asked) -> Result<Bytes> {
        let (app, unit): (AppName, UnitName) = (asked.need("app")?, asked.need("unit")?);
        let world = World::read(&self.bus).await.map_err(ViewError::from)?;
        let why = why::reports(&self.bus, &world, &app, Some(&unit)).await?.pop().map(|(report, _)| report);
        let spec = world.apps.get(app.as_str()).and_then(|record| record.value.units.get(&unit));
        written(&json!({ "spec": spec.map(|record| &record.spec), "why": why }))
    }

    async fn log(&self, asked: &Asked) -> Result<Bytes> {
        let (app, unit, places) = (asked.read("app")?, asked.read("unit")?, asked.cursor::<Places>()?);
        let newest = places.is_none().then_some(BEGIN);
        let query = Query { app, unit, newest, ..Query::default() };
        let places = places.unwrap_or_default();
        let mut reader = logs::Reader { query, level: Level::Trace, places, silent: Silent::default() };
        let drawn = self.look().await?;
        let lines = reader.read(&self.bus, &drawn.world, None, &mut unheard()).await;
        let skip = newest.map_or(0, |newest| lines.len().saturating_sub(newest));
        let lines: Vec<_> = lines.iter().skip(skip).map(Printed::new).collect();
        written(&json!({ "lines": lines, "cursor": cursor(&reader.places)? }))
    }

    async fn events(&self, asked: &Asked) -> Result<Bytes> {
        let last = asked.cursor()?;
        let begins = last.is_none();
        let mut reader = events::Reader { last: last.unwrap_or_default(), ..events::Reader::default() };
        let drawn = self.look().await?;
        let mut events: Vec<Event> = reader.read(&self.bus, &drawn.world, &mut unheard()).await;
        if begins {
            events.drain(..events.len().saturating_sub(BEGIN));
        }
        written(&json!({ "events": events, "cursor": cursor(&reader.last)? }))
    }

    async fn change(&self, request: Request<Body>) -> Result<Bytes> {
        let Some(changes) = &self.changes else {
            return Err(Refusal {
                status: StatusCode::BAD_REQUEST,
                error: "this page changes nothing".to_owned(),
                help: Some("one that does is started with `lattice-ctl ui --allow-changes`".to_owned()),
            });
        };
        // No form of another page can have this type.
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_none_or(|kind| kind.split(';').next() != Some("application/json")) {
            return Err(bad("a change is JSON".to_owned()));
        }
        let body = Limited::new(request.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| bad(format!("the request cannot be read: {error}")))?.to_bytes();
        let change: Change = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
        written(&json!({ "said": changes.make(change).await? }))
    }
}

/// For what would be remarked of hosts that do not answer: the picture tells.
fn unheard() -> Vec<String> {
    Vec::new()
}

fn cursor(places: &impl Serialize) -> Result<String> {
    serde_json::to_string(places).map_err(unwritten)
}

fn written(value: &impl Serialize) -> Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(unwritten)
}

fn unwritten(error: serde_json::Error) -> Refusal {
    Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, error: error.to_string(), help: None }
}

fn file(asset: Option<&'static Asset>) -> Response<Body> {
    match asset {
        Some(asset) => reply(StatusCode::OK, asset.kind, Bytes::from_static(asset.bytes)),
        None => text(StatusCode::NOT_FOUND, "there is no such page\n"),
    }
}

pub(super) fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    reply(status, "text/plain; charset=utf-8", Bytes::from_static(body.as_bytes()))
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
