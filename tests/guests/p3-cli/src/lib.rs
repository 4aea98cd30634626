//! A WASI 0.3 command. Its first argument says what to do, see `act`; without one, the variable `ACT`.

use exports::wasi::cli::run::Guest;
use wasi::{
    cli::{environment, exit, stderr, stdin, stdout},
    clocks::monotonic_clock,
    filesystem::{
        preopens,
        types::{DescriptorFlags, OpenFlags, PathFlags},
    },
    sockets::{
        ip_name_lookup::resolve_addresses,
        types::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, TcpSocket},
    },
};

wit_bindgen::generate!({ path: "../../../wit/p3", world: "command", generate_all });

struct Command;

impl Guest for Command {
    async fn run() -> Result<(), ()> {
        let mut arguments = environment::get_arguments();
        if arguments.len() == 1 {
            let variables = environment::get_environment();
            let words = variables.iter().filter(|(name, _)| name == "ACT").flat_map(|(_, words)| words.split(' '));
            arguments.extend(words.map(str::to_owned));
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        match act(&arguments[1..]).await {
            Ok(text) => say(text).await,
            Err(text) => {
                let (mut writer, reader) = wit_stream::new();
                let written = stderr::write_via_stream(reader);
                writer.write_all(format!("{text}\n").into_bytes()).await;
                drop(writer);
                let _ = written.await;
                Err(())
            }
        }
    }
}

async fn say(text: String) -> Result<(), ()> {
    let (mut writer, reader) = wit_stream::new();
    let written = stdout::write_via_stream(reader);
    writer.write_all(text.into_bytes()).await;
    drop(writer);
    written.await.map_err(drop)
}

async fn act(arguments: &[&str]) -> Result<String, String> {
    match arguments {
        ["args", rest @ ..] => Ok(format!("{}\n", rest.join("|"))),
        ["env"] => Ok(environment::get_environment().iter().map(|(k, v)| format!("{k}={v}\n")).collect()),
        ["exit", code] => {
            exit::exit_with_code(code.parse().map_err(|_| "not a code")?);
            Ok(String::new())
        }
        ["fail"] => Err("asked to fail".to_owned()),
        ["trap"] => panic!("asked to panic"),
        ["sleep", ms] => {
            monotonic_clock::wait_for(ms.parse::<u64>().map_err(|_| "not a number")? * 1_000_000).await;
            Ok("slept\n".to_owned())
        }
        ["cat"] => {
            let (reader, end) = stdin::read_via_stream();
            let bytes = reader.collect().await;
            end.await.map_err(|error| format!("{error:?}"))?;
            String::from_utf8(bytes).map_err(|error| error.to_string())
        }
        ["read", path] => {
            let (dir, _) = preopens::get_directories().into_iter().next().ok_or("no folder is granted")?;
            let open = dir.open_at(PathFlags::empty(), path.to_string(), OpenFlags::empty(), DescriptorFlags::READ);
            let file = open.await.map_err(|error| format!("{error:?}"))?;
            let (reader, end) = file.read_via_stream(0);
            let bytes = reader.collect().await;
            end.await.map_err(|error| format!("{error:?}"))?;
            String::from_utf8(bytes).map_err(|error| error.to_string())
        }
        ["write", path, text] => {
            let (dir, _) = preopens::get_directories().into_iter().next().ok_or("no folder is granted")?;
            let open = dir.open_at(PathFlags::empty(), path.to_string(), OpenFlags::CREATE, DescriptorFlags::WRITE);
            let file = open.await.map_err(|error| format!("{error:?}"))?;
            let (mut writer, reader) = wit_stream::new();
            let written = file.write_via_stream(reader, 0);
            writer.write_all(text.as_bytes().to_vec()).await;
            drop(writer);
            written.await.map_err(|error| format!("{error:?}"))?;
            Ok(String::new())
        }
        ["connect", port] => {
            let socket = TcpSocket::create(IpAddressFamily::Ipv4).map_err(|error| format!("{error:?}"))?;
            let port = port.parse().map_err(|_| "not a port")?;
            let remote = IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (127, 0, 0, 1) });
            socket.connect(remote).await.map_err(|error| format!("{error:?}"))?;
            Ok("connected\n".to_owned())
        }
        ["resolve", name] => {
            let found = resolve_addresses(name.to_string()).await.map_err(|error| format!("{error:?}"))?;
            Ok(format!("{} found\n", if found.is_empty() { "nothing" } else { "something" }))
        }
        other => Err(format!("cannot {other:?}")),
    }
}

export!(Command);
