//! Reading an object: chunk after chunk, each asked for by its number, so that JetStream remembers nothing of who reads.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use lattice::wire::CallError;
use lattice_provider::{
    ByteStream,
    blobstore::{BlobError, INLINE, range},
};
use sha2::{Digest, Sha256};

use crate::{
    container::{Container, Found, failed},
    names,
    runs::Runs,
};

/// Chunks that are asked for at a time, where their numbers are known.
const AHEAD: usize = 8;
/// Where the numbers of an object's chunks are.
pub(crate) const RUNS: &str = "lattice-runs";

/// The bytes of an object from `start` to `end`, both included.
pub(crate) async fn read(
    container: Container,
    found: Found,
    start: u64,
    end: u64,
) -> Result<(u64, ByteStream), BlobError> {
    if found.info.options.as_ref().is_some_and(|options| options.link.is_some()) {
        return Err(BlobError::Other(format!(
            "{:?} is a link to another object, which is not followed",
            found.info.name
        )));
    }
    let (start, length) = range(start, end, found.size())?;
    if length == 0 {
        return Ok((0, Bytes::new().into()));
    }
    let mut pieces = Box::pin(pieces(container, &found, start, length));
    if length > INLINE {
        return Ok((length, ByteStream::new(pieces.map_err(|error| CallError::Transport(error.to_string())))));
    }
    let mut all = pieces.try_next().await?.unwrap_or_default();
    while let Some(piece) = pieces.try_next().await? {
        all = [all, piece].concat().into();
    }
    Ok((length, all.into()))
}

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, BlobError>> + Send>>;

/// Exactly `length` bytes, or an error.
fn pieces(
    container: Container,
    found: &Found,
    start: u64,
    length: u64,
) -> impl Stream<Item = Result<Bytes, BlobError>> + Send + use<> {
    let runs = found.info.metadata.get(RUNS).and_then(|text| Runs::parse(text)).unwrap_or_default();
    let size = found.info.options.as_ref().and_then(|options| options.max_chunk_size).unwrap_or(0) as u64;
    // Without knowing where they are, one begins at the first.
    let skipped = start.checked_div(size).filter(|chunk| *chunk < runs.known()).unwrap_or(0);
    let skip = start - skipped * size;
    let needed = (skip + length).checked_div(size).unwrap_or(0) + 1;
    let chunks = chunks(container, &found.info.nuid, runs, skipped, needed);
    let whole = start == 0 && length == found.size();
    let checksum = found.info.digest.clone().filter(|digest| whole && digest.starts_with("SHA-256="));
    let cut = Cut { chunks, skip, left: length, sum: checksum.map(|expected| (Sha256::new(), expected)) };
    stream::try_unfold(cut, |mut cut| async move { Ok(cut.next().await?.map(|piece| (piece, cut))) })
}

/// The chunks of a version from the `skipped`th on, without an end; `needed` of them will be asked for.
fn chunks(container: Container, version: &str, runs: Runs, skipped: u64, needed: u64) -> Chunks {
    let subject = names::chunks(&container.bucket, version);
    let next = runs.next();
    let known = runs.from(skipped).take(usize::try_from(needed).unwrap_or(usize::MAX)).map({
        let (container, subject) = (container.clone(), subject.clone());
        move |number| {
            let (container, subject) = (container.clone(), subject.clone());
            async move {
                let (found, chunk) = container.chunk(&subject, number).await?;
                if found == number { Ok(chunk) } else { Err(changed()) }
            }
        }
    });
    let known = stream::iter(known).buffered(AHEAD);
    let rest = stream::try_unfold((container, subject, next), |(container, subject, number)| async move {
        let (found, chunk) = container.chunk(&subject, number).await?;
        Ok(Some((chunk, (container, subject, found + 1))))
    });
    Box::pin(known.chain(rest))
}

fn changed() -> BlobError {
    BlobError::Other("the object was written over or deleted while it was read".to_owned())
}

impl Container {
    /// The first chunk with this number or a higher one, and its number.
    async fn chunk(&self, subject: &str, number: u64) -> Result<(u64, Bytes), BlobError> {
        if let Ok(chunk) = self.ask(self.stream.direct_get_next_for_subject(subject, Some(number))).await? {
            return Ok((chunk.sequence, chunk.payload));
        }
        // Whoever answered may be behind, or nobody answers such questions; who leads the stream knows.
        let asked = self.ask(self.stream.get_first_raw_message_by_subject(subject, number)).await?;
        let chunk = asked.map_err(|error| match error.kind() {
            async_nats::jetstream::stream::LastRawMessageErrorKind::NoMessageFound => changed(),
            _ => failed(&error),
        })?;
        Ok((chunk.sequence, chunk.payload))
    }
}

/// Cuts out of the chunks what was asked for.
struct Cut {
    chunks: Chunks,
    skip: u64,
    left: u64,
    /// What the bytes came to so far, and what they should.
    sum: Option<(Sha256, String)>,
}

impl Cut {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        while self.left > 0 {
            let Some(mut chunk) = self.chunks.try_next().await? else { return Err(changed()) };
            let skip = self.skip.min(chunk.len() as u64);
            self.skip -= skip;
            // Neither is more than the chunk has.
            chunk = chunk.split_off(skip as usize);
            chunk.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= chunk.len() as u64;
            if let Some((sum, _)) = &mut self.sum {
                sum.update(&chunk);
            }
            if self.left == 0 {
                self.check()?;
            }
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }

    fn check(&mut self) -> Result<(), BlobError> {
        let Some((sum, expected)) = self.sum.take() else { return Ok(()) };
        let found = names::checksum(&sum.finalize());
        if found == expected {
            return Ok(());
        }
        Err(BlobError::Other(format!("the object is damaged: its checksum is {found}, and not {expected}")))
    }
}
