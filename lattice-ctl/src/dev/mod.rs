//! `dev`: a project that runs while it is written. Each change is built and swapped in; what its providers keep stays.

mod manifest;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lattice::{bus::Bus, wire::UnitName};
use tokio::time::{Instant, sleep};

use crate::{
    apply, build,
    cli::{DevArgs, Global, Waiting},
    component::inspect,
    failure::{Failure, Result},
    image::registry::Registries,
    logs::Following,
    output::Output,
    project::{Fingerprint, Profile, Project},
    source::Source,
    up::{Up, stopped},
};

/// How often files, logs and processes are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long files must be as they are: an editor writes several, and some twice.
const SETTLED: Duration = Duration::from_millis(50);
/// How long the app may take until it is ready.
const READY: Duration = Duration::from_secs(30);

pub(crate) async fn run(global: &Global, args: &DevArgs, output: &mut Output) -> Result<()> {
    let project = Project::open(&args.project)?;
    let name = args.name.clone().map_or_else(|| project.name(), Ok)?;
    let dev = Dev { component: build::place(&project)?, project, name, args };
    if args.manifest {
        dev.build().await?;
        return output.text(&dev.made()?.text);
    }
    let data = args.data.clone().unwrap_or_else(|| dev.project.folder().join(".lattice/dev"));
    let mut up = Up::new(data);
    let stop = stopped()?;
    // Not cancel-safe and need not be: what it has started is in `up`, and ends below.
    let outcome = tokio::select! {
        outcome = dev.go(global, &mut up, output) => outcome,
        () = stop => Ok(()),
    };
    up.end(output).await;
    outcome
}

/// What is developed.
struct Dev<'a> {
    project: Project,
    name: UnitName,
    /// Where it is built to.
    component: PathBuf,
    args: &'a DevArgs,
}

impl Dev<'_> {
    async fn go(&self, global: &Global, up: &mut Up, output: &mut Output) -> Result<()> {
        // A provider is a program of whoever writes it here.
        let programs = self.args.allow_programs || matches!(self.project, Project::Provider(_));
        let bus = match global.nats_named {
            true => up.lattice(global, programs, output).await?,
            false => {
                let (bus, url) = up.alone(global, programs, output).await?;
                output.note(&format!("a lattice of its own: lattice-ctl --nats {url} reaches it"));
                bus
            }
        };
        let mut log = None;
        loop {
            let seen = self.project.fingerprint();
            let began = Instant::now();
            match self.round(&bus, output).await {
                Ok(app) => {
                    let took = began.elapsed().as_secs_f64();
                    output.note(&format!("built and swapped in {took:.1} s; waiting for changes, Ctrl-C ends it"));
                    // From the first time on: what it said before belongs to another run.
                    log.get_or_insert_with(|| Following::from_now(app));
                }
                Err(closed @ Failure::OutputClosed) => return Err(closed),
                Err(failure) => {
                    output.failure(&failure);
                    output.note("what ran before goes on; waiting for changes");
                }
            }
            self.changed(&seen, &bus, up, &mut log, output).await?;
        }
    }

    /// Builds what can be run then: for a component a manifest can be made, for a provider it cannot.
    async fn build(&self) -> Result<()> {
        if let (Project::Provider(folder), None) = (&self.project, self.own_manifest()) {
            return Err(Failure::Refused {
                message: format!("there is no app.yaml in {}", folder.display()),
                help: "a provider needs one, which says what it serves and by what settings".to_owned(),
            });
        }
        self.project.build(Profile::Dev, &self.component).await
    }

    /// Builds, and brings what was built into the lattice. Returns the app.
    async fn round(&self, bus: &Bus, output: &mut Output) -> Result<lattice::wire::AppName> {
        self.build().await?;
        let source = match self.own_manifest() {
            Some(file) => Source::read(&file.display().to_string())?,
            None => self.made()?,
        };
        let manifest = source.parse()?;
        let registries = Registries::new(&self.args.registry)?;
        let waiting = Waiting { no_wait: false, timeout: READY };
        apply::apply(bus, &source, &manifest, &registries, None, waiting, output).await?;
        manifest.metadata.name.value.parse().map_err(|error| Failure::Other(format!("{error}")))
    }

    /// Waits until a file has changed. Meanwhile what is logged is shown.
    async fn changed(
        &self,
        seen: &Fingerprint,
        bus: &Bus,
        up: &mut Up,
        log: &mut Option<Following>,
        output: &mut Output,
    ) -> Result<()> {
        loop {
            sleep(LOOK).await;
            up.still_runs()?;
            if let Some(log) = log {
                log.print(bus, output).await?;
            }
            let mut now = self.project.fingerprint();
            if now == *seen {
                continue;
            }
            loop {
                sleep(SETTLED).await;
                let later = self.project.fingerprint();
                if std::mem::replace(&mut now, later) == now {
                    return Ok(());
                }
            }
        }
    }

    /// The manifest that lies beside the source.
    fn own_manifest(&self) -> Option<PathBuf> {
        let file = self.project.folder().join("app.yaml");
        // A component's file says nothing of the folder that it lies in.
        (!matches!(self.project, Project::File(_)) && file.is_file()).then_some(file)
    }

    /// A manifest for what the component imports and exports.
    fn made(&self) -> Result<Source> {
        let read = |path: &Path| std::fs::read(path);
        let bytes = read(&self.component).map_err(|source| Failure::File {
            what: "cannot read",
            path: self.component.clone(),
            source,
        })?;
        let facts = inspect(&bytes).map_err(|error| Failure::Other(error.to_string()))?.facts;
        let image = self.component.file_name().unwrap_or_default().to_string_lossy();
        let text = manifest::make(&self.name, &image, &facts, self.args.address)?;
        let folder = self.component.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Source { name: "<made for it>".to_owned(), text, folder })
    }
}
