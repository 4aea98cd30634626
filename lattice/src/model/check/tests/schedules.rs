use super::*;
use crate::model::{
    schedule::{Missed, When},
    shape::FunctionShape,
};

/// A component with functions of its own, and the schedules of a clock.
fn manifest(schedules: &str) -> String {
    format!(
        "apiVersion: lattice/v1\nkind: App\nmetadata: {{ name: shop }}\nspec:\n  components:\n    report: {{ image: \
         ./report.wasm, limits: {{ timeout: 90s }} }}\n  providers:\n    clock:\n      use: cron\n      schedules:\n{schedules}"
    )
}

fn checked(schedules: &str) -> Result<CheckedApp, Vec<String>> {
    let functions = |list: &[(&str, &str)]| {
        let shape = |signature: &str| FunctionShape { signature: signature.to_owned(), ..FunctionShape::default() };
        InterfaceShape { functions: list.iter().map(|(name, sig)| ((*name).to_owned(), shape(sig))).collect() }
    };
    let run: Interface = "wasi:cli/run@0.2.3".parse().unwrap();
    let daily: Interface = "acme:report/daily@1.0.0".parse().unwrap();
    let own = [("make", "async func() -> result<u32, string>"), ("wipe", "func()"), ("count", "func() -> u32")];
    let export_shapes =
        BTreeMap::from([(run.clone(), functions(&[("run", "func() -> result")])), (daily.clone(), functions(&own))]);
    let facts = ComponentFacts {
        digest: Digest::of(b"report"),
        imports: Vec::new(),
        exports: vec![run, daily],
        import_shapes: BTreeMap::new(),
        export_shapes,
        wit: None,
    };
    let facts = BTreeMap::from([("report".to_owned(), facts)]);
    let manifest = parse(&manifest(schedules)).map_err(|problem| vec![show(&problem)])?;
    check(&manifest, &facts, &[]).map_err(|problems| problems.iter().map(show).collect())
}

#[test]
fn a_schedule_calls_a_function_that_takes_nothing() {
    let schedules = "        nightly: { cron: \"0 3 * * *\", timezone: Europe/Berlin, to: report, call: \
                     acme:report/daily.make, missed: once, late: 5m }\n        often: { every: 10s, to: report }\n        \
                     wiping: { every: 1h, to: report, call: acme:report/daily@1.0.0.wipe, missed: all }\n";
    let app = checked(schedules).unwrap();
    let UnitSpec::Provider(clock) = &app.units[&"clock".parse::<UnitName>().unwrap()] else { panic!("a provider") };
    let [nightly, often, wiping] = &clock.schedules[..] else { panic!("three") };
    assert_eq!(nightly.when, When::cron("0 3 * * *", "Europe/Berlin").unwrap());
    assert_eq!(
        (nightly.interface.to_string().as_str(), nightly.function.as_str()),
        ("acme:report/daily@1.0.0", "make")
    );
    assert_eq!((nightly.fallible, nightly.missed, nightly.late_ms), (true, Missed::Once, 300_000));
    assert_eq!((often.interface.to_string().as_str(), often.function.as_str()), ("wasi:cli/run@0.2.3", "run"));
    assert_eq!((often.when.clone(), often.fallible, often.missed), (When::Every(10_000), true, Missed::Skip));
    assert_eq!(often.timeout_ms, 90_000, "the component's own");
    assert!(!wiping.fallible);
}

#[test]
fn what_is_no_schedule_is_told_with_its_place() {
    for (schedule, expected) in [
        ("{ to: report }", "11:9: the schedule `one` does not say when / add `cron: \"0 3 * * *\"` or `every: 10m`"),
        (
            "{ every: 1s, cron: \"* * * * *\", to: report }",
            "11:33: `cron` and `every` exclude each other / keep one of them",
        ),
        ("{ every: 10ms, to: report }", "11:23: 1 s is the shortest time between two calls / -"),
        ("{ every: 1s, timezone: UTC, to: report }", "11:37: only `cron` has a time zone / remove `timezone:`"),
        (
            "{ cron: \"* * * * *\", timezone: Berlin, to: report }",
            "11:45: `Berlin` is no time zone / write a name such as Europe/Berlin, or UTC",
        ),
        ("{ every: 1s, to: report, missed: twice }", "11:47: unknown value `twice` / write `skip`, `once` or `all`"),
        ("{ every: 1s, to: nobody }", "11:31: there is no unit `nobody` / known are `report`, `clock`"),
        (
            "{ every: 1s, to: clock }",
            "11:31: `clock` is a provider, which is not called by schedules / name a component",
        ),
        (
            "{ every: 1s, to: report, call: acme:report/daily.count }",
            "11:45: acme:report/daily@1.0.0.count is `func() -> u32` / a schedule calls what takes nothing, and returns \
             nothing or a `result`",
        ),
        (
            "{ every: 1s, to: report, call: acme:report/daily.mak }",
            "11:45: acme:report/daily@1.0.0 has no function `mak` / did you mean `make`?",
        ),
        (
            "{ every: 1s, to: report, call: acme:report/dayly.make }",
            "11:45: `report` does not export acme:report/dayly / known are `acme:report/daily@1.0.0`, `wasi:cli/run@0.2.3`",
        ),
        (
            "{ every: 1s, to: report, call: make }",
            "11:45: `make` is no function of an interface / write ns:pkg/interface.function, as in `acme:report/daily.make`",
        ),
    ] {
        let found = checked(&format!("        one: {schedule}\n")).unwrap_err();
        assert_eq!(found, [expected], "{schedule}");
    }
    let [wrong] = &checked("        one: { cron: \"0 25 * * *\", to: report }\n").unwrap_err()[..] else {
        panic!("one")
    };
    assert!(wrong.starts_with("11:22: `0 25 * * *` is no expression of cron: "), "{wrong}");
    let [wrong] = &checked("        One: { every: 1s, to: report }\n").unwrap_err()[..] else { panic!("one") };
    assert!(wrong.starts_with("11:9: unit name \"One\" has the character 'O'"), "{wrong}");
}
