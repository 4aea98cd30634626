use std::collections::BTreeMap;

use lattice::{
    model::{
        assignment::{PlanReport, PlannedUnit},
        check::check,
        inventory::{Beat, HostRecord, InstanceReport, InstanceState},
        manifest::parse,
    },
    wire::{HostId, UnitId},
};

use super::*;
use crate::cli::Format;

/// An app that needs no files.
pub(crate) const TINY: &str = "apiVersion: lattice/v1\nkind: App\nmetadata: { name: shop }\nspec:\n  providers:\n    cache: { use: \
                               keyvalue-memory }\n";

pub(crate) fn host(letter: &str) -> HostId {
    format!("N{}", letter.repeat(55)).parse().unwrap()
}

/// A lattice in memory whose controller and hosts are the test itself.
pub(crate) struct Fake {
    pub(crate) bus: Bus,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self { bus: Bus::memory("default".parse().unwrap()) }
    }

    pub(crate) async fn app(&self, manifest: &str) -> AppRecord {
        let app = check(&parse(manifest).unwrap(), &BTreeMap::new(), []).unwrap();
        let record = AppRecord::next(app.name, None, manifest.to_owned(), app.labels, app.units, app.shares).unwrap();
        self.bus.store().apps().put(record.name.as_str(), &record).await.unwrap();
        record
    }

    pub(crate) async fn plan(&self, record: &AppRecord, hosts: &[&str]) {
        let hosts: Vec<_> = hosts.iter().map(|letter| host(letter)).collect();
        let unit = PlannedUnit { wanted: hosts.len() as u32, hosts, problem: None };
        let units = record.units.keys().map(|name| (name.clone(), unit.clone())).collect();
        let report = PlanReport { version: 1, revision: record.revision, units, rollout: None };
        self.bus.store().plans().put(record.name.as_str(), &report).await.unwrap();
    }

    pub(crate) async fn runs(&self, letter: &str, record: &AppRecord) {
        self.runs_as(letter, record, InstanceState::Ready, None).await;
    }

    pub(crate) async fn runs_as(&self, letter: &str, record: &AppRecord, state: InstanceState, reason: Option<&str>) {
        let id = host(letter);
        let report = |(unit, record): (UnitId, &lattice::model::app::UnitRecord)| InstanceReport {
            reason: reason.map(str::to_owned),
            address: record.spec.listens_on().map(str::to_owned),
            ..InstanceReport::of(&id, &unit, record, state)
        };
        let host = HostRecord {
            release: "0.1.0".into(),
            labels: BTreeMap::from([("zone".into(), "a".into())]),
            generation: 1,
            instances: record.unit_ids().map(report).collect(),
            ..HostRecord::of(id.clone())
        };
        self.bus.store().hosts().put(id.as_str(), &host).await.unwrap();
    }

    pub(crate) async fn beat(&self, letter: &str) {
        self.bus.store().beats().put(host(letter).as_str(), &Beat { count: 1, load: BTreeMap::new() }).await.unwrap();
    }

    async fn wait(&self, record: &AppRecord) -> (Result<AppStatus>, Duration, String) {
        let (mut output, captured) = Output::captured(Format::Table);
        let start = Instant::now();
        let outcome = until_ready(&self.bus, record, Duration::from_secs(60), &mut output).await;
        (outcome, start.elapsed(), captured.remarks())
    }
}

#[tokio::test(start_paused = true)]
async fn no_host_is_said_at_once() {
    let fake = Fake::new();
    let record = fake.app(TINY).await;
    let (outcome, took, _) = fake.wait(&record).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.to_string(), "no host has joined lattice default");
    assert_eq!(failure.help().unwrap(), "start one with `lattice-host`; it will run what has been applied");
    assert_eq!(failure.exit_code(), 5);
    assert!(took < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_ready_app_ends_the_wait() {
    let fake = Fake::new();
    let web = TINY.replace("{ use: keyvalue-memory }", "{ use: http-server, config: { address: \"0.0.0.0:8080\" } }");
    let record = fake.app(&web).await;
    fake.plan(&record, &["A"]).await;
    fake.runs("A", &record).await;
    fake.beat("A").await;
    let (outcome, ..) = fake.wait(&record).await;
    assert_eq!(
        ready_line(&record, &outcome.unwrap()),
        "app shop: ready (revision 1): cache 1/1 at http://127.0.0.1:8080/"
    );
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_stays_failed_ends_the_wait() {
    let fake = Fake::new();
    let record = fake.app(TINY).await;
    fake.plan(&record, &["A"]).await;
    fake.runs_as("A", &record, InstanceState::Failed, Some("cannot reach redis")).await;
    fake.beat("A").await;
    let (outcome, took, remarks) = fake.wait(&record).await;
    let failure = outcome.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "app shop (revision 1) is not ready and will not become so by waiting\n  cache: failed, on host NAAAAAAA: \
         cannot reach redis"
    );
    assert_eq!(failure.exit_code(), 5);
    assert!(took >= TROUBLE && took < TROUBLE + Duration::from_secs(2), "{took:?}");
    assert_eq!(remarks, "app shop: cache 0/1; waiting for cache: failed, on host NAAAAAAA: cannot reach redis\n");
}

#[tokio::test(start_paused = true)]
async fn an_app_that_does_not_move_ends_at_the_timeout() {
    let fake = Fake::new();
    let record = fake.app(TINY).await;
    fake.beat("A").await;
    let (outcome, took, _) = fake.wait(&record).await;
    let failure = outcome.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "app shop (revision 1) is not ready after 60 s\n  cache: progressing, waiting for a controller to plan it"
    );
    assert!(took >= Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn somebody_elses_change_ends_the_wait() {
    let fake = Fake::new();
    let record = fake.app(TINY).await;
    fake.beat("A").await;
    let newer = AppRecord { revision: 2, ..record.clone() };
    fake.bus.store().apps().put("shop", &newer).await.unwrap();
    let failure = fake.wait(&record).await.0.unwrap_err();
    assert_eq!(failure.to_string(), "app shop: revision 1 was replaced by revision 2 before it was ready");
    assert_eq!(failure.exit_code(), 7);
}
