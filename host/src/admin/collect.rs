//! The metrics of a host, as OpenMetrics has them.

use std::{fmt, sync::atomic::Ordering};

use lattice::wire::UnitId;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::{Admin, Joined, process};
use crate::metrics::{Counts, Durations, Fault};

/// The labels of a metric of a unit, and more.
type Labels<'l> = Vec<(&'static str, &'l str)>;

fn of_unit(unit: &UnitId) -> Labels<'_> {
    vec![("app", unit.app.as_str()), ("unit", unit.unit.as_str())]
}

/// Those of calls from one unit to another.
fn of_link((from, to): &(UnitId, UnitId)) -> Labels<'_> {
    [of_unit(from), vec![("to_app", to.app.as_str()), ("to_unit", to.unit.as_str())]].concat()
}

fn histogram(mut metric: MetricEncoder<'_>, counts: &Counts) -> fmt::Result {
    let Durations { buckets, count, sum } = counts.durations();
    metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

fn counter(mut metric: MetricEncoder<'_>, value: u64) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

impl Collector for Admin {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut about =
            |name: &str, help: &str, kind: MetricType, encode: &dyn Fn(&mut MetricEncoder<'_>) -> fmt::Result| {
                encode(&mut encoder.encode_descriptor(name, help, None, kind)?)
            };
        let host: Labels<'_> = vec![
            ("host", self.host.as_str()),
            ("lattice", self.lattice.as_str()),
            ("release", env!("CARGO_PKG_VERSION")),
        ];
        about("lattice_host", "The host", MetricType::Info, &|metric| metric.encode_info(&host))?;
        let units = self.metrics.units();
        about(
            "lattice_unit_call_duration_seconds",
            "Calls of a component that have ended, by how long they took",
            MetricType::Histogram,
            &|metric| {
                units.iter().try_for_each(|(unit, counts)| histogram(metric.encode_family(&of_unit(unit))?, counts))
            },
        )?;
        about("lattice_unit_calls_in_flight", "Calls of a component under way", MetricType::Gauge, &|metric| {
            units
                .iter()
                .try_for_each(|(unit, counts)| metric.encode_family(&of_unit(unit))?.encode_gauge(&counts.in_flight()))
        })?;
        about("lattice_unit_faults", "Calls of a component that went wrong, by how", MetricType::Counter, &|metric| {
            units.iter().try_for_each(|(unit, counts)| {
                Fault::ALL.iter().try_for_each(|(fault, name)| {
                    let labels = [of_unit(unit), vec![("kind", *name)]].concat();
                    counter(metric.encode_family(&labels)?, counts.faults(*fault))
                })
            })
        })?;
        about("lattice_unit_starts", "How often a unit was started on this host", MetricType::Counter, &|metric| {
            units.iter().try_for_each(|(unit, counts)| counter(metric.encode_family(&of_unit(unit))?, counts.starts()))
        })?;
        if let Some(left_out) = &self.spans_left_out {
            let left_out = left_out.load(Ordering::Relaxed);
            about("lattice_spans_left_out", "Spans that were not told", MetricType::Counter, &|metric| {
                metric.encode_counter::<NoLabelSet, u64, f64>(&left_out, None)
            })?;
        }
        if let Some(joined) = self.joined.get() {
            joined.tell(&mut about)?;
        }
        process::tell(self.began, &mut about)
    }
}

/// Writes one metric: its name, what it is, its kind, and its values.
pub(super) type About<'a> =
    dyn FnMut(&str, &str, MetricType, &dyn Fn(&mut MetricEncoder<'_>) -> fmt::Result) -> fmt::Result + 'a;

impl Joined {
    fn tell(&self, about: &mut About<'_>) -> fmt::Result {
        let instances = self.record.borrow().instances.clone();
        about("lattice_unit_state", "The state of each instance on this host", MetricType::Gauge, &|metric| {
            instances.iter().try_for_each(|report| {
                let (state, revision) = (report.state.to_string(), report.revision.to_string());
                let more = vec![("state", state.as_str()), ("revision", revision.as_str())];
                metric.encode_family(&[of_unit(&report.unit), more].concat())?.encode_gauge(&1u64)
            })
        })?;
        let links = self.router.sent();
        about(
            "lattice_link_call_duration_seconds",
            "Calls that have left this host's process and ended, by how long they took with the way",
            MetricType::Histogram,
            &|metric| {
                links.iter().try_for_each(|(link, counts)| histogram(metric.encode_family(&of_link(link))?, counts))
            },
        )?;
        about(
            "lattice_link_faults",
            "Calls that have left this host's process and went wrong, by how",
            MetricType::Counter,
            &|metric| {
                links.iter().try_for_each(|(link, counts)| {
                    Fault::ALL.iter().try_for_each(|(fault, name)| {
                        let labels = [of_link(link), vec![("kind", *name)]].concat();
                        counter(metric.encode_family(&labels)?, counts.faults(*fault))
                    })
                })
            },
        )?;
        let connected = u64::from(*self.bus.connected().borrow());
        about("lattice_nats_connected", "Whether NATS can be reached", MetricType::Gauge, &|metric| {
            metric.encode_gauge(&connected)
        })?;
        let leads = u64::from(self.figures.leads());
        about("lattice_control_leading", "Whether this host plans for the lattice", MetricType::Gauge, &|metric| {
            metric.encode_gauge(&leads)
        })?;
        let (count, time) = self.figures.plans();
        about("lattice_control_plans", "Plans that this host has made", MetricType::Counter, &|metric| {
            metric.encode_counter::<NoLabelSet, u64, f64>(&count, None)
        })?;
        let seconds = time.as_secs_f64();
        about("lattice_control_plan_seconds", "What they took together", MetricType::Counter, &|metric| {
            metric.encode_counter::<NoLabelSet, f64, f64>(&seconds, None)
        })
    }
}
