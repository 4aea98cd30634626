//! `events`: what has happened, as the hosts tell it.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use lattice::{
    model::{
        event::{Event, Kind},
        problem::suggest,
    },
    wire::HostId,
};
use lattice_view::{
    events::Reader,
    world::{World, now_ms},
};
use tokio::time::sleep;

use crate::{
    cli::{EventsArgs, Format, Global},
    failure::{Failure, Result},
    output::{Output, Paint, plain},
};

/// How often hosts are asked for what is new.
const POLL: Duration = Duration::from_millis(500);

pub(crate) async fn run(global: &Global, args: &EventsArgs, output: &mut Output) -> Result<()> {
    if let Some(kind) = args.kind.as_deref().filter(|kind| !Kind::ALL.iter().any(|(_, name)| is_of(name, kind))) {
        return Err(Failure::Refused {
            message: format!("there are no events `{kind}`"),
            help: suggest(kind, Kind::ALL.iter().map(|(_, name)| *name)),
        });
    }
    let bus = global.connect().await?;
    let mut reader = Reader::default();
    let mut world = World::read(&bus).await?;
    let mut events = reader.read(&bus, &world, output).await;
    events.retain(|event| wanted(event, args));
    events.drain(..events.len().saturating_sub(args.tail.unwrap_or(usize::MAX)));
    print(&events, output)?;
    if !args.follow {
        return Ok(());
    }
    loop {
        sleep(POLL).await;
        // Without NATS the hosts of before are asked again.
        world = World::read(&bus).await.unwrap_or(world);
        let mut events = reader.read(&bus, &world, output).await;
        events.retain(|event| wanted(event, args));
        print(&events, output)?;
    }
}

/// Whether a kind is the one that is meant, or one of those.
fn is_of(name: &str, wanted: &str) -> bool {
    name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn wanted(event: &Event, args: &EventsArgs) -> bool {
    let (app, unit) =
        event.subject.split_once('/').map_or((event.subject.as_str(), None), |(app, unit)| (app, Some(unit)));
    let of = args.of.as_ref().is_none_or(|(wanted, only)| {
        app == wanted.as_str() && only.as_ref().is_none_or(|only| unit == Some(only.as_str()))
    });
    let kind = event.kind.strip_prefix("lattice.").unwrap_or(&event.kind);
    let since = args.since.map(|since| now_ms().saturating_sub(since.as_millis() as u64));
    of && args.kind.as_deref().is_none_or(|wanted| is_of(kind, wanted))
        && since
            .is_none_or(|since| at(event).is_some_and(|at| at.timestamp_millis() >= i64::try_from(since).unwrap_or(0)))
}

fn at(event: &Event) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(&event.time).ok().map(|at| at.to_utc())
}

fn print(events: &[Event], output: &mut Output) -> Result<()> {
    for event in events {
        match output.format {
            Format::Json | Format::Yaml => output.next_value(event)?,
            Format::Table => {
                let at = at(event).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true);
                let kind = event.kind.strip_prefix("lattice.").unwrap_or(&event.kind);
                let bad = [Kind::HostLost, Kind::RolloutFailed, Kind::InstanceFailed, Kind::InstanceDegraded];
                let kind = match bad.iter().any(|bad| bad.name() == kind) {
                    true => output.paint(Paint::Yellow, &format!("{kind:<17}")),
                    false => format!("{kind:<17}"),
                };
                let by = event.source.rsplit('/').next().and_then(|host| host.parse::<HostId>().ok());
                let by = by.as_ref().map_or("", HostId::short);
                let text = |(key, value): (&String, &serde_json::Value)| match value.as_str() {
                    Some(text) => format!("{key}={text}"),
                    None => format!("{key}={value}"),
                };
                let data: Vec<_> = event.data.iter().map(text).collect();
                let data = plain(&data.join(" "));
                output.line(format!("{at} {by} {kind} {} {data}", plain(&event.subject)).trim_end())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_in_whole_or_by_their_beginning() {
        assert!(is_of("host.lost", "host") && is_of("host.lost", "host.lost"));
        assert!(!is_of("host.lost", "host.l") && !is_of("host.lost", "app") && !is_of("host", "host.lost"));
    }
}
