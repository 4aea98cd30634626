//! `spy`: the calls of units, as they are made.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use lattice::{
    model::spy::{Call, Outcome, Query, Value, Way},
    wire::{HostId, UnitId},
};
use lattice_view::{
    asking::{Places, Silent},
    spied::Reader,
    world::World,
};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    cli::{Format, Global, SpyArgs},
    failure::{Failure, Result},
    output::{Output, Paint, plain},
    rates,
};

/// How often hosts are asked for what is new.
pub(crate) const POLL: Duration = Duration::from_millis(250);
/// How often it is looked which hosts there are.
const HOSTS: Duration = Duration::from_secs(2);
/// What of arguments or a result stands in a line for people, in characters.
const SHOWN: usize = 200;

/// A call, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    at: String,
    took_us: u64,
    host: &'a HostId,
    from: &'a UnitId,
    to: &'a UnitId,
    interface: &'a str,
    function: &'a str,
    way: Way,
    arguments: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    trace: Option<&'a str>,
}

pub(crate) async fn run(global: &Global, args: &SpyArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let mut world = World::read(&bus).await?;
    let (app, unit) = &args.of;
    let record = &world.app(app.as_str(), &global.lattice)?.value;
    if let Some(unit) = unit.as_ref().filter(|unit| !record.units.contains_key(*unit)) {
        return Err(Failure::no_unit(record, unit));
    }
    let query = Query { app: app.clone(), unit: unit.clone(), sample: args.sample, whole: false };
    let mut reader = Reader { query, places: Places::new(), silent: Silent::default() };
    let (mut left, mut looked) = (args.count.unwrap_or(usize::MAX), Instant::now());
    while left > 0 {
        if looked.elapsed() > HOSTS {
            // Without NATS the hosts of before are asked again.
            world = World::read(&bus).await.unwrap_or(world);
            looked = Instant::now();
        }
        let mut calls = reader.read(&bus, &world, output).await.map_err(hidden)?;
        calls.retain(|(_, call)| wanted(call, args));
        for (host, call) in calls.iter().take(left) {
            print(host, call, output)?;
        }
        left -= calls.len().min(left);
        sleep(POLL).await;
    }
    Ok(())
}

/// No host lets calls be looked at.
pub(crate) fn hidden(reason: String) -> Failure {
    Failure::Refused { message: reason, help: "start hosts without --no-spy where calls may be seen".to_owned() }
}

fn wanted(call: &Call, args: &SpyArgs) -> bool {
    let name = |name: &String| call.function == *name || call.interface.starts_with(name.as_str());
    let failed = match &call.outcome {
        Outcome::Error(_) => true,
        // An error of the function's own, or an HTTP status of 500 and above.
        Outcome::Result(Value::Json(value)) => {
            value.get("err").is_some() || value.get("status").and_then(serde_json::Value::as_u64) >= Some(500)
        }
        Outcome::Result(Value::Bytes(_)) => false,
    };
    args.function.as_ref().is_none_or(name) && (failed || !args.failed)
}

fn shown(value: &Value) -> serde_json::Value {
    match value {
        Value::Json(value) => value.clone(),
        Value::Bytes(bytes) => json!({ "bytes": bytes }),
    }
}

fn print(host: &HostId, call: &Call, output: &mut Output) -> Result<()> {
    let at = DateTime::from_timestamp_micros(i64::try_from(call.at_us).unwrap_or(i64::MAX)).unwrap_or_default();
    let (result, error) = match &call.outcome {
        Outcome::Result(value) => (Some(shown(value)), None),
        Outcome::Error(error) => (None, Some(error.as_str())),
    };
    if output.format != Format::Table {
        return output.next_value(&Printed {
            at: at.to_rfc3339_opts(SecondsFormat::Micros, true),
            took_us: call.took_us,
            host,
            from: &call.from,
            to: &call.to,
            interface: &call.interface,
            function: &call.function,
            way: call.way,
            arguments: shown(&call.arguments),
            result,
            error,
            trace: call.trace.as_deref(),
        });
    }
    let outcome = match (result, error) {
        (_, Some(error)) => output.paint(Paint::Red, &short(error)),
        (result, None) => short(&result.unwrap_or_default().to_string()),
    };
    let arguments = short(&shown(&call.arguments).to_string());
    let arguments = arguments.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')).unwrap_or(&arguments);
    let name = call.interface.split('@').next().unwrap_or_default();
    let way = output.paint(Paint::Cyan, &format!("{} -> {}", call.from, call.to));
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let took = rates::short(call.took_us);
    output.line(&format!("{at} {} {way} {name}.{}({arguments}) = {outcome} in {took}", host.short(), call.function))
}

/// In one line, and not too long.
fn short(text: &str) -> String {
    let text = plain(text);
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(outcome: Outcome) -> Call {
        Call {
            number: 1,
            at_us: 0,
            took_us: 1500,
            from: "shop/web".parse().unwrap(),
            to: "shop/cart".parse().unwrap(),
            interface: "acme:pricing/quote@1.0.0".to_owned(),
            function: "price".to_owned(),
            way: Way::Local,
            arguments: Value::Json(json!(["apple\n", 3])),
            outcome,
            trace: None,
            raw: None,
        }
    }

    #[test]
    fn a_call_is_a_line() {
        let host: HostId = format!("N{}", "A".repeat(55)).parse().unwrap();
        let (mut output, said) = Output::captured(Format::Table);
        print(&host, &call(Outcome::Result(Value::Json(json!({ "ok": 7 })))), &mut output).unwrap();
        print(&host, &call(Outcome::Error("a trap".to_owned())), &mut output).unwrap();
        let expected =
            "1970-01-01T00:00:00.000Z NAAAAAAA shop/web -> shop/cart acme:pricing/quote.price(\"apple\\n\",3) = ";
        assert_eq!(said.out(), format!("{expected}{{\"ok\":7}} in 1.5ms\n{expected}a trap in 1.5ms\n"));
    }

    #[test]
    fn calls_are_chosen_by_function_and_failure() {
        let args = |function: Option<&str>, failed: bool| SpyArgs {
            of: ("shop".parse().unwrap(), None),
            function: function.map(str::to_owned),
            failed,
            sample: 1,
            count: None,
        };
        let good = call(Outcome::Result(Value::Json(json!({ "ok": 7 }))));
        assert!(wanted(&good, &args(Some("price"), false)) && wanted(&good, &args(Some("acme:pricing"), false)));
        assert!(!wanted(&good, &args(Some("pri"), false)) && !wanted(&good, &args(None, true)));
        for bad in [json!({ "err": null }), json!({ "status": 503 })] {
            assert!(wanted(&call(Outcome::Result(Value::Json(bad))), &args(None, true)));
        }
    }
}
