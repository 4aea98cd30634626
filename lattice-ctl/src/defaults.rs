//! `defaults`: what holds in the whole lattice where manifests say nothing.

use lattice::{
    bus::Bus,
    model::manifest::{Defaults, DefaultsRecord, Manifest},
};

use crate::{
    cli::{DefaultsCommand, Global},
    failure::{Failure, Result},
    output::Output,
    source::Source,
};

pub(crate) async fn run(global: &Global, command: &DefaultsCommand, output: &mut Output) -> Result<()> {
    match command {
        DefaultsCommand::Set { file } => {
            let source = Source::read(file)?;
            Defaults::parse(&source.text).map_err(|problems| source.rejected(problems))?;
            let record = DefaultsRecord { version: DefaultsRecord::VERSION, text: source.text };
            global.connect().await?.store().defaults().put(DefaultsRecord::KEY, &record).await?;
            output.line("set; each app has them from its next `apply` on")
        }
        DefaultsCommand::Show => {
            let Some(record) = read(&global.connect().await?).await? else {
                output.note("the lattice has none of its own");
                return Ok(());
            };
            output.text(&record.text)
        }
        DefaultsCommand::Clear => {
            global.connect().await?.store().defaults().delete(DefaultsRecord::KEY).await?;
            output.line("cleared; each app is without them from its next `apply` on")
        }
    }
}

async fn read(bus: &Bus) -> Result<Option<DefaultsRecord>> {
    Ok(bus.store().defaults().get(DefaultsRecord::KEY).await?.map(|entry| entry.value))
}

/// Puts them into manifests that are about to be checked.
pub(crate) async fn fill_in(bus: &Bus, all: &mut [(Source, Manifest)]) -> Result<()> {
    let Some(record) = read(bus).await? else { return Ok(()) };
    let unreadable = |_| Failure::Refused {
        message: "the lattice's defaults are of a version that this one cannot read".to_owned(),
        help: "use a newer lattice-ctl, or set them anew with `lattice-ctl defaults set FILE`".to_owned(),
    };
    let defaults = Defaults::parse(&record.text).map_err(unreadable)?;
    all.iter_mut().for_each(|(_, manifest)| defaults.fill_in(manifest));
    Ok(())
}
