//! Answers calls of an interface of its own, for components anywhere in the lattice.

use lattice_provider::{Capability, Provider, StartContext, StartError, UnitId, async_trait};
use serde::Deserialize;

// The trait of each interface that the world exports, and what serves it.
lattice_provider::generate!({ path: "wit", world: "provider" });

use greeter::Greeter;

/// What the manifest says below `config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What comes before a name.
    greeting: String,
}

/// The provider. It is shared by all calls, which come at the same time.
struct Greetings {
    config: Config,
}

#[async_trait]
impl Provider for Greetings {
    const KIND: &'static str = "{{name}}";
    type Config = Config;

    /// What is wrong with the settings is told by `lattice-ctl apply`, before anything changes.
    fn check(config: &Config, _: &UnitId) -> Result<(), StartError> {
        match config.greeting.trim() {
            "" => Err(StartError::Config("greeting: a greeting has words".to_owned())),
            _ => Ok(()),
        }
    }

    /// Connections to what is behind it are made here. An error is told by `lattice-ctl status`, and tried again.
    async fn start(_: StartContext, config: Config) -> Result<Capability, StartError> {
        Ok(serve(Self { config }))
    }
}

#[async_trait]
impl Greeter for Greetings {
    async fn greet(&self, name: String) -> Result<String, String> {
        match name.trim() {
            "" => Err("nobody is to be greeted".to_owned()),
            name => Ok(format!("{}, {name}!", self.config.greeting)),
        }
    }
}

fn main() -> std::process::ExitCode {
    lattice_provider::main::<Greetings>()
}
