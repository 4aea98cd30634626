//! Asking a component whether it is well: before it takes calls, and then from time to time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header::HOST};
use lattice::{
    bus::CallHandler,
    model::health::{HealthSpec, Probe},
    wire::{CallError, CallHead, ContentType},
};
use lattice_provider::{
    Health,
    http::{Body, HttpHandler},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{News, diff::Key};
use crate::runtime::LoadedFunctions;

/// So many answers in a row must be bad, or missing, before a component that was well is not.
const STRIKES: u64 = 3;
/// Of an answer, so many characters are told.
const SHOWN: usize = 200;

/// Who is asked, and how.
pub(super) struct Patient {
    spec: HealthSpec,
    http: Option<Arc<dyn HttpHandler>>,
    functions: Option<Arc<LoadedFunctions>>,
}

impl Patient {
    pub(super) fn new(
        spec: &HealthSpec,
        http: Option<&Arc<dyn HttpHandler>>,
        functions: Option<&Arc<LoadedFunctions>>,
    ) -> Self {
        Self { spec: spec.clone(), http: http.cloned(), functions: functions.cloned() }
    }

    /// Asks once.
    ///
    /// # Errors
    /// Why it is not well, in words.
    pub(super) async fn ask(&self) -> Result<(), String> {
        let limit = Duration::from_millis(self.spec.timeout_ms);
        let answer = timeout(limit, self.answer(limit)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer in {limit:?}")));
        answer.map_err(|reason| format!("{} says that it is not well: {reason}", self.spec.probe))
    }

    async fn answer(&self, limit: Duration) -> Result<(), String> {
        match (&self.spec.probe, &self.http, &self.functions) {
            (Probe::Path(path), Some(http), _) => {
                let request = Request::get(path).header(HOST, "localhost").body(Body::Empty);
                let answered = http.handle(request.map_err(|error| error.to_string())?).await;
                match answered.map_err(|error| error.to_string())?.status() {
                    status if status.as_u16() < 400 => Ok(()),
                    status => Err(status.to_string()),
                }
            }
            (Probe::Call { interface, function }, _, Some(functions)) => {
                let head = CallHead {
                    interface: interface.clone(),
                    function: function.clone(),
                    deadline: limit,
                    caller: None,
                    content_type: ContentType::Json,
                    traceparent: None,
                    session: None,
                };
                let answered = functions.call(head, Bytes::from_static(b"[]")).await;
                judge(&answered.map_err(|error| error.to_string())?)
            }
            (probe, ..) => Err(CallError::NotServed(probe.to_string()).to_string()),
        }
    }

    /// Tells the agent when it is not well, and when it is again, until `stop`.
    pub(super) async fn watch(self, key: Key, news: mpsc::Sender<News>, stop: CancellationToken) {
        let mut every = interval(Duration::from_millis(self.spec.every_ms));
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and it has just been asked.
        every.tick().await;
        let mut strikes = 0u64;
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = stop.cancelled() => return,
            }
            let health = match self.ask().await {
                Ok(()) => (std::mem::take(&mut strikes) >= STRIKES).then_some(Health::Ready),
                Err(reason) => {
                    strikes += 1;
                    (strikes == STRIKES).then_some(Health::Degraded(reason))
                }
            };
            if let Some(health) = health
                && news.send(News::Health(key.clone(), health)).await.is_err()
            {
                return;
            }
        }
    }
}

/// Whether a function's result, in JSON, is a good one.
fn judge(result: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(result);
    match serde_json::from_slice(result) {
        Ok(serde_json::Value::Bool(false)) => Err("false".to_owned()),
        Ok(serde_json::Value::Object(object)) if object.contains_key("err") => Err(text.chars().take(SHOWN).collect()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn only_false_and_errors_are_bad() {
        for good in ["", "null", "true", "0", "\"err\"", "{\"ok\": null}", "[false]"] {
            assert_eq!(judge(good.as_bytes()), Ok(()), "{good}");
        }
        assert_eq!(judge(b"false"), Err("false".to_owned()));
        assert_eq!(judge(br#"{"err": "no database"}"#), Err(r#"{"err": "no database"}"#.to_owned()));
    }
}
