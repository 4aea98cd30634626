//! A schedule: when a component is called by itself.

use serde::Deserialize;
use serde_saphyr::Spanned;

/// One schedule.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    pub to: Spanned<String>,
    /// An expression of cron. Either this or `every`.
    pub cron: Option<Spanned<String>>,
    /// The time zone of `cron`; UTC when absent.
    pub timezone: Option<Spanned<String>>,
    pub every: Option<Spanned<String>>,
    /// The function, as `ns:pkg/interface.function`; `wasi:cli/run.run` when absent.
    pub call: Option<Spanned<String>>,
    /// `skip`, `once` or `all`.
    pub missed: Option<Spanned<String>>,
    /// How late a call may begin before it is missed.
    pub late: Option<Spanned<String>>,
}
