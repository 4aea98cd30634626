//! Objects on their way: in little memory, and whole or not at all.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lattice::wire::CallError;

use super::{Store, failed};
use crate::{
    ByteStream,
    conformance::{Check, memory::watched, same},
};

const PIECE: usize = 64 * 1024;
const MIB: u64 = 1024 * 1024;

/// What large objects repeat. Its length is prime, so that no two pieces of them are the same.
static PATTERN: LazyLock<Bytes> =
    LazyLock::new(|| (0..65_521u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect());

/// The bytes of a large object from `at` on, as long as the pattern goes.
fn expected(at: u64) -> Bytes {
    PATTERN.slice((at % PATTERN.len() as u64) as usize..)
}

/// A large object of `size` bytes, then its end.
fn pattern(size: u64, end: Option<CallError>) -> ByteStream {
    let pieces = stream::unfold(0, move |at| async move {
        let mut piece = expected(at);
        piece.truncate(PIECE.min(usize::try_from(size - at).unwrap_or(PIECE)));
        (at < size).then(|| (Ok(piece.clone()), at + piece.len() as u64))
    });
    ByteStream::new(pieces.chain(stream::iter(end.map(Err))))
}

/// Whether what comes is the pattern, and how long it is.
async fn compare(mut data: ByteStream) -> Result<u64, String> {
    let mut at = 0;
    while let Some(piece) = data.next().await {
        let mut piece = piece.map_err(|error| format!("after {at} bytes: {error}"))?;
        while !piece.is_empty() {
            let mut right = expected(at);
            right.truncate(piece.len());
            if piece.split_to(right.len()) != right {
                return Err(format!("wrong bytes after {at}"));
            }
            at += right.len() as u64;
        }
    }
    Ok(at)
}

pub(super) async fn large_objects_need_little_memory(store: Store) -> Check {
    let size = store.test.large * MIB;
    let (outcome, written) = watched(store.process, store.write("large", pattern(size, None))).await;
    outcome?;
    let (container, object) = (store.container.clone(), "large".to_owned());
    let read = async {
        let (promised, data) = store.backend.read(container, object, 0, u64::MAX).await.map_err(failed("read"))?;
        same("the size of a large object", promised, size)?;
        same("how much of it came", compare(data).await?, size)
    };
    let (outcome, read) = watched(store.process, read).await;
    outcome?;
    match store.test.memory {
        Some(limit) if written.max(read) > limit => {
            Err(format!("writing took {written} MiB of memory, reading {read} MiB; {limit} MiB is the limit"))
        }
        _ => Ok(()),
    }
}

pub(super) async fn a_writer_that_stops_leaves_nothing(store: Store) -> Check {
    store.write("older", Bytes::from("older")).await?;
    for size in [0, 1000, 20 * MIB] {
        for name in ["new", "older"] {
            let cut = pattern(size, Some(CallError::Transport("the writer has stopped".into())));
            let written = store.write(name, cut).await;
            let said = written.as_ref().is_err_and(|error| error.contains("the writer has stopped"));
            same(format!("a write that was cut after {size} bytes ({written:?})"), said, true)?;
        }
        same("whether there is a part of it", store.has("new").await?, false)?;
        same("what it was to replace", store.read("older").await?, Bytes::from("older"))?;
    }
    Ok(())
}

pub(super) async fn a_writer_that_goes_away_leaves_nothing(store: Store) -> Check {
    store.write("older", Bytes::from("older")).await?;
    for name in ["new", "older"] {
        let endless = pattern(MIB, None).chain(stream::pending());
        let write = store.write(name, ByteStream::new(endless));
        let given_up = tokio::time::timeout(Duration::from_millis(300), write).await.is_err();
        same("whether a write without an end goes on", given_up, true)?;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    same("whether there is a part of it", store.has("new").await?, false)?;
    same("what it was to replace", store.read("older").await?, Bytes::from("older"))
}

pub(super) async fn a_reader_may_stop(store: Store) -> Check {
    let size = 20 * MIB;
    store.write("o", pattern(size, None)).await?;
    for _ in 0..20 {
        let (container, object) = (store.container.clone(), "o".to_owned());
        let (_, mut data) = store.backend.read(container, object, 0, u64::MAX).await.map_err(failed("read"))?;
        let first = data.next().await;
        same("whether something came", matches!(first, Some(Ok(_))), true)?;
    }
    let (container, object) = (store.container.clone(), "o".to_owned());
    let (_, data) = store.backend.read(container, object, 0, u64::MAX).await.map_err(failed("read"))?;
    same("a reader after those who stopped", compare(data).await?, size)
}

pub(super) async fn of_several_writers_one_wins(store: Store) -> Check {
    let value = |n: u8| Bytes::from(vec![n; 300_000 + usize::from(n)]);
    let write = |n: u8| {
        let store = store.clone();
        let pieces: Vec<_> = value(n).chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        async move { store.write("o", ByteStream::new(stream::iter(pieces))).await }
    };
    for _ in 0..5 {
        let written: Vec<Check> = stream::iter(0..8).map(write).buffer_unordered(8).collect().await;
        written.into_iter().collect::<Check>()?;
        let found = store.read("o").await?;
        let winner = found.first().copied().unwrap_or(u8::MAX);
        same(format!("whether the value of writer {winner} is whole"), found == value(winner), true)?;
    }
    Ok(())
}
