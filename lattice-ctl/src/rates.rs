//! Numbers and times of calls, as lists show them.

use lattice_view::calls::Rates;

/// The columns of [`cells`].
pub(crate) const HEADER: [&str; 6] = ["CALLS/S", "P50", "P99", "FAILED/S", "CALLS", "FAILED"];

/// In the columns [`HEADER`].
pub(crate) fn cells(rates: &Rates) -> Vec<String> {
    let time = |time: Option<u64>| time.map_or("-".to_owned(), short);
    vec![
        format!("{:.1}", rates.per_second),
        time(rates.p50_us),
        time(rates.p99_us),
        format!("{:.1}", rates.failed_per_second),
        rates.total.to_string(),
        rates.failed.to_string(),
    ]
}

/// `250us`, `3.2ms`, `1.5s`.
pub(crate) fn short(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        _ => format!("{:.1}s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!([40, 3_200, 1_500_000].map(short), ["40us", "3.2ms", "1.5s"]);
    }
}
