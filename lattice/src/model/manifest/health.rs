//! `health:` of a component.

use serde::Deserialize;
use serde_saphyr::Spanned;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// A path that is asked for by HTTP. Either this or `call`.
    pub path: Option<Spanned<String>>,
    /// A function without parameters: `ns:pkg/interface.function`.
    pub call: Option<Spanned<String>>,
    /// Between two questions.
    pub every: Option<Spanned<String>>,
    /// How long an answer may take.
    pub timeout: Option<Spanned<String>>,
}
