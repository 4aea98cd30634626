//! The program as its users meet it: texts, exit codes, and what it does when nothing is there.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::{
    fs,
    io::Read,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

const MANIFEST: &str = "apiVersion: lattice/v1\nkind: App\nmetadata: { name: shop }\nspec:\n  providers:\n    cache: { use: \
                        keyvalue-memory }\n";

fn ctl(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lattice-ctl"));
    command.current_dir(folder).env_clear().env("NATS_URL", format!("nats://127.0.0.1:{}", closed_port()));
    command
}

/// A port that nobody listens on: the system has just given it away and got it back.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_lattice_that_is_not_there_is_said_quickly() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("app.yaml"), MANIFEST).unwrap();
    for args in [&["apply", "-f", "app.yaml"][..], &["status"], &["get", "hosts", "-o", "json"], &["delete", "shop"]] {
        let start = Instant::now();
        let output = ctl(dir.path()).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{args:?}: {}", stderr(&output));
        assert!(start.elapsed() < Duration::from_secs(5), "{args:?} took {:?}", start.elapsed());
        assert!(stdout(&output).is_empty());
        let text = stderr(&output);
        assert!(text.starts_with("error: cannot reach NATS at nats://127.0.0.1:"), "{text}");
        assert!(
            text.contains("\nhelp: start nats-server with -js there, name another with --nats or NATS_URL"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}

#[test]
fn a_wrong_manifest_is_told_without_a_lattice() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("app.yaml"), MANIFEST.replace("keyvalue-memory", "keyvalue-memroy")).unwrap();
    for command in [&["apply", "-f", "app.yaml"][..], &["up", "app.yaml"]] {
        let output = ctl(dir.path()).args(command).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let expected = "\
error: app.yaml:6:19: there is no provider `keyvalue-memroy`
   ╭─[app.yaml:6:19]
 5 │   providers:
 6 │     cache: { use: keyvalue-memroy }
   ·                   ───────┬───────
   ·                          ╰── here
   ╰────
  help: did you mean `keyvalue-memory`?
";
        assert_eq!(stderr(&output), expected);
    }
    let output = ctl(dir.path()).args(["apply", "-f", "none.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        stderr(&output),
        "error: cannot read the manifest none.yaml: there is no such file\nhelp: name a file, or `-` to read from \
         stdin\n"
    );
}

#[test]
fn a_manifest_comes_from_stdin() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("input");
    fs::write(&input, "apiVersion: lattice/v2\n").unwrap();
    let file = fs::File::open(&input).unwrap();
    let output = ctl(dir.path()).args(["apply", "-f", "-"]).stdin(Stdio::from(file)).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).starts_with("error: <stdin>:1:1: `kind` is missing"), "{}", stderr(&output));
}

#[test]
fn up_says_how_to_get_a_server() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("app.yaml"), MANIFEST).unwrap();
    let output = ctl(dir.path()).args(["up", "app.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.starts_with("error: NATS does not answer, and there is no nats-server to start\nhelp: install"),
        "{text}"
    );
    // A port that something else has is not waited for.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    std::thread::spawn({
        let taken = taken.try_clone().unwrap();
        move || taken.incoming().for_each(drop)
    });
    let url = format!("nats://{}", taken.local_addr().unwrap());
    let output = ctl(dir.path()).args(["up", "app.yaml", "--nats", &url]).output().unwrap();
    let text = stderr(&output);
    assert!(text.contains("but it does not answer as NATS does\nhelp: name another port"), "{text}");
}

#[test]
fn what_is_wrong_with_a_call_is_told_without_a_lattice() {
    let dir = tempfile::tempdir().unwrap();
    let get = "lattice:keyvalue/store@0.1.0.get";
    let call = |args: &[&str]| {
        let output = ctl(dir.path()).arg("call").args(args).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), stderr(&output))
    };
    assert_eq!(
        call(&["shop/cache", get, "5"]),
        (
            Some(2),
            "error: the arguments are a number, not an array\nhelp: for one parameter write an array of one value: \
             '[5]'\n"
                .to_owned()
        )
    );
    for (args, text) in [
        (&["shop/cache", get, "-"][..], "error: the arguments are empty\nhelp: write '[]' for a function without"),
        (&["shop/cache", get, "[key]"], "error: the arguments are not JSON: expected value at line 1 column 2\nhelp: "),
        (&["shop", get], "\"shop\" is not a unit id of the form app/unit"),
        (&["shop/cache", "a:b/c"], "`a:b/c` is not of the form namespace:package/interface[@version].function"),
        (&["shop/cache", get, "--deadline", "soon"], "write a number with ms, s, m or h"),
        (&["shop/cache", get, "--deadline", "0s"], "write a time above 0"),
        (&["shop/cache", get, "--deadline", "2h"], "3600 s is the most"),
        (&["shop/cache", get, "--instance", "first"], "is not an instance id: 16 hexadecimal digits"),
    ] {
        let (code, said) = call(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains(text), "{args:?}: {said}");
    }
    // What is right gets as far as the connection.
    let (code, said) = call(&["shop/cache", get]);
    assert!(code == Some(4) && said.starts_with("error: cannot reach NATS"), "{said}");
    let help = stdout(&ctl(dir.path()).args(["call", "--help"]).output().unwrap());
    for line in ["  variant                       \"case\", or {\"case\": value}", "  9  the function that was called"]
    {
        assert!(help.contains(line), "{help}");
    }
}

#[test]
fn usage_and_help() {
    let dir = tempfile::tempdir().unwrap();
    let output = ctl(dir.path()).arg("aply").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = ctl(dir.path()).args(["--lattice", "a.b", "status"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("has the character '.'"), "{}", stderr(&output));
    let help = stdout(&ctl(dir.path()).arg("--help").output().unwrap());
    for line in ["  0  done", "  4  the lattice cannot be reached", "  7  somebody else changed it meanwhile"] {
        assert!(help.contains(line), "{help}");
    }
    let version = ctl(dir.path()).arg("version").output().unwrap();
    assert_eq!(stdout(&version), format!("lattice-ctl {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_for_each_shell() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = ctl(dir.path()).args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        assert!(stdout(&output).contains("lattice-ctl"), "{shell}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child =
        ctl(dir.path()).args(["completions", "bash"]).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((child.wait().unwrap().code(), text.as_str()), (Some(0), ""));
}

#[test]
fn colours_only_where_they_are_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let plain = stderr(&ctl(dir.path()).arg("status").output().unwrap());
    assert!(!plain.contains('\x1b'), "{plain}");
    let coloured = stderr(&ctl(dir.path()).args(["status", "--color", "always"]).output().unwrap());
    assert!(coloured.starts_with("\x1b[1;31merror:\x1b[0m cannot reach"), "{coloured}");
}

#[test]
fn contexts_name_lattices_and_show_nothing_secret() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        ctl(dir.path()).args(args).env("XDG_CONFIG_HOME", dir.path()).env_remove("NATS_URL").output().unwrap()
    };
    let said = |args: &[&str]| {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let far = "nats://me:secret@127.0.0.1:1";
    said(&["ctx", "set", "far", "--nats", far, "--lattice", "shop"]);
    said(&["ctx", "set", "near", "--nats", "nats://127.0.0.1:2", "--nats-user", "you", "--nats-password", "secret"]);
    let list = said(&["ctx", "list"]);
    assert!(list.contains("far") && list.contains("shop") && !list.contains("secret"), "{list}");
    // The first one is current, another one can be named, and who names servers means those.
    let asks = |args: &[&str]| {
        let output = run(&[&["get", "apps"], args].concat());
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        stderr(&output)
    };
    assert!(asks(&[]).contains("127.0.0.1:1"), "{}", asks(&[]));
    assert!(asks(&["--context", "near"]).contains("127.0.0.1:2"));
    assert!(asks(&["--nats", "nats://127.0.0.1:3"]).contains("127.0.0.1:3"));
    said(&["ctx", "use", "near"]);
    assert!(asks(&[]).contains("127.0.0.1:2"));
    let unknown = run(&["get", "apps", "--context", "nearr"]);
    assert!(
        unknown.status.code() == Some(6) && stderr(&unknown).contains("did you mean `near`?"),
        "{}",
        stderr(&unknown)
    );
    said(&["ctx", "remove", "near"]);
    assert!(!said(&["ctx", "list", "-o", "json"]).contains("true"), "nothing is current");
    // For its owner alone.
    let file = dir.path().join("lattice/contexts.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // One that is broken is named, and can be mended.
    fs::write(&file, "{").unwrap();
    let broken = run(&["get", "apps"]);
    assert!(stderr(&broken).contains("contexts.json is no list of contexts"), "{}", stderr(&broken));
}

#[test]
fn manual_pages_are_written_and_say_nothing_of_who_writes_them() {
    let dir = tempfile::tempdir().unwrap();
    let output = ctl(dir.path()).args(["man", "."]).env("NATS_URL", "nats://mine.example").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let pages: Vec<_> = fs::read_dir(dir.path().join("man1")).unwrap().map(|page| page.unwrap().path()).collect();
    assert!(pages.len() > 30, "{pages:?}");
    for page in pages {
        assert!(!fs::read_to_string(page).unwrap().contains("mine.example"));
    }
}
