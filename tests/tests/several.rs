//! Several apps at once: in a file, in a folder, with values put in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use lattice_tests::{
    Lattice, get,
    lattice::{head, image},
    places::free_address,
};

#[test]
fn apps_that_use_each_other_are_applied_together_or_not_at_all() {
    let lattice = Lattice::start(1);
    let address = free_address();
    // The one that uses the other stands first.
    let shop = format!(
        "{}  components:\n    counter: {{ image: {}, links: {{ wasi:keyvalue: data/cache }} }}\n  providers:\n    web: {{ use: http-server, \
         config: {{ address: \"${{ADDRESS}}\" }}, routes: {{ /: counter }} }}\n",
        head("shop"),
        image("counter")
    );
    let data = format!("{}  providers:\n    cache: {{ use: keyvalue-memory, share: ${{WITH}} }}\n", head("data"));
    std::fs::create_dir(lattice.dir().join("apps")).unwrap();
    lattice.write("apps/all.yaml", format!("{shop}---\n{data}"));
    lattice.write(
        "apps/other.yml",
        format!("{}  components:\n    hello: {{ image: {} }}\n", head("other"), image("hello")),
    );
    let set = format!("ADDRESS={address}");
    let args = |command: &'static str, with: &'static str| {
        vec![command, "-f", "apps", "--set", &set, "--set", with].into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let ctl = |args: &[String]| lattice.ctl(&args.iter().map(String::as_str).collect::<Vec<_>>());

    let output = lattice.ctl(&["apply", "-f", "apps"]);
    assert_eq!(output.code, Some(3), "{}", output.all());
    // Not shared with the other: nothing is applied, also not what is right.
    let output = ctl(&args("apply", "WITH=nobody"));
    assert_eq!(output.code, Some(3), "{}", output.all());
    assert!(output.stderr.contains("apps/all.yaml:6:"), "{}", output.all());
    assert!(["data", "shop", "other"].iter().all(|app| lattice.try_status(app).is_none()));

    let output = ctl(&args("plan", "WITH=shop"));
    assert_eq!(output.code, Some(2), "{}", output.all());
    let output = ctl(&args("apply", "WITH=shop"));
    assert_eq!(output.code, Some(0), "{}", output.all());
    let ready: Vec<_> =
        output.stdout.lines().filter_map(|line| line.strip_prefix("app ")?.split_once(": ready")).collect();
    assert_eq!(ready.iter().map(|(app, _)| *app).collect::<Vec<_>>(), ["data", "shop", "other"], "{}", output.all());
    assert_eq!(get(address, "/").unwrap().body, b"1\n");
    assert_eq!(ctl(&args("plan", "WITH=shop")).code, Some(0), "twice is once");
}
