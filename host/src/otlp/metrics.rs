//! Metrics as OTLP has them, made of what `/metrics` says: there is one list of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::attribute;

/// Sums and histograms count from the start of the process on.
const CUMULATIVE: u8 = 2;

/// What kind of metric it is, and what it is about.
#[derive(Default)]
struct About<'t> {
    help: &'t str,
    kind: &'t str,
    /// In the order of the text.
    samples: Vec<Sample<'t>>,
}

struct Sample<'t> {
    /// What follows the metric's name: `_total`, `_bucket`, `_sum`, `_count`, or nothing.
    part: &'t str,
    labels: Vec<(&'t str, String)>,
    value: f64,
}

/// The message for a text in the format of OpenMetrics. What of it cannot be read is left out.
pub(super) fn message(text: &str, began: u64, now: u64, host: &[Value]) -> Value {
    let (began, now) = (began.to_string(), now.to_string());
    let metrics: Vec<_> = read(text).iter().filter_map(|(name, about)| encode(name, about, &began, &now)).collect();
    let resource: Vec<_> =
        [attribute("service.name", "lattice-host")].into_iter().chain(host.iter().cloned()).collect();
    json!({ "resourceMetrics": [{
        "resource": { "attributes": resource },
        "scopeMetrics": [{ "scope": { "name": "lattice", "version": env!("CARGO_PKG_VERSION") }, "metrics": metrics }],
    }] })
}

fn read(text: &str) -> BTreeMap<&str, About<'_>> {
    let mut metrics: BTreeMap<&str, About<'_>> = BTreeMap::new();
    let mut last = "";
    for line in text.lines() {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => metrics.entry(name).or_default().help = help,
            ["#", "TYPE", name, kind] => {
                metrics.entry(name).or_default().kind = kind;
                last = name;
            }
            ["#", ..] => {}
            _ => {
                let about = metrics.get_mut(last);
                if let Some((about, sample)) = about.zip(sample(line, last)) {
                    about.samples.push(sample);
                }
            }
        }
    }
    metrics
}

/// A line such as `name_total{app="shop"} 3`, of the metric `name`.
fn sample<'t>(line: &'t str, name: &str) -> Option<Sample<'t>> {
    let rest = line.strip_prefix(name)?;
    let (part, rest) = rest.split_at(rest.find(['{', ' '])?);
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    Some(Sample { part, labels, value: value.trim().parse().ok()? })
}

/// Labels up to their `}`, and what follows.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (at, c) in quoted.char_indices() {
            match (std::mem::take(&mut escaped), c) {
                (false, '\\') => escaped = true,
                (false, '"') => {
                    end = Some(at + 1);
                    break;
                }
                (true, 'n') => value.push('\n'),
                (_, c) => value.push(c),
            }
        }
        labels.push((name, value));
        rest = quoted.get(end?..)?;
    }
}

fn encode(name: &str, about: &About<'_>, began: &str, now: &str) -> Option<Value> {
    let point = |sample: &Sample<'_>| {
        json!({
            "attributes": attributes(&sample.labels),
            "startTimeUnixNano": began,
            "timeUnixNano": now,
            "asDouble": sample.value,
        })
    };
    let points = || about.samples.iter().map(point).collect::<Vec<_>>();
    let data = match about.kind {
        "counter" => {
            json!({ "sum": { "dataPoints": points(), "aggregationTemporality": CUMULATIVE, "isMonotonic": true } })
        }
        "gauge" | "info" => json!({ "gauge": { "dataPoints": points() } }),
        "histogram" => json!({ "histogram": {
            "dataPoints": histograms(&about.samples, began, now),
            "aggregationTemporality": CUMULATIVE,
        } }),
        _ => return None,
    };
    let mut metric = json!({ "name": name, "description": about.help.trim_end_matches('.') });
    metric.as_object_mut()?.extend(data.as_object()?.clone());
    Some(metric)
}

fn attributes(labels: &[(&str, String)]) -> Vec<Value> {
    labels.iter().filter(|(name, _)| *name != "le").map(|(name, value)| attribute(name, value)).collect()
}

/// Those that are written by bucket as one point for each set of labels.
fn histograms(samples: &[Sample<'_>], began: &str, now: &str) -> Vec<Value> {
    #[derive(Default)]
    struct Histogram {
        labels: Vec<Value>,
        sum: f64,
        /// Up to each bound, with all that are shorter.
        buckets: Vec<(f64, f64)>,
    }
    let mut all: BTreeMap<String, Histogram> = BTreeMap::new();
    for sample in samples {
        let labels = attributes(&sample.labels);
        let histogram = all.entry(Value::from(labels.clone()).to_string()).or_default();
        histogram.labels = labels;
        let bound = sample.labels.iter().find(|(name, _)| *name == "le").and_then(|(_, bound)| bound.parse().ok());
        match (sample.part, bound) {
            ("_sum", _) => histogram.sum = sample.value,
            ("_bucket", Some(bound)) => histogram.buckets.push((bound, sample.value)),
            _ => {}
        }
    }
    let point = |histogram: Histogram| {
        let below = [0.0].into_iter().chain(histogram.buckets.iter().map(|(_, up_to)| *up_to));
        let counts = histogram.buckets.iter().zip(below).map(|((_, up_to), below)| (up_to - below) as u64);
        let counts: Vec<u64> = counts.collect();
        let bounds = histogram.buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite());
        json!({
            "attributes": histogram.labels,
            "startTimeUnixNano": began,
            "timeUnixNano": now,
            "count": counts.iter().sum::<u64>().to_string(),
            "sum": histogram.sum,
            "bucketCounts": counts.iter().map(u64::to_string).collect::<Vec<_>>(),
            "explicitBounds": bounds.collect::<Vec<_>>(),
        })
    };
    all.into_values().map(point).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP lattice_unit_faults Calls that went wrong.
# TYPE lattice_unit_faults counter
lattice_unit_faults_total{app="shop",unit="ca\"r\\t\nx"} 3
# HELP took How long.
# TYPE took histogram
took_sum{app="shop"} 2.5
took_count{app="shop"} 6
took_bucket{le="0.1",app="shop"} 1
took_bucket{le="1.0",app="shop"} 4
took_bucket{le="+Inf",app="shop"} 6
# HELP lattice_nats_connected Whether NATS can be reached.
# TYPE lattice_nats_connected gauge
lattice_nats_connected 1
# EOF
"#;

    #[test]
    fn every_kind_of_metric_is_told() {
        let message = message(TEXT, 5, 9, &[]);
        let metrics = message["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
        let of = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap();
        let faults = &of("lattice_unit_faults")["sum"]["dataPoints"][0];
        assert_eq!((&faults["asDouble"], &faults["timeUnixNano"]), (&json!(3.0), &json!("9")));
        assert_eq!(faults["attributes"][1], attribute("unit", "ca\"r\\t\nx"));
        let took = &of("took")["histogram"]["dataPoints"][0];
        assert_eq!((&took["count"], &took["sum"]), (&json!("6"), &json!(2.5)));
        assert_eq!((&took["bucketCounts"], &took["explicitBounds"]), (&json!(["1", "3", "2"]), &json!([0.1, 1.0])));
        assert_eq!(took["attributes"], json!([attribute("app", "shop")]));
        assert_eq!(of("lattice_nats_connected")["gauge"]["dataPoints"][0]["asDouble"], json!(1.0));
    }

    #[test]
    fn what_is_no_metric_is_left_out() {
        for text in
            ["", "x 1", "# TYPE x counter\nx_total{ 1", "# TYPE x counter\nx_total{a=\"b} 1", "# TYPE x odd\nx 1"]
        {
            let message = message(text, 0, 0, &[]);
            let metrics = message["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
            let points = metrics.iter().filter_map(|metric| metric["sum"]["dataPoints"].as_array());
            assert_eq!(points.map(Vec::len).sum::<usize>(), 0, "{text}");
        }
    }
}
