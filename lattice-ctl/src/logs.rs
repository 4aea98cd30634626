//! `logs`: what apps have logged, from all hosts.

use std::time::Duration;

use chrono::SecondsFormat;
use lattice::{
    bus::Bus,
    model::log::{Level, Line, Query},
    wire::{AppName, HostId, UnitName},
};
use lattice_view::{
    asking::{Places, Silent},
    logs::{Printed, Reader, at},
    world::{World, now_ms},
};
use tokio::time::{Instant, sleep};

use crate::{
    cli::{Format, Global, LogsArgs},
    failure::{Failure, Result},
    host::find,
    output::{Output, Paint, plain},
};

/// How often hosts are asked for what is new.
const POLL: Duration = Duration::from_millis(300);
/// How often it is looked which hosts there are.
const HOSTS: Duration = Duration::from_secs(2);

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
