//! Checks that are still to be made, and what came out of them.

use std::{fmt::Write, time::Duration};

use futures_util::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;

/// What a check found wrong.
pub type Check = Result<(), String>;

/// A check of what is given to it.
pub(super) type CheckFn<S> = fn(S) -> BoxFuture<'static, Check>;

/// Functions by the names of their paths.
macro_rules! checks {
    ($($path:path),* $(,)?) => {
        &[$((stringify!($path), (|subject| Box::pin($path(subject))) as $crate::conformance::suite::CheckFn<_>)),*]
    };
}
pub(super) use checks;

/// The checks of one capability against one provider, none of which has begun.
#[must_use]
pub struct Suite {
    checks: Vec<(&'static str, BoxFuture<'static, Check>)>,
    /// How long a check may take: nothing hangs.
    limit: Duration,
}

impl Suite {
    pub(super) fn new(limit: Duration) -> Self {
        Self { checks: Vec::new(), limit }
    }

    pub(super) fn add(&mut self, name: &'static str, check: impl Future<Output = Check> + Send + 'static) {
        self.checks.push((name, Box::pin(check)));
    }

    /// Makes one check after the other, and says of each its name before it begins.
    pub async fn run(self, name: &str, mut begins: impl FnMut(&'static str)) -> Report {
        let mut checks = Vec::with_capacity(self.checks.len());
        for (check, work) in self.checks {
            begins(check);
            // In a task of its own: one that panics has failed, and the next one is made.
            let work = AbortOnDropHandle::new(tokio::spawn(work));
            let outcome = match tokio::time::timeout(self.limit, work).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(error)) => Err(format!("the check itself went wrong: {error}")),
                Err(_) => Err(format!("not done within {:?}", self.limit)),
            };
            checks.push((check, outcome));
        }
        Report { name: name.to_owned(), checks }
    }
}

/// What came out of a suite.
#[derive(Debug)]
#[must_use]
pub struct Report {
    name: String,
    checks: Vec<(&'static str, Check)>,
}

impl Report {
    /// All checks, in their order.
    pub fn checks(&self) -> &[(&'static str, Check)] {
        &self.checks
    }

    /// The checks that failed, each with the reason.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.checks.iter().filter_map(|(name, check)| Some((*name, check.as_ref().err()?.as_str())))
    }

    /// Panics when a check has failed, and says which: for tests.
    #[track_caller]
    pub fn assert(&self) {
        let mut text = String::new();
        for (check, reason) in self.failures() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {check}: {reason}");
        }
        assert!(text.is_empty(), "{}: some of {} checks failed:{text}", self.name, self.checks.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whatever_a_check_does_the_next_one_is_made() {
        let mut suite = Suite::new(Duration::from_secs(5));
        suite.add("good", async { Ok(()) });
        suite.add("bad", async { Err("it is bad".to_owned()) });
        suite.add("panics", async { panic!("for the test") });
        suite.add("hangs", std::future::pending());
        suite.add("last", async { Ok(()) });
        let mut begun = Vec::new();
        let report = suite.run("some", |name| begun.push(name)).await;
        assert_eq!(begun, ["good", "bad", "panics", "hangs", "last"]);
        let failures: Vec<_> = report.failures().collect();
        assert_eq!(failures[0], ("bad", "it is bad"));
        assert!(
            failures[1].0 == "panics" && failures[1].1.starts_with("the check itself went wrong: "),
            "{failures:?}"
        );
        assert_eq!(failures[2..], [("hangs", "not done within 5s")]);
        assert_eq!(report.checks().len(), 5);
    }
}
