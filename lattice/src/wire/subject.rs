//! Subjects. Nobody outside this file writes a dot.
//!
//! A call goes to one instance: `lattice.<lattice>.call.<app>.<unit>.<instance>.<interface>`. The interface stands
//! without its version, which has dots; the version is in the message's headers. NATS permissions can so be given by
//! app, unit and interface.

use std::{fmt, str::FromStr};

use super::id::{IdError, InstanceId, Interface, LatticeName, UnitId};

/// Where one call is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSubject {
    pub lattice: LatticeName,
    pub unit: UnitId,
    pub instance: InstanceId,
    /// Without a version.
    pub interface: Interface,
}

impl fmt::Display for CallSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lattice, unit, instance, interface } = self;
        write!(f, "lattice.{lattice}.call.{}.{}.{instance}.{}", unit.app, unit.unit, interface.unversioned())
    }
}

/// Why a text is not a subject of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    #[error("subject is not of the form lattice.<lattice>.call.<app>.<unit>.<instance>.<interface>")]
    Form,
    #[error(transparent)]
    Id(#[from] IdError),
}

impl FromStr for CallSubject {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let mut tokens = text.split('.');
        let mut next = || tokens.next().ok_or(SubjectError::Form);
        if next()? != "lattice" {
            return Err(SubjectError::Form);
        }
        let lattice = next()?.parse()?;
        if next()? != "call" {
            return Err(SubjectError::Form);
        }
        let unit = UnitId::new(next()?.parse()?, next()?.parse()?);
        let subject = Self { lattice, unit, instance: next()?.parse()?, interface: next()?.parse()? };
        if tokens.next().is_some() || subject.interface.version().is_some() {
            return Err(SubjectError::Form);
        }
        Ok(subject)
    }
}

/// Everything that one instance answers: what it subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    pub lattice: LatticeName,
    pub unit: UnitId,
    pub instance: InstanceId,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lattice, unit, instance } = self;
        write!(f, "lattice.{lattice}.call.{}.{}.{instance}.*", unit.app, unit.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_subject_comes_back() {
        let text = "lattice.default.call.shop.cart.0123456789abcdef.wasi:keyvalue/store";
        let subject: CallSubject = text.parse().unwrap();
        assert_eq!(subject.to_string(), text);
        assert_eq!(subject.interface.name(), "store");
    }

    #[test]
    fn other_subjects_are_refused() {
        for bad in [
            "",
            "lattice",
            "lattice.default.call.shop.cart.0123456789abcdef",
            "lattice.default.call.shop.cart.0123456789abcdef.wasi:keyvalue/store.more",
            "lattice.default.call.shop.*.0123456789abcdef.wasi:keyvalue/store",
            "other.default.call.shop.cart.0123456789abcdef.wasi:keyvalue/store",
            "lattice.default.call.shop.cart.xyz.wasi:keyvalue/store",
        ] {
            assert!(bad.parse::<CallSubject>().is_err(), "{bad}");
        }
    }
}
