//! Messages over NATS: `wasmcloud:messaging@0.2.0`. Components publish and request; [`listen`] brings them the messages of
//! subscriptions once, [`durable`] those that a stream keeps, until they are done.
//!
//! ```text
//! one per subscription   messages from NATS, places that are free  -> tasks, one per message
//! health                 whether there is a connection             -> reports
//! ```
//!
//! When the provider ends, its subscriptions take no more, and what they have taken goes on to its end.

mod config;
mod durable;
mod listen;

use std::time::Duration;

use async_nats::{Client, HeaderMap, Request, RequestErrorKind, jetstream};
use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::Bus,
    model::messages::Subject,
    trace::{self, Kind, Open, inside, spanned, under},
    wire::{ALL_CALLS, Digest, LatticeName, TraceContext, UnitId, header::TRACEPARENT},
};
use lattice_provider::{
    Capability, Health, HealthReporter, NatsUse, Provider, StartContext, StartError,
    messaging::{BrokerMessage, Consumer, MessageHandler, Subscription},
};
use tokio::sync::watch;
use tokio_util::{sync::DropGuard, task::AbortOnDropHandle};

pub use self::config::Config;

/// How long JetStream may take to say that it has stored a message, or to answer anything else.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a component may wait for an answer.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// The provider.
pub struct Messaging {
    client: Client,
    connected: watch::Receiver<bool>,
    /// Where messages are stored before they count as sent, if they are.
    confirm: Option<jetstream::Context>,
    /// Ends the subscriptions.
    _stop: DropGuard,
    _health: AbortOnDropHandle<()>,
}

#[async_trait]
impl Provider for Messaging {
    const KIND: &'static str = "messaging-nats";
    type Config = Config;

    fn check(config: &Config, _: &UnitId) -> Result<(), StartError> {
        config.check()
    }

    fn nats_use(config: &Config, _: &LatticeName, _: &UnitId) -> NatsUse {
        if config.url.is_some() {
            return NatsUse::default();
        }
        let never = [ALL_CALLS, "$JS.>", "$KV.>", "$O.>", "$SYS.>"];
        NatsUse { publish: vec![">".to_owned()], never_publish: never.map(str::to_owned).into() }
    }

    async fn start(context: StartContext, config: Config) -> Result<Capability, StartError> {
        let StartContext { unit, bus, health, subscriptions, work, .. } = context;
        let bus = config.bus(bus, &unit).await?;
        let no_nats = || StartError::Backend("this lattice has no NATS".into());
        let (client, mut jetstream) = bus.nats().cloned().zip(bus.jetstream()).ok_or_else(no_nats)?;
        jetstream.set_timeout(TIMEOUT);
        // When one of them cannot begin, or nobody waits for the end, none goes on.
        let guard = work.stop.clone().drop_guard();
        for subscription in subscriptions {
            let name = name(&bus, &unit, subscription.spec.subject.as_str());
            if subscription.spec.durable.is_some() {
                durable::begin(&jetstream, name, &unit, subscription, config.replicas, work.clone()).await?;
            } else {
                listen::begin(&client, name, &unit, subscription, work.clone()).await?;
            }
        }
        bus.round_trip().await.map_err(|error| StartError::Backend(error.to_string()))?;
        let connected = bus.connected();
        let health = AbortOnDropHandle::new(tokio::spawn(report(connected.clone(), health)));
        let confirm = config.confirm.then_some(jetstream);
        Ok(Capability::messaging(Self { client, connected, confirm, _stop: guard, _health: health }))
    }
}

/// What all instances of a provider call one of its subscriptions, so that each message goes to one of them.
fn name(bus: &Bus, unit: &UnitId, subject: &str) -> String {
    let digest = Digest::of(subject.as_bytes());
    let short = digest.as_str().rsplit(':').next().and_then(|hex| hex.get(..8)).unwrap_or_default();
    format!("{}-{}-{}-{short}", bus.lattice(), unit.app, unit.unit)
}

/// Tells whether there is a connection, and each change of it.
async fn report(mut connected: watch::Receiver<bool>, health: HealthReporter) {
    loop {
        let there = *connected.borrow_and_update();
        health.report(if there { Health::Ready } else { Health::Degraded("there is no connection to NATS".into()) });
        if connected.changed().await.is_err() {
            return;
        }
    }
}

impl Messaging {
    /// A subject that a component may send to, while there is somebody to take it.
    fn subject(&self, text: String) -> Result<Subject, String> {
        if !*self.connected.borrow() {
            return Err("there is no connection to NATS".to_owned());
        }
        text.try_into().map_err(|error: lattice::model::messages::SubjectError| error.to_string())
    }
}

#[async_trait]
impl Consumer for Messaging {
    async fn request(&self, subject: String, body: Bytes, timeout_ms: u32) -> Result<BrokerMessage, String> {
        let subject = self.subject(subject)?;
        let wait = Duration::from_millis(timeout_ms.into()).min(MAX_WAIT);
        let (open, headers) = traced(Kind::Client, "request", &subject);
        let request = Request::new().payload(body).headers(headers).timeout(Some(wait));
        let answered = async {
            let answer = self.client.send_request(subject.to_string(), request).await;
            answer.map_err(|error| match error.kind() {
                RequestErrorKind::NoResponders => format!("nobody answers requests to `{subject}`"),
                RequestErrorKind::TimedOut => format!("no answer to `{subject}` within {timeout_ms} ms"),
                _ => error.to_string(),
            })
        };
        Ok(broker_message(spanned(open, answered).await?))
    }

    async fn publish(&self, msg: BrokerMessage) -> Result<(), String> {
        let subject = self.subject(msg.subject)?;
        let reply = msg.reply_to.map(|reply| self.subject(reply)).transpose()?;
        let (open, headers) = traced(Kind::Producer, "send", &subject);
        let to = subject.to_string();
        let sent = async {
            match (&self.confirm, reply) {
                (Some(jetstream), None) => store(jetstream, &subject, headers, msg.body).await,
                // A stream's answer would go where the component wants its own.
                (Some(_), Some(_)) => Err("a message that a stream is to confirm cannot have a reply-to".to_owned()),
                (None, Some(reply)) => {
                    let reply = reply.to_string();
                    let sent = self.client.publish_with_reply_and_headers(to, reply, headers, msg.body).await;
                    sent.map_err(|error| error.to_string())
                }
                (None, None) => {
                    let sent = self.client.publish_with_headers(to, headers, msg.body).await;
                    sent.map_err(|error| error.to_string())
                }
            }
        };
        spanned(open, sent).await
    }
}

/// The span of a message that is sent, where that is traced, and the headers that tell of it whoever takes the message.
fn traced(kind: Kind, what: &str, subject: &Subject) -> (Option<Open>, HeaderMap) {
    let open = trace::step(kind, || format!("{what} {subject}")).map(|open| about(open, subject.as_str()));
    let mut headers = HeaderMap::new();
    if let Some(context) = open.as_ref().and_then(Open::context).or_else(trace::current) {
        headers.insert(TRACEPARENT, context.to_string());
    }
    (open, headers)
}

/// Brings a message, as a part of the trace that it belongs to, or of one that begins with it.
async fn bring(unit: &UnitId, subscription: &Subscription, message: async_nats::Message) -> Result<(), String> {
    let sender = message.headers.as_ref().and_then(|headers| headers.get(TRACEPARENT)?.as_str().parse().ok());
    let sender = sender.map(|context: TraceContext| context.into());
    let open = inside(sender.as_ref(), || trace::root(Kind::Consumer, unit, || format!("process {}", message.subject)));
    let open = open.map(|open| about(open, &message.subject));
    under(sender, spanned(open, subscription.to.handle_message(broker_message(message)))).await
}

fn about(open: Open, subject: &str) -> Open {
    open.with("messaging.system", "nats").with("messaging.destination.name", subject)
}

/// Waits until a stream has stored a message.
async fn store(
    jetstream: &jetstream::Context,
    subject: &Subject,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), String> {
    let stored = async {
        let sent = jetstream.publish_with_headers(subject.to_string(), headers, body).await?;
        sent.await.map(drop)
    };
    match stored.await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == jetstream::context::PublishErrorKind::StreamNotFound => {
            Err(format!("no stream keeps messages to `{subject}`"))
        }
        Err(error) => Err(format!("no stream has stored the message to `{subject}`: {error}")),
    }
}

fn broker_message(message: async_nats::Message) -> BrokerMessage {
    BrokerMessage {
        subject: message.subject.to_string(),
        body: message.payload,
        reply_to: message.reply.map(|reply| reply.to_string()),
    }
}
