//! What a lattice looks like to those who look at it: the command line, and the page for browsers, which a host shows as well.
//!
//! [`world`] is everything that the store says, at one moment or as it changes. What hosts tell of themselves is asked of
//! each of them ([`asking`]): what they have counted ([`calls`]), their [`logs`] and [`events`], and calls as they are made
//! ([`spied`]). Of these are made the lines of lists: [`hosts`], [`links`], [`why`]. [`page`] shows all of it.

pub mod asking;
pub mod calls;
pub mod events;
pub mod hosts;
pub mod links;
pub mod logs;
pub mod page;
pub mod spied;
pub mod why;
pub mod world;

use lattice::{
    bus::StoreError,
    model::app::AppRecord,
    wire::{AppName, LatticeName, UnitName},
};

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no app `{name}` in lattice {lattice}")]
    NoApp { name: String, lattice: LatticeName, known: Vec<String> },
    #[error("app {app} has no unit `{unit}`")]
    NoUnit { app: AppName, unit: UnitName, known: Vec<String> },
}

impl ViewError {
    /// `app` has no `unit`.
    pub fn no_unit(app: &AppRecord, unit: &UnitName) -> Self {
        let known = app.units.keys().map(ToString::to_string).collect();
        Self::NoUnit { app: app.name.clone(), unit: unit.clone(), known }
    }
}
