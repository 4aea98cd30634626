//! Subscriptions: whether each is one, and leads to a component that takes messages.

use serde_saphyr::Spanned;

use super::Checker;
use crate::{
    model::{
        app::{Isolation, Limits},
        catalog::{MESSAGING_NATS, ProviderKind},
        manifest::{Provider, Subscription, resolve_duration},
        messages::{
            DEFAULT_BACKOFF_MS, DEFAULT_DELIVERIES, DEFAULT_IN_FLIGHT, DurableSpec, MAX_IN_FLIGHT, SubjectError,
            SubscriptionSpec,
        },
        problem::Problem,
    },
    wire::AppName,
};

/// What a component must export to be given messages, and in which version.
const HANDLER: &str = "wasmcloud:messaging/handler@0.2.0";
const NEEDS_STREAM: &str = "only a subscription to what a stream keeps has this";
/// What JetStream takes as a stream's name at the most, in bytes.
const MAX_STREAM: usize = 255;

impl Checker<'_> {
    pub(super) fn subscriptions(
        &mut self,
        app: &AppName,
        kind: &ProviderKind,
        provider: &Provider,
        isolate: Isolation,
    ) -> Vec<SubscriptionSpec> {
        let first = provider.subscriptions.first_key();
        match kind.has_subscriptions {
            true => self.only_inside(first, "subscriptions", isolate),
            false => self.only_of(first, kind.name, "subscriptions", MESSAGING_NATS),
        }
        let all = &provider.subscriptions.0;
        all.iter().filter_map(|(subject, subscription)| self.subscription(app, subject, subscription)).collect()
    }

    fn subscription(
        &mut self,
        app: &AppName,
        subject: &Spanned<String>,
        subscription: &Subscription,
    ) -> Option<SubscriptionSpec> {
        let pattern = self.subject(subject);
        let to = &subscription.to;
        let unit = self.target(app, to);
        if unit.is_some() {
            self.must_export(to, HANDLER, "takes no messages", "be given messages");
        }
        let in_flight = match &subscription.in_flight {
            Some(at) if at.value == 0 || at.value > MAX_IN_FLIGHT => {
                let problem = Problem::at(at, format!("inFlight is {}", at.value));
                self.problems.push(problem.help(format!("write 1 to {MAX_IN_FLIGHT}")));
                return None;
            }
            given => given.as_ref().map_or(DEFAULT_IN_FLIGHT, |given| given.value),
        };
        let durable = self.durable(subscription);
        let timeout_ms = Limits::default().timeout_ms;
        Some(SubscriptionSpec { subject: pattern?, to: unit?, timeout_ms, in_flight, durable })
    }

    /// A subject, or a pattern of subjects.
    fn subject<T: std::str::FromStr<Err = SubjectError>>(&mut self, text: &Spanned<String>) -> Option<T> {
        let parsed = text.value.parse();
        parsed.map_err(|error: SubjectError| self.problems.push(Problem::at(text, error.to_string()))).ok()
    }

    fn durable(&mut self, subscription: &Subscription) -> Option<DurableSpec> {
        let Subscription { stream, deliveries, backoff, dead_letter, .. } = subscription;
        let Some(stream) = stream else {
            for (name, at) in [
                ("deliveries", deliveries.as_ref().map(|at| Problem::at(at, NEEDS_STREAM))),
                ("backoff", backoff.as_ref().map(|at| Problem::at(at, NEEDS_STREAM))),
                ("deadLetter", dead_letter.as_ref().map(|at| Problem::at(at, NEEDS_STREAM))),
            ] {
                let help = format!("add `stream:` and its name, or remove `{name}:`");
                self.problems.extend(at.map(|problem| problem.help(help)));
            }
            return None;
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if stream.value.is_empty() || stream.value.len() > MAX_STREAM || !stream.value.chars().all(allowed) {
            let problem = Problem::at(stream, format!("`{}` is no name of a stream", stream.value));
            self.problems.push(problem.help("write letters, digits, `-` and `_`"));
        }
        if let Some(at) = deliveries.as_ref().filter(|at| at.value == 0) {
            self.problems.push(Problem::at(at, "deliveries 0 would bring nothing").help("write at least 1"));
        }
        let backoff_ms = match backoff {
            Some(backoff) => resolve_duration(backoff, &mut self.problems)?,
            None => DEFAULT_BACKOFF_MS,
        };
        let dead_letter = match dead_letter {
            Some(subject) => Some(self.subject(subject)?),
            None => None,
        };
        let deliveries = deliveries.as_ref().map_or(DEFAULT_DELIVERIES, |given| given.value);
        Some(DurableSpec { stream: stream.value.clone(), deliveries, backoff_ms, dead_letter })
    }
}
