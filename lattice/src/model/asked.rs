//! What every host answers for itself.
//!
//! The call is that of a unit: of `lattice/host`, whose instance is the host. No app can have that name. Arguments and answers are JSON.

use crate::wire::{Digest, HostId, IdError, InstanceId, Interface, LatticeName, Served, UnitId};

/// The app that no user can have: units of it are the hosts' own.
pub const RESERVED_APP: &str = "lattice";
/// The unit that every host is.
const HOST_UNIT: &str = "lattice/host";

/// A function of every host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `[[settings]]`: what providers say of [settings](super::settings), one finding for each.
    Settings,
    /// `[settings]`: what a [program of a user](super::settings::SettingsOfProgram) says of its settings, a finding. It is run for that.
    Program,
    /// `[]`: how its machine is, a [`Condition`](super::condition::Condition).
    Condition,
    /// `[query]`: a [`Page`](super::log::Page) of its log.
    Log,
    /// `[]`: the [calls](super::figures::Figures) that its units have taken.
    Figures,
    /// `[after]`: the [events](super::event::Told) that it has told, after the one with that id; all, when there is none or it is null.
    Events,
    /// `[query, after]`: the [calls](super::spy::Page) that somebody looks at, after the one with that number; null to begin.
    Spy,
}

impl Question {
    /// All, by interface and function.
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Settings, "lattice:host/settings@0.1.0", "check"),
        (Self::Program, "lattice:host/programs@0.1.0", "check-settings"),
        (Self::Condition, "lattice:host/condition@0.1.0", "tell"),
        (Self::Log, "lattice:host/log@0.1.0", "read"),
        (Self::Figures, "lattice:host/figures@0.1.0", "count"),
        (Self::Events, "lattice:host/events@0.1.0", "list"),
        (Self::Spy, "lattice:host/spy@0.1.0", "look"),
    ];

    fn names(self) -> (&'static str, &'static str) {
        Self::ALL
            .iter()
            .find(|(question, ..)| *question == self)
            .map_or(("", ""), |(_, place, function)| (place, function))
    }

    /// The interface that it is a function of.
    ///
    /// # Errors
    /// Never: they are literals.
    pub fn interface(self) -> Result<Interface, IdError> {
        self.names().0.parse()
    }

    pub fn function(self) -> &'static str {
        self.names().1
    }

    /// The one with this function.
    pub fn of(function: &str) -> Option<Self> {
        Self::ALL.iter().find(|(.., name)| *name == function).map(|(question, ..)| *question)
    }
}

/// Where a host answers.
///
/// # Errors
/// Never: the unit is a literal.
pub fn served(lattice: &LatticeName, host: &HostId) -> Result<Served, IdError> {
    let unit: UnitId = HOST_UNIT.parse()?;
    let instance = InstanceId::derive(host, &unit, 0, &Digest::of(b""));
    Ok(Served { lattice: lattice.clone(), unit, instance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_answers_at_a_place_of_its_own() {
        let lattice = "default".parse().unwrap();
        let served = |letter: &str| served(&lattice, &format!("N{}", letter.repeat(55)).parse().unwrap()).unwrap();
        assert_ne!(served("A").instance, served("B").instance);
        assert_eq!(served("A").unit.app.as_str(), RESERVED_APP);
    }

    #[test]
    fn a_function_is_of_one_question() {
        for (question, place, function) in Question::ALL {
            assert_eq!(question.interface().unwrap().to_string(), place);
            assert_eq!(Question::of(function), Some(question));
        }
    }
}
