//! The rows, one module a theme.

mod blob;
mod calls;
mod components;
mod counter;
mod deploy;
mod driving;
mod engine;
mod failover;
mod fused;
mod hello;
mod inside;
mod memory;
mod outgoing;
mod plan;
mod postgres;
mod quiet;
mod remote;
mod streams;
mod swap;

use std::fmt::Display;

use anyhow::Result;

pub(crate) use self::quiet::Traffic;
use crate::{bench::Bench, load::Load, report::Row};

/// Rows that are measured together.
pub(crate) struct Group {
    pub(crate) rows: &'static [&'static str],
    pub(crate) measure: fn(&Bench) -> Result<Vec<Row>>,
}

pub(crate) const GROUPS: &[Group] = &[
    Group { rows: &["http_hello_local", "http_hello_local_p99"], measure: hello::local },
    Group { rows: &["http_hello_reuse"], measure: hello::reuse },
    Group { rows: &["http_p3_local"], measure: hello::p3 },
    Group { rows: &["http_hello_remote"], measure: remote::latency },
    Group { rows: &["http_hello_remote_rps"], measure: remote::rate },
    Group { rows: &["counter_remote"], measure: counter::remote },
    Group { rows: &["counter_local"], measure: counter::local },
    Group { rows: &["call_remote"], measure: calls::remote },
    Group { rows: &["kv_redis_local"], measure: calls::redis_local },
    Group { rows: &["pg_query"], measure: postgres::query },
    Group { rows: &["http_client"], measure: outgoing::request },
    Group { rows: &["call_component_local", "custom_bytes_1mib"], measure: components::local },
    Group { rows: &["call_component_remote"], measure: components::remote },
    Group { rows: &["call_component_remote_rps"], measure: components::remote_rate },
    Group { rows: &["call_component_fused"], measure: fused::local },
    Group { rows: &["stream_remote"], measure: streams::remote },
    Group { rows: &["blob_stream"], measure: blob::stream },
    Group { rows: &["kv_swap"], measure: swap::under_load },
    Group { rows: &["instantiate"], measure: engine::instantiate },
    Group { rows: &["memory_per_component"], measure: memory::per_component },
    Group { rows: &["plan_scale"], measure: plan::scale },
    Group { rows: &["converge"], measure: quiet::converge },
    Group { rows: &["idle_cost"], measure: quiet::idle },
    Group { rows: &["failover"], measure: failover::failover },
    Group { rows: &["apply_to_first_200"], measure: deploy::apply_to_first_200 },
    Group { rows: &["tracing_cost"], measure: hello::traced },
    Group { rows: &["ctl_startup"], measure: driving::startup },
    Group { rows: &["dev_reload"], measure: driving::reload },
];

/// Ours and the baseline of each round.
type Pairs = [(Load, Load)];

/// A row out of one figure of each load.
fn compared(name: impl Display, unit: &'static str, baseline: &str, pairs: &Pairs, figure: fn(&Load) -> f64) -> Row {
    let pairs = pairs.iter().map(|(ours, baseline)| (figure(ours), figure(baseline)));
    Row::compared(&name.to_string(), unit, baseline, pairs)
}

/// Requests a second, and the servers' CPU time for each.
fn rate_and_cpu(name: &str, baseline: &str, pairs: &Pairs) -> [Row; 2] {
    [
        compared(name, "req/s", baseline, pairs, |load| load.rate),
        compared(format_args!("{name}.cpu_us"), "us", baseline, pairs, |load| load.cpu_us),
    ]
}
