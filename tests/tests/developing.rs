//! From nothing to a component that serves, and is swapped while it is written.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use lattice_tests::{
    get,
    places::{free_address, guest, path_with_nats, program, repository},
    wait::eventually,
};
use rustix::process::{Pid, Signal, kill_process};

/// A compiler that builds everything for the first time, on a machine that does more: of a provider that is five minutes of a core,
/// beside whatever else is tested and built here.
const BUILT: Duration = Duration::from_secs(900);
/// From a saved file to an answer, there.
const SWAPPED: Duration = Duration::from_secs(180);

fn ctl(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program("lattice-ctl"));
    // What the guests of the tests depend on is built already, by the same profile. Names must be others than theirs, and than those of
    // other tests: what is built of two packages of one name is one file there.
    let guests = guest("hello").parent().unwrap().with_file_name("guests-build");
    command.args(args).current_dir(folder).env("CARGO_TARGET_DIR", guests);
    command.env("CARGO_PROFILE_RELEASE_LTO", "true");
    // Of a provider everything is built anew; nobody looks for its lines.
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(env::split_paths(&path_with_nats()).chain(env::split_paths(&path))).unwrap();
    command.env("PATH", path).env_remove("NATS_URL");
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn done(folder: &Path, args: &[&str]) -> String {
    let output = ctl(folder, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A project with the dependencies of the examples, or of this project, where it has any.
fn new(folder: &Path, template: &str, name: &str) -> PathBuf {
    let made = done(folder, &["new", template, name]);
    assert!(made.contains("lattice-ctl dev"), "{made}");
    let project = folder.join(name);
    if project.join("Cargo.toml").exists() {
        let lock = if template == "provider" { "Cargo.lock" } else { "examples/Cargo.lock" };
        fs::copy(repository().join(lock), project.join("Cargo.lock")).unwrap();
    }
    project
}

/// `lattice-ctl dev`, with what it says in a file. It ends with it.
struct Dev {
    process: Child,
    log: PathBuf,
}

impl Dev {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let log = folder.with_extension("log");
        let file = fs::File::create(&log).unwrap();
        let mut dev = ctl(folder, &[&["dev"], args].concat());
        let process = dev.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Self { process, log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn wait<T>(&self, what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
        eventually(limit, look).unwrap_or_else(|| panic!("{what} did not come:\n{}", self.said()))
    }

    /// Ctrl-C.
    fn end(mut self) -> String {
        kill_process(Pid::from_child(&self.process), Signal::INT).unwrap();
        assert!(self.process.wait().unwrap().success(), "{}", self.said());
        self.said()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended.
        let _ = kill_process(Pid::from_child(&self.process), Signal::INT);
        let _ = self.process.wait();
    }
}

#[test]
fn a_project_is_built_served_and_swapped_while_it_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let project = new(folder.path(), "http-keyvalue", "tally");
    // Without a manifest: what it imports says what it needs.
    fs::remove_file(project.join("app.yaml")).unwrap();
    let address = free_address();
    let dev = Dev::start(&project, &["--address", &address.to_string()]);
    let answer = || get(address, "/").ok().filter(|answer| answer.status == 200).map(|answer| answer.text());
    assert_eq!(dev.wait("the first answer", BUILT, answer), "1\n");
    assert_eq!(answer().as_deref(), Some("2\n"));

    let source = project.join("src/lib.rs");
    let first = fs::read_to_string(&source).unwrap();
    let second = first.replace("format!(\"{visits}\\n\")", "format!(\"{visits} visits\\n\")");
    assert_ne!(first, second);
    fs::write(&source, &second).unwrap();
    let saved = Instant::now();
    let swapped = || answer().filter(|text| text.contains("visits"));
    let text = dev.wait("the second version", SWAPPED, swapped);
    println!("served {:?} after it was saved", saved.elapsed());
    assert!(text.trim_end().trim_end_matches(" visits").parse::<u64>().unwrap() > 2, "what it had is gone: {text}");

    // What cannot be built is told, and what ran goes on.
    fs::write(&source, format!("{second}\nfn broken( {{\n")).unwrap();
    dev.wait("the error", SWAPPED, || dev.said().contains("it cannot be built").then_some(()));
    assert!(dev.said().contains("src/lib.rs"), "{}", dev.said());
    assert!(answer().unwrap().contains("visits"));
    // What it says is shown.
    fs::write(&source, second.replace("let path =", "println!(\"somebody is here\");\n        let path =")).unwrap();
    dev.wait("its log", SWAPPED, || {
        answer();
        dev.said().lines().any(|line| line.contains("tally/tally") && line.contains("somebody is here")).then_some(())
    });
    let said = dev.end();
    assert!(said.contains("ending lattice-host") && get(address, "/").is_err(), "{said}");
}

#[test]
fn a_provider_is_written_as_a_component_is() {
    let folder = tempfile::tempdir().unwrap();
    let project = new(folder.path(), "provider", "salute");
    let dev = Dev::start(&project, &[]);
    let url = dev.wait("its lattice", BUILT, || {
        let said = dev.said();
        let ready = said.contains("built and swapped");
        said.split("--nats ").nth(1)?.split_whitespace().next().map(str::to_owned).filter(|_| ready)
    });
    let call = |name: &str| {
        let arguments = format!("[\"{name}\"]");
        let call = ["call", "salute/salute", "local:salute/greeter.greet", &arguments, "--nats", &url];
        let output = ctl(&project, &call).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<String>()
    };
    assert_eq!(call("you"), r#"{"ok":"Hello,you!"}"#);
    assert_eq!(call(""), r#"{"err":"nobodyistobegreeted"}"#);
    let source = project.join("src/main.rs");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("{name}!", "dear {name}!")).unwrap();
    dev.wait("the second version", SWAPPED, || (call("you") == r#"{"ok":"Hello,dearyou!"}"#).then_some(()));
    // What the settings say is checked by the program.
    let manifest = project.join("app.yaml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("greeting: Hello", "greeting: \"\"")).unwrap();
    dev.wait("its refusal", SWAPPED, || dev.said().contains("a greeting has words").then_some(()));
    assert_eq!(call("you"), r#"{"ok":"Hello,dearyou!"}"#, "what ran before goes on");
    dev.end();
    let built: serde_json::Value = serde_json::from_str(&done(&project, &["build", "--dev", "-o", "json"])).unwrap();
    assert!(
        built["bytes"].as_u64().unwrap() > 100_000 && built["file"].as_str().unwrap().ends_with("/salute"),
        "{built}"
    );
    fs::remove_file(&manifest).unwrap();
    let without = ctl(&project, &["dev", "--manifest"]).output().unwrap();
    assert!(!without.status.success() && said(&without).contains("a provider needs one"), "{}", said(&without));
    let nowhere = ctl(folder.path(), &["new", "provider", "other", "--sdk", "nowhere"]).output().unwrap();
    assert!(said(&nowhere).contains("there is no SDK of providers in nowhere"), "{}", said(&nowhere));
}

/// Has a component answer a request, by itself.
fn answers(file: &Path, expected: &str) {
    let address = free_address();
    let mut serve = Command::new(program("lattice-host"));
    serve.arg("serve").arg(file).args(["--addr", &address.to_string()]).stdout(Stdio::null());
    let mut serve = serve.spawn().unwrap();
    // An interpreter of some megabytes is compiled first.
    let answer = eventually(BUILT, || get(address, "/").ok());
    serve.kill().unwrap();
    serve.wait().unwrap();
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, expected));
}

#[test]
fn every_template_is_built_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    for (template, name, export) in [
        ("http", "hello-you", "wasi:http/incoming-handler"),
        ("library", "greeter-lib", "local:greeter-lib/greeter"),
        ("python", "snake", "wasi:http/incoming-handler"),
        ("javascript", "script", "wasi:http/incoming-handler"),
    ] {
        let project = new(folder.path(), template, name);
        let built: serde_json::Value = serde_json::from_str(&done(&project, &["build", "-o", "json"])).unwrap();
        let exports = built["exports"].as_array().unwrap();
        assert!(exports.iter().any(|name| name.as_str().unwrap().starts_with(export)), "{built}");
        let file = format!("{name}.wasm");
        let shown = done(&project, &["inspect", &file]);
        assert!(shown.contains(&format!("export {export}")) && shown.contains("world root"), "{shown}");
        // Its manifest fits: all but a lattice is there.
        let output = ctl(&project, &["apply", "-f", "app.yaml", "--nats", "nats://127.0.0.1:1"]).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        if export == "wasi:http/incoming-handler" {
            answers(&project.join(file), &format!("Hello from {name}!\n"));
        }
    }
    let twice = ctl(folder.path(), &["new", "http", "hello-you"]).output().unwrap();
    assert!(
        !twice.status.success() && said(&twice).contains("there is something in hello-you already"),
        "{}",
        said(&twice)
    );
    let nothing = ctl(folder.path(), &["build"]).output().unwrap();
    assert!(!nothing.status.success() && said(&nothing).contains("is no project"), "{}", said(&nothing));
    // A file that somebody else builds is run, too; without HTTP it waits for calls.
    let library = folder.path().join("greeter-lib");
    let dev = Dev::start(&library, &["greeter-lib.wasm"]);
    let url = dev.wait("its lattice", BUILT, || {
        let said = dev.said();
        let ready = said.contains("built and swapped");
        said.split("--nats ").nth(1)?.split_whitespace().next().map(str::to_owned).filter(|_| ready)
    });
    let call = ["call", "greeter-lib/greeter-lib", "local:greeter-lib/greeter.greet", "[\"you\"]", "--nats", &url];
    assert_eq!(done(&library, &call), "\"Hello, you!\"\n");
    let shown = done(&library, &["inspect", "greeter-lib/greeter-lib", "--nats", &url]);
    assert!(shown.contains("greet: func(name: string) -> string"), "{shown}");
    let said = dev.end();
    assert!(said.contains("ending nats-server"), "{said}");
}
