//! Streams and futures for `pipes-user`.

use std::cell::RefCell;

use exports::test::pipes::pipes::{Fault, Guest, GuestSource, Many, Reading};
use wasi::clocks::monotonic_clock;
use wit_bindgen::{FutureReader, StreamReader, StreamResult, spawn_local};

wit_bindgen::generate!({ path: ["../../../wit/p3", "wit"], world: "test:pipes/library", generate_all });

/// What one write carries.
const CHUNK: usize = 64 * 1024;

struct Library;

fn piece(start: u64, length: usize) -> Vec<u8> {
    (start..start + length as u64).map(|n| (n % 251) as u8).collect()
}

async fn wait(ms: u32) {
    monotonic_clock::wait_for(u64::from(ms) * 1_000_000).await;
}

/// All bytes of a stream, piece by piece.
async fn each(mut data: StreamReader<u8>, mut take: impl FnMut(&[u8])) {
    loop {
        let (status, bytes) = data.read(Vec::with_capacity(CHUNK)).await;
        take(&bytes);
        if !matches!(status, StreamResult::Complete(_)) {
            return;
        }
    }
}

fn make(bytes: u64, until: u64) -> (StreamReader<u8>, FutureReader<Result<u64, Fault>>) {
    let (mut writer, reader) = wit_stream::new();
    let (told, end) = wit_future::new(|| Err(Fault::Full));
    spawn_local(async move {
        let mut made = 0;
        while made < bytes {
            assert!(made < until, "asked to trap");
            let now = (bytes - made).min(CHUNK as u64) as usize;
            if !writer.write_all(piece(made, now)).await.is_empty() {
                break;
            }
            made += now as u64;
        }
        drop(writer);
        let _ = told.write(Ok(made)).await;
    });
    (reader, end)
}

impl Guest for Library {
    type Source = Source;

    async fn echo(mut data: StreamReader<u8>) -> StreamReader<u8> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            loop {
                let (status, bytes) = data.read(Vec::with_capacity(CHUNK)).await;
                if !writer.write_all(bytes).await.is_empty() || !matches!(status, StreamResult::Complete(_)) {
                    return;
                }
            }
        });
        reader
    }

    async fn measure(data: StreamReader<u8>) -> (u64, u64) {
        let (mut length, mut sum) = (0, 0u64);
        each(data, |bytes| {
            for byte in bytes {
                sum = sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
            }
            length += bytes.len() as u64;
        })
        .await;
        (length, sum)
    }

    async fn beside(numbers: Many, data: StreamReader<u8>) -> (u64, u64) {
        let (length, _) = Self::measure(data).await;
        let Many { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, name } = numbers;
        let sum = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p].iter().sum::<u64>();
        (length, sum + name.len() as u64)
    }

    async fn make(bytes: u64) -> (StreamReader<u8>, FutureReader<Result<u64, Fault>>) {
        make(bytes, u64::MAX)
    }

    async fn make_half(bytes: u64) -> (StreamReader<u8>, FutureReader<Result<u64, Fault>>) {
        make(bytes, bytes / 2)
    }

    async fn make_half_alone(bytes: u64) -> StreamReader<u8> {
        make(bytes, bytes / 2).0
    }

    async fn readings(count: u32) -> StreamReader<Reading> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            let reading = |n: u32| Reading {
                at: u64::from(n) << 33,
                name: format!("sensor {n} °C"),
                values: (0..n % 5).map(|v| v as f32 / 2.0).collect(),
            };
            let all: Vec<Reading> = (0..count).map(reading).collect();
            writer.write_all(all).await;
        });
        reader
    }

    async fn total(mut readings: StreamReader<Reading>) -> Result<u64, Fault> {
        let mut total = 0;
        while let Some(reading) = readings.next().await {
            if reading.name.is_empty() {
                return Err(Fault::Full);
            }
            total += (reading.at >> 33) + reading.values.len() as u64;
        }
        Ok(total)
    }

    async fn ticks(count: u32) -> StreamReader<()> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            writer.write_all(vec![(); count as usize]).await;
        });
        reader
    }

    async fn count_ticks(ticks: StreamReader<()>) -> u64 {
        // `next` of wit-bindgen takes all that are there and gives one, when they have no size.
        ticks.collect().await.len() as u64
    }

    async fn later(ms: u32, value: String) -> FutureReader<String> {
        let (writer, reader) = wit_future::new(String::new);
        spawn_local(async move {
            wait(ms).await;
            let _ = writer.write(value).await;
        });
        reader
    }

    async fn signal(ms: u32) -> FutureReader<()> {
        let (writer, reader) = wit_future::new(|| ());
        spawn_local(async move {
            wait(ms).await;
            let _ = writer.write(()).await;
        });
        reader
    }

    async fn answer(question: FutureReader<u32>) -> u32 {
        question.await * 2
    }

    async fn noted(sign: FutureReader<()>) {
        sign.await;
    }

    async fn swallow(data: StreamReader<u8>) {
        spawn_local(async move {
            let mut length = 0;
            each(data, |bytes| length += bytes.len()).await;
            SWALLOWED.with_borrow_mut(|swallowed| *swallowed += length);
        });
    }

    async fn silent() -> StreamReader<u8> {
        let (writer, reader) = wit_stream::new();
        spawn_local(async move {
            wait(3_600_000).await;
            drop(writer);
        });
        reader
    }

    async fn maybe(there: bool) -> Option<StreamReader<String>> {
        there.then(|| {
            let (mut writer, reader) = wit_stream::new();
            spawn_local(async move {
                writer.write_all(vec!["a".to_owned(), String::new(), "ü".repeat(70_000)]).await;
            });
            reader
        })
    }
}

thread_local!(static SWALLOWED: RefCell<usize> = const { RefCell::new(0) });

struct Source(String);

impl GuestSource for Source {
    fn new(name: String) -> Self {
        Self(name)
    }

    async fn read(&self, count: u32) -> StreamReader<String> {
        let (mut writer, reader) = wit_stream::new();
        let name = self.0.clone();
        spawn_local(async move {
            for n in 0..count {
                wait(1).await;
                if !writer.write_all(vec![format!("{name} {n}")]).await.is_empty() {
                    return;
                }
            }
        });
        reader
    }

    fn name(&self) -> String {
        self.0.clone()
    }
}

export!(Library);
