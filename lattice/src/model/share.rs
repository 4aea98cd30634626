//! Units that other apps may link to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::wire::AppName;

/// Who may link to a unit, and what they find there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub with: Audience,
    /// Whether all apps see the same buckets and containers; otherwise each has its own.
    pub common: bool,
}

/// Apps other than the owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Audience {
    All,
    Apps(BTreeSet<AppName>),
}

impl Share {
    pub fn is_with(&self, app: &AppName) -> bool {
        match &self.with {
            Audience::All => true,
            Audience::Apps(apps) => apps.contains(app),
        }
    }
}

/// What the store of another app has as the bucket or container that `app` calls `name`. The name of an app has no dot, so
/// that no two apps can mean the same one.
pub fn own_name(app: &AppName, name: &str) -> String {
    format!("{app}.{name}")
}
