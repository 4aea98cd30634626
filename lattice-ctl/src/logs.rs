//! `logs`: what apps have logged, from all hosts.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::join_all;
use lattice::{
    bus::Bus,
    model::{
        asked::Question,
        inventory::HostRecord,
        log::{Level, Line, Page, Query, Source},
    },
    wire::{AppName, CallError, HostId, UnitId, UnitName},
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    asking::{Silent, ask},
    cli::{Format, Global, LogsArgs},
    failure::{Failure, Result},
    host::find,
    output::{Output, Paint, plain},
    world::{World, now_ms},
};

/// How often hosts are asked for what is new.
const POLL: Duration = Duration::from_millis(300);
/// How often it is looked which hosts there are.
const HOSTS: Duration = Duration::from_secs(2);

/// A line, as `-o json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Printed<'a> {
    at: String,
    host: &'a HostId,
    unit: Option<&'a UnitId>,
    level: Level,
    source: Source,
    text: &'a str,
}

impl<'a> Printed<'a> {
    pub(crate) fn new((host, line): &'a (HostId, Line)) -> Self {
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

fn at(line: &Line) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(i64::try_from(line.at_us).unwrap_or(i64::MAX)).unwrap_or_default()
}

/// How far the log of each host was read: the process that it was, and its last line.
pub(crate) type Places = BTreeMap<HostId, (u64, u64)>;

pub(crate) async fn run(global: &Global, args: &LogsArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let world = World::read(&bus).await?;
    let only = args.host.as_deref().map(|name| find(&world, name)).transpose()?;
    let (app, unit) = args.of.clone().unzip();
    let since_us = args.since.map_or(0, |since| now_ms().saturating_mul(1000).saturating_sub(since.as_micros() as u64));
    // What is left out for its level must not take the place of what is not.
    let newest = args.tail.filter(|_| Level::from(args.level) == Level::Trace);
    let query = Query { app, unit: unit.flatten(), after: 0, since_us, newest };
    let mut following = Following::new(query, args.level.into(), only, world);
    let mut lines = following.lines(&bus, output).await;
    if let (true, Some((app, unit))) = (lines.is_empty(), &args.of) {
        // Lines outlive their app for a while; without any, a wrong name is the likeliest reason.
        known(&following.world, app, unit.as_ref(), global)?;
    }
    if let Some(tail) = args.tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    print(&lines, output)?;
    if !args.follow {
        return Ok(());
    }
    loop {
        sleep(POLL).await;
        following.print(&bus, output).await?;
    }
}

/// The failure that names what is near, when there is no such app or unit.
fn known(world: &World, app: &AppName, unit: Option<&UnitName>, global: &Global) -> Result<()> {
    let record = &world.app(app.as_str(), &global.lattice)?.value;
    match unit.filter(|unit| !record.units.contains_key(*unit)) {
        Some(unit) => Err(Failure::no_unit(record, unit)),
        None => Ok(()),
    }
}

/// A log that is read on and on.
pub(crate) struct Following {
    reader: Reader,
    /// The one host that is asked, if it is one.
    only: Option<HostId>,
    world: World,
    /// When it was last looked which hosts there are; `None` when it never was.
    looked: Option<Instant>,
    /// When hosts were last asked.
    asked: Option<Instant>,
}

impl Following {
    fn new(query: Query, level: Level, only: Option<HostId>, world: World) -> Self {
        let reader = Reader { query, level, places: Places::new(), silent: Silent::default() };
        Self { reader, only, world, looked: Some(Instant::now()), asked: None }
    }

    /// What an app logs from now on.
    pub(crate) fn from_now(app: AppName) -> Self {
        let query = Query { app: Some(app), since_us: now_ms().saturating_mul(1000), ..Query::default() };
        Self { looked: None, ..Self::new(query, Level::Trace, None, World::default()) }
    }

    async fn lines(&mut self, bus: &Bus, output: &mut Output) -> Vec<(HostId, Line)> {
        if self.looked.is_none_or(|looked| looked.elapsed() > HOSTS) {
            // Without NATS the hosts of before are asked again.
            if let Ok(world) = World::read(bus).await {
                self.world = world;
            }
            self.looked = Some(Instant::now());
        }
        self.asked = Some(Instant::now());
        self.reader.read(bus, &self.world, self.only.as_ref(), output).await
    }

    /// Prints what is new, unless hosts were asked a moment ago.
    pub(crate) async fn print(&mut self, bus: &Bus, output: &mut Output) -> Result<()> {
        if self.asked.is_some_and(|asked| asked.elapsed() < POLL) {
            return Ok(());
        }
        print(&self.lines(bus, output).await, output)
    }
}

/// What is read of the logs of hosts, and how far that has been.
pub(crate) struct Reader {
    pub(crate) query: Query,
    pub(crate) level: Level,
    pub(crate) places: Places,
    pub(crate) silent: Silent,
}

impl Reader {
    /// What is new on all hosts, in the order of time.
    pub(crate) async fn read(
        &mut self,
        bus: &Bus,
        world: &World,
        only: Option<&HostId>,
        output: &mut Output,
    ) -> Vec<(HostId, Line)> {
        let hosts = world.live_hosts().filter(|host| only.is_none_or(|only| host.host == *only));
        let reads = hosts.map(async |host| (host.host.clone(), pages(bus, host, self.place(&host.host)).await));
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
                Err(error) => self.silent.tell(&host, "its log", &error, output),
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
    bus: &Bus,
    host: &HostRecord,
    (mut read, mut query): (Option<u64>, Query),
) -> std::result::Result<(Vec<Line>, (u64, u64)), CallError> {
    let mut lines = Vec::new();
    loop {
        let page: Page = ask(bus, host, Question::Log, &(&query,)).await?;
        if read.is_some_and(|read| read != page.began) {
            (query.after, read) = (0, Some(page.began));
            lines.clear();
            continue;
        }
        lines.extend(page.lines);
        (read, query) = (Some(page.began), Query { after: page.last, newest: None, ..query });
        if !page.more {
            return Ok((lines, (page.began, page.last)));
        }
    }
}

fn print(lines: &[(HostId, Line)], output: &mut Output) -> Result<()> {
    for printed in lines {
        let (host, line) = printed;
        match output.format {
            Format::Json | Format::Yaml => output.next_value(&Printed::new(printed))?,
            Format::Table => {
                let (word, paint) = match line.level {
                    Level::Trace => ("TRACE", None),
                    Level::Debug => ("DEBUG", None),
                    Level::Info => ("INFO ", None),
                    Level::Warn => ("WARN ", Some(Paint::Yellow)),
                    Level::Error => ("ERROR", Some(Paint::Red)),
                };
                let word = paint.map_or(word.to_owned(), |paint| output.paint(paint, word));
                let who = line.unit.as_ref().map_or("-".to_owned(), ToString::to_string);
                let at = at(line).to_rfc3339_opts(SecondsFormat::Millis, true);
                let text = plain(&line.text);
                output.line(&format!("{at} {} {word} {} {text}", host.short(), output.paint(Paint::Cyan, &who)))?;
            }
        }
    }
    Ok(())
}
