//! What apps have logged, on all hosts.

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::join_all;
use lattice::{
    bus::Bus,
    model::{
        asked::Question,
        inventory::HostRecord,
        log::{Level, Line, Page, Query, Source},
    },
    wire::{CallError, HostId, UnitId},
};
use serde::Serialize;

use crate::{
    asking::{Places, Remarks, Silent, ask},
    world::World,
};

/// A line, as it is printed.
#[derive(Debug, Serialize)]
pub struct Printed<'a> {
    at: String,
    host: &'a HostId,
    unit: Option<&'a UnitId>,
    level: Level,
    source: Source,
    text: &'a str,
}

impl<'a> Printed<'a> {
    /// A line of a host.
    pub fn new((host, line): &'a (HostId, Line)) -> Self {
        Self {
            at: at(line).to_rfc3339_opts(SecondsFormat::Micros, true),
            host,
            unit: line.unit.as_ref(),
            level: line.level,
            source: line.source,
            text: &line.text,
        }
    }
}

/// When it was logged.
pub fn at(line: &Line) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(i64::try_from(line.at_us).unwrap_or(i64::MAX)).unwrap_or_default()
}

/// What is read of the logs of hosts, and how far that has been.
pub struct Reader {
    pub query: Query,
    pub level: Level,
    pub places: Places,
    pub silent: Silent,
}

impl Reader {
    /// What is new on all hosts, in the order of time.
    pub async fn read(
        &mut self,
        bus: &Bus,
        world: &World,
        only: Option<&HostId>,
        remarks: &mut dyn Remarks,
    ) -> Vec<(HostId, Line)> {
        let hosts = world.live_hosts().filter(|host| only.is_none_or(|only| host.host == *only));
        let read = |host: &HostRecord| pages(bus.clone(), host.clone(), self.place(&host.host));
        let reads: Vec<_> = hosts.map(read).collect();
        let mut lines = Vec::new();
        for (host, read) in join_all(reads).await {
            match read {
                Ok((new, place)) => {
                    self.silent.has_answered(&host);
                    self.places.insert(host.clone(), place);
                    lines.extend(
                        new.into_iter().filter(|line| line.level >= self.level).map(|line| (host.clone(), line)),
                    );
                }
                Err(error) => self.silent.tell(&host, "its log", &error, remarks),
            }
        }
        // Stable: lines of one host that have the same time stay in their order.
        lines.sort_by_key(|(_, line)| line.at_us);
        lines
    }

    /// Which process of a host was read last, and the query that goes on there.
    fn place(&self, host: &HostId) -> (Option<u64>, Query) {
        match self.places.get(host) {
            Some((began, after)) => (Some(*began), Query { after: *after, newest: None, ..self.query.clone() }),
            None => (None, self.query.clone()),
        }
    }
}

/// All lines that a host has for a query, and where to go on. Of a process that is not the one that was read before, from its beginning.
async fn pages(
    bus: Bus,
    host: HostRecord,
    (mut read, mut query): (Option<u64>, Query),
) -> (HostId, Result<(Vec<Line>, (u64, u64)), CallError>) {
    let mut lines = Vec::new();
    loop {
        let page: Page = match ask(&bus, &host, Question::Log, &(&query,)).await {
            Ok(page) => page,
            Err(error) => return (host.host, Err(error)),
        };
        if read.is_some_and(|read| read != page.began) {
            (query.after, read) = (0, Some(page.began));
            lines.clear();
            continue;
        }
        lines.extend(page.lines);
        (read, query) = (Some(page.began), Query { after: page.last, newest: None, ..query });
        if !page.more {
            return (host.host, Ok((lines, (page.began, page.last))));
        }
    }
}
