//! Spans as OTLP has them.

use std::collections::BTreeMap;

use lattice::{
    trace::{self, Kind, Span},
    wire::UnitId,
};
use serde_json::{Value, json};

use super::attribute;

/// A span, and who has done that.
pub(super) struct Ended {
    pub(super) unit: UnitId,
    pub(super) span: Span,
}

/// Each unit is a service, in the namespace of its app.
pub(super) fn message(ended: &[Ended], host: &[Value]) -> Value {
    let mut units: BTreeMap<&UnitId, Vec<Value>> = BTreeMap::new();
    for Ended { unit, span } in ended {
        units.entry(unit).or_default().push(encode(span));
    }
    let resource = |unit: &UnitId| {
        let own = [("service.namespace", unit.app.as_str()), ("service.name", unit.unit.as_str())];
        own.iter().map(|(name, value)| attribute(name, value)).chain(host.iter().cloned()).collect::<Vec<_>>()
    };
    let of = |(unit, spans): (&UnitId, Vec<Value>)| {
        json!({
            "resource": { "attributes": resource(unit) },
            "scopeSpans": [{ "scope": { "name": "lattice", "version": env!("CARGO_PKG_VERSION") }, "spans": spans }],
        })
    };
    json!({ "resourceSpans": units.into_iter().map(of).collect::<Vec<_>>() })
}

fn encode(span: &Span) -> Value {
    let kind = match span.kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    };
    let attributes = span.attributes.iter().map(|(name, value)| match value {
        trace::Value::Text(text) => attribute(name, text),
        // A number of 64 bits is a text in JSON.
        trace::Value::Number(number) => json!({ "key": name, "value": { "intValue": number.to_string() } }),
    });
    let status = match &span.error {
        Some(error) => json!({ "code": 2, "message": error }),
        None => json!({}),
    };
    json!({
        "traceId": span.context.trace_id(),
        "spanId": span.context.span_id(),
        "parentSpanId": span.parent.map(|parent| parent.span_id()).unwrap_or_default(),
        "flags": u32::from(span.context.sampled),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": span.began.to_string(),
        "endTimeUnixNano": span.ended.to_string(),
        "attributes": attributes.collect::<Vec<_>>(),
        "status": status,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_a_service_and_its_spans_are_together() {
        let span = |unit: &str, error: Option<&str>| Ended {
            unit: unit.parse().unwrap(),
            span: Span {
                context: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap(),
                parent: None,
                name: "GET /".to_owned(),
                kind: Kind::Server,
                began: 1_700_000_000_000_000_001,
                ended: 1_700_000_000_000_000_009,
                attributes: [("http.response.status_code".into(), 200u16.into())].into(),
                error: error.map(str::to_owned),
            },
        };
        let spans = [span("shop/web", None), span("shop/cart", Some("a trap")), span("shop/web", None)];
        let message = message(&spans, &[attribute("lattice.name", "default")]);
        let resources = message["resourceSpans"].as_array().unwrap();
        let names: Vec<_> = resources.iter().map(|of| of["resource"]["attributes"][1]["value"].clone()).collect();
        assert_eq!(names, [json!({ "stringValue": "cart" }), json!({ "stringValue": "web" })]);
        let web = resources[1]["scopeSpans"][0]["spans"].as_array().unwrap();
        assert_eq!((web.len(), &web[0]["startTimeUnixNano"]), (2, &json!("1700000000000000001")));
        assert_eq!(web[0]["attributes"][0]["value"], json!({ "intValue": "200" }));
        assert_eq!(resources[0]["scopeSpans"][0]["spans"][0]["status"], json!({ "code": 2, "message": "a trap" }));
    }
}
