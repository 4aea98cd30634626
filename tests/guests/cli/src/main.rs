//! A WASI 0.2 command. Its first argument says what to do; without one, the variable `ACT`.

use std::{
    env, fs,
    io::{self, Read},
    process::{ExitCode, exit},
};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().collect();
    if let (1, Ok(words)) = (arguments.len(), env::var("ACT")) {
        arguments.extend(words.split(' ').map(str::to_owned));
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match act(&arguments[1..]) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &[&str]) -> Result<String, String> {
    let words = |error: io::Error| error.to_string();
    match arguments {
        ["args", rest @ ..] => Ok(format!("{}\n", rest.join("|"))),
        ["name"] => Ok(format!("{}\n", env::args().next().unwrap_or_default())),
        ["env"] => Ok(env::vars().map(|(key, value)| format!("{key}={value}\n")).collect()),
        ["exit", code] => exit(code.parse().map_err(|_| "not a code")?),
        ["fail"] => Err("asked to fail".to_owned()),
        ["trap"] => panic!("asked to panic"),
        ["cat"] => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(words)?;
            Ok(text)
        }
        ["read", path] => fs::read_to_string(path).map_err(words),
        ["write", path, text] => fs::write(path, text).map(|()| String::new()).map_err(words),
        ["loop"] => loop {
            std::hint::black_box(());
        },
        other => Err(format!("cannot {other:?}")),
    }
}
