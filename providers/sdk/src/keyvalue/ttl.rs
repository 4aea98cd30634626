//! How long entries live.

use std::time::Duration;

use lattice::model::manifest::parse_duration;
use serde::Deserialize;

/// How long an entry is there after it was written last: the setting `ttl` of the backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Ttl(Duration);

/// What JetStream takes; a lifetime that one backend takes every other takes as well.
const SHORTEST: Duration = Duration::from_millis(100);
/// Ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Between two looks for what is over.
const OFTEN: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(60);

impl Ttl {
    pub fn get(self) -> Duration {
        self.0
    }

    pub fn millis(self) -> u64 {
        // It has been made of milliseconds in 64 bits.
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long a backend waits before it looks again for what is over and can be removed: each lifetime, but not more
    /// often than each second and not less often than each minute. Without a lifetime now there may still be entries that
    /// were given one.
    pub fn pause(ttl: Option<Self>) -> Duration {
        ttl.map_or(SELDOM, |ttl| ttl.0.clamp(OFTEN, SELDOM))
    }
}

impl TryFrom<String> for Ttl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let time = parse_duration(&text).filter(|time| (SHORTEST..=LONGEST).contains(time));
        time.map(Self).ok_or_else(|| format!("`ttl: {text}` is not a time from 100ms to 87600h, such as 10m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_one_that_every_backend_can_keep() {
        assert_eq!(Ttl::try_from("10m".to_owned()).map(Ttl::millis), Ok(600_000));
        let pause = |text: &str| Ttl::pause(Ttl::try_from(text.to_owned()).ok());
        assert_eq!(["", "1h", "10s", "100ms"].map(pause).map(|pause| pause.as_secs()), [60, 60, 10, 1]);
        for good in ["100ms", "87600h"] {
            assert!(Ttl::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "10", "0s", "99ms", "87601h", "-1s", "forever"] {
            let error = format!("`ttl: {bad}` is not a time from 100ms to 87600h, such as 10m");
            assert_eq!(Ttl::try_from(bad.to_owned()), Err(error));
        }
    }
}
