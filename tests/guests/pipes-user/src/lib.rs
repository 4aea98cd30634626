//! Calls the streams and futures of `pipes`, and says what came.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use exports::test::pipes::user::Guest;
use test::pipes::pipes::{self, Fault, Many, Reading, Source};
use wasi::clocks::monotonic_clock;
use wit_bindgen::{StreamReader, StreamResult, spawn_local};

wit_bindgen::generate!({
    path: ["../../../wit/p3", "../pipes/wit"],
    world: "test:pipes/caller",
    generate_all,
    // Stops the whole instance while it waits.
    async: ["-import:test:pipes/pipes@1.0.0#noted"],
});

/// What one write carries.
const CHUNK: usize = 64 * 1024;

struct User;

fn piece(start: u64, length: usize) -> Vec<u8> {
    (start..start + length as u64).map(|n| (n % 251) as u8).collect()
}

async fn wait(ms: u64) {
    monotonic_clock::wait_for(ms * 1_000_000).await;
}

fn data(bytes: u64) -> StreamReader<u8> {
    let (mut writer, reader) = wit_stream::new();
    spawn_local(async move {
        let mut made = 0;
        while made < bytes {
            let now = (bytes - made).min(CHUNK as u64) as usize;
            if !writer.write_all(piece(made, now)).await.is_empty() {
                return;
            }
            made += now as u64;
        }
    });
    reader
}

/// Reads a stream of the bytes that [`piece`] makes; how many came, and whether they are right.
async fn check(mut data: StreamReader<u8>) -> Result<u64, String> {
    let mut length = 0;
    loop {
        let (status, bytes) = data.read(Vec::with_capacity(CHUNK)).await;
        if bytes != piece(length, bytes.len()) {
            return Err(format!("wrong bytes after {length}"));
        }
        length += bytes.len() as u64;
        if !matches!(status, StreamResult::Complete(_)) {
            return Ok(length);
        }
    }
}

fn told(end: Result<u64, Fault>) -> String {
    match end {
        Ok(bytes) => format!("ok {bytes}"),
        Err(Fault::Full) => "full".to_owned(),
        Err(Fault::Other(text)) => format!("other: {text}"),
    }
}

impl Guest for User {
    async fn run(what: String, n: u64) -> Result<String, String> {
        Ok(match what.as_str() {
            "echo" => format!("{} bytes", check(pipes::echo(data(n)).await).await?),
            "beside" => {
                let many = Many {
                    a: 1,
                    b: 2,
                    c: 3,
                    d: 4,
                    e: 5,
                    f: 6,
                    g: 7,
                    h: 8,
                    i: 9,
                    j: 10,
                    k: 11,
                    l: 12,
                    m: 13,
                    n: 14,
                    o: 15,
                    p: 16,
                    name: "name".to_owned(),
                };
                let (length, sum) = pipes::beside(many, data(n)).await;
                format!("{length} bytes, {sum}")
            }
            "measure" => {
                let (length, sum) = pipes::measure(data(n)).await;
                let expected = piece(0, n as usize)
                    .iter()
                    .fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
                if sum != expected {
                    return Err("wrong bytes".to_owned());
                }
                format!("{length} bytes")
            }
            "make" | "make-half" => {
                let (stream, end) = if what == "make" { pipes::make(n).await } else { pipes::make_half(n).await };
                let read = check(stream).await?;
                format!("{read} bytes, {}", told(end.await))
            }
            "make-half-alone" => format!("{} bytes", check(pipes::make_half_alone(n).await).await?),
            // Reads a little, and has enough.
            "taste" => {
                let (mut stream, end) = pipes::make(n).await;
                let (_, bytes) = stream.read(Vec::with_capacity(100)).await;
                drop(stream);
                let end = told(end.await);
                format!("{} bytes, {}", bytes.len(), if end == format!("ok {n}") { "all made" } else { "stopped" })
            }
            "readings" => {
                let mut readings = pipes::readings(n as u32).await;
                let mut count = 0;
                while let Some(reading) = readings.next().await {
                    let right = reading.at == count << 33
                        && reading.name == format!("sensor {count} °C")
                        && reading.values == (0..count % 5).map(|v| v as f32 / 2.0).collect::<Vec<_>>();
                    if !right {
                        return Err(format!("reading {count} is wrong: {reading:?}"));
                    }
                    count += 1;
                }
                format!("{count} readings")
            }
            "total" => {
                let (mut writer, reader) = wit_stream::new();
                spawn_local(async move {
                    for at in 0..n {
                        let reading = Reading { at: at << 33, name: "x".to_owned(), values: vec![0.5; 3] };
                        writer.write_all(vec![reading]).await;
                    }
                });
                format!("{:?}", pipes::total(reader).await)
            }
            "ticks" => {
                let count = pipes::ticks(n as u32).await.collect().await.len();
                let (mut writer, reader) = wit_stream::new();
                spawn_local(async move {
                    writer.write_all(vec![(); n as usize]).await;
                });
                format!("{count} ticks, and {} back", pipes::count_ticks(reader).await)
            }
            "later" => {
                let (value, signal) = (pipes::later(n as u32, "now".to_owned()).await, pipes::signal(1).await);
                signal.await;
                value.await
            }
            "answer" => {
                let (writer, reader) = wit_future::new(|| 0);
                spawn_local(async move {
                    wait(20).await;
                    let _ = writer.write(n as u32).await;
                });
                format!("{}", pipes::answer(reader).await)
            }
            // Nothing else goes on here until it was read: not even the end of the write.
            "noted" => {
                let (writer, reader) = wit_future::new(|| ());
                let mut write = pin!(writer.write(()));
                let written = write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                pipes::noted(reader);
                format!("{written}, then {}", write.await.is_ok())
            }
            "swallow" => {
                pipes::swallow(data(n)).await;
                wait(50).await;
                "swallowed".to_owned()
            }
            "silent" => format!("{} bytes", check(pipes::silent().await).await?),
            "maybe" => match pipes::maybe(n > 0).await {
                None => "none".to_owned(),
                Some(stream) => {
                    let texts = stream.collect().await;
                    format!("{:?}", texts.iter().map(|text| text.chars().count()).collect::<Vec<_>>())
                }
            },
            // Two streams of one resource at once, and a call between.
            "source" => {
                let source = Source::new("s");
                let (mut one, mut other) = (source.read(n as u32).await, source.read(n as u32).await);
                let (mut count, mut name) = (0, String::new());
                while let Some(text) = one.next().await {
                    if text != format!("s {count}") || other.next().await != Some(text) {
                        return Err(format!("text {count} is wrong"));
                    }
                    if count == 1 {
                        name = source.name();
                    }
                    count += 1;
                }
                format!("{count} of {name}")
            }
            other => return Err(format!("no check `{other}`")),
        })
    }
}

export!(User);
