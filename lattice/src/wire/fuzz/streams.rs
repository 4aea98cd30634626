//! Frames, and both ends of a stream, in virtual time and with a network that does what the input says.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

use super::{Input, Target};
use crate::wire::{
    CallError, MIN_CHARGE, MIN_WINDOW,
    stream::{Arrived, Frame, Heard, Meter, Receiver, Sender},
};

pub(super) const FRAME: Target = Target {
    name: "stream_frame",
    run: frame,
    samples: &[
        b"\x0etake 1 4194304",
        b"\x08data 100bytes",
        b"\x0fend 4 0123abcd\x0b\x03\x01\x02",
        b"\x0cfail trap   why",
        b"\x0efail too-large10 5 a body",
        b"\x06cancelwhy",
        b"\x04done",
        b"\x07alive 5",
    ],
};
pub(super) const RECEIVER: Target = Target { name: "stream_receiver", run: receiver, samples: &[] };
pub(super) const SENDER: Target = Target { name: "stream_sender", run: sender, samples: &[] };
pub(super) const PAIR: Target = Target { name: "stream_pair", run: pair, samples: &[] };

/// A message is a frame or an error, and a frame is the same once it was sent.
fn frame(data: &[u8]) {
    let mut input = Input(data);
    let length = usize::from(input.byte());
    let head = input.text(length);
    let Ok(frame) = Frame::parse(&head, Bytes::copy_from_slice(input.0)) else { return };
    let again = Frame::parse(&frame.head(), frame.clone().payload());
    assert_eq!(again, Ok(frame));
}

/// Some frame with numbers near those that are expected.
fn any_frame(input: &mut Input<'_>, near: u64) -> Frame {
    let number = |input: &mut Input<'_>| match input.byte() {
        0..200 => near,
        200..230 => near.wrapping_add(u64::from(input.byte())),
        _ => input.number(),
    };
    match input.byte() % 10 {
        0 => Frame::Take { credit: number(input) },
        1 => Frame::Credit { credit: number(input) },
        2 => Frame::Alive { at: number(input) },
        3 => Frame::End { length: number(input), crc: input.number() as u32, trailers: Bytes::new() },
        4 => Frame::Done,
        5 => Frame::Fail { error: CallError::Trap(String::new()) },
        6 => Frame::Cancel { reason: String::new() },
        _ => Frame::Data { offset: number(input), bytes: vec![input.byte(); usize::from(input.byte()) * 64].into() },
    }
}

fn step(input: &mut Input<'_>) -> Duration {
    Duration::from_millis(u64::from(input.byte()) * 10)
}

/// A receiver hands on no byte for which the sender had no credit, whatever frames come.
fn receiver(data: &[u8]) {
    let mut input = Input(data);
    let (mut now, mut credit, mut arrived) = (Duration::ZERO, MIN_WINDOW, 0);
    let (mut receiver, _) = Receiver::take(credit, now);
    let mut meter = Meter::new(credit);
    while !input.is_empty() {
        match receiver.on_frame(any_frame(&mut input, arrived), now) {
            Ok(Arrived::Nothing) => {}
            Ok(Arrived::Data(bytes)) => {
                assert!(!bytes.is_empty(), "data without bytes");
                arrived += bytes.len() as u64;
                assert!(arrived <= credit, "{arrived} bytes of {credit} that were allowed");
                // The reader is sometimes slow.
                if input.byte() < 128
                    && let Some(granted) = meter.used(bytes.len())
                {
                    assert!(granted > credit, "credit was taken back");
                    credit = granted;
                    receiver.grant(credit);
                }
            }
            Ok(Arrived::End { .. }) | Err(_) => return,
        }
        now += step(&mut input);
        if receiver.on_time(now).is_err() {
            return;
        }
    }
}

/// A sender keeps to the credit, whatever frames come.
fn sender(data: &[u8]) {
    let mut input = Input(data);
    let (mut now, mut credit, mut sent, mut ended) = (Duration::ZERO, MIN_WINDOW, 0, false);
    let mut sender = Sender::taken(credit, now);
    while !input.is_empty() {
        let frame = any_frame(&mut input, credit);
        if let Frame::Take { credit: more } | Frame::Credit { credit: more } | Frame::Alive { at: more } = frame {
            credit = credit.max(more);
        }
        match sender.on_frame(frame, now) {
            Ok(Heard::Nothing) => {}
            Ok(Heard::Done) => {
                assert!(ended, "done before the end");
                return;
            }
            Err(_) => return,
        }
        let piece = (usize::from(input.byte()) * 16).min(sender.room());
        if piece > 0 {
            let frame = sender.data(vec![0; piece].into(), now);
            assert!(matches!(frame, Frame::Data { offset, .. } if offset == sent), "{frame:?} at {sent}");
            sent += piece as u64;
            assert!(sent <= credit, "{sent} bytes of {credit} that are allowed");
        }
        if !ended && input.byte() == 255 {
            ended = true;
            sender.end(Bytes::new(), now);
            assert_eq!(sender.room(), 0, "room after the end");
        }
        now += step(&mut input);
        if sender.on_time(now).is_err() {
            return;
        }
    }
}

/// Both ends and what is between them.
struct Pair {
    now: Duration,
    sender: Sender,
    receiver: Receiver,
    meter: Meter,
    to_receiver: VecDeque<Frame>,
    to_sender: VecDeque<Frame>,
    sent: Vec<u8>,
    read: Vec<u8>,
    /// Lengths of pieces that the reader has not used.
    waiting: VecDeque<usize>,
    ended: bool,
    received: bool,
}

const TRAILERS: &[u8] = b"trailers";

/// Whatever a network does to frames, no end believes in a stream that did not come as it was sent.
fn pair(data: &[u8]) {
    let (receiver, _) = Receiver::take(MIN_WINDOW, Duration::ZERO);
    let mut pair = Pair {
        now: Duration::ZERO,
        sender: Sender::taken(MIN_WINDOW, Duration::ZERO),
        receiver,
        meter: Meter::new(MIN_WINDOW),
        to_receiver: VecDeque::new(),
        to_sender: VecDeque::new(),
        sent: Vec::new(),
        read: Vec::new(),
        waiting: VecDeque::new(),
        ended: false,
        received: false,
    };
    let mut input = Input(data);
    while !input.is_empty() && pair.act(&mut input).is_some() {}
}

impl Pair {
    /// The next thing that happens; `None` when an end is done.
    fn act(&mut self, input: &mut Input<'_>) -> Option<()> {
        match input.byte() % 32 {
            0..8 => {
                let frame = self.to_receiver.pop_front();
                frame.map_or(Some(()), |frame| self.receiver_hears(frame))
            }
            8..14 => {
                let frame = self.to_sender.pop_front();
                frame.map_or(Some(()), |frame| self.sender_hears(frame))
            }
            14..22 => {
                let most = (usize::from(input.byte()) + 1) * MIN_CHARGE as usize / 16;
                let piece: Vec<u8> = (0..most.min(self.sender.room())).map(|_| self.next_byte()).collect();
                if !piece.is_empty() {
                    let frame = self.sender.data(piece.into(), self.now);
                    self.to_receiver.push_back(frame);
                }
                Some(())
            }
            22..26 => {
                let credit = self.waiting.pop_front().and_then(|length| self.meter.used(length));
                if let Some(credit) = credit {
                    self.receiver.grant(credit);
                    self.to_sender.push_back(Frame::Credit { credit });
                }
                Some(())
            }
            26 | 27 => {
                self.now += step(input);
                self.to_receiver.extend(self.sender.on_time(self.now).ok()?);
                self.to_sender.extend(if self.received { None } else { self.receiver.on_time(self.now).ok()? });
                Some(())
            }
            28 => {
                if !self.ended {
                    self.ended = true;
                    let end = self.sender.end(Bytes::from_static(TRAILERS), self.now);
                    self.to_receiver.push_back(end);
                }
                Some(())
            }
            fate => {
                disturb(if input.byte() < 128 { &mut self.to_receiver } else { &mut self.to_sender }, fate);
                Some(())
            }
        }
    }

    fn next_byte(&mut self) -> u8 {
        let at = self.sent.len();
        // No two pieces of a length are alike.
        let byte = (at ^ at >> 8 ^ at >> 16) as u8;
        self.sent.push(byte);
        byte
    }

    fn receiver_hears(&mut self, frame: Frame) -> Option<()> {
        if self.received {
            self.to_sender.extend(matches!(frame, Frame::End { .. }).then_some(Frame::Done));
            return Some(());
        }
        match self.receiver.on_frame(frame, self.now).ok()? {
            Arrived::Nothing => {}
            Arrived::Data(bytes) => {
                self.read.extend_from_slice(&bytes);
                self.waiting.push_back(bytes.len());
                assert!(self.sent.starts_with(&self.read), "other bytes than were sent");
            }
            Arrived::End { trailers } => {
                assert!(self.ended && self.read == self.sent, "an end before the end");
                assert_eq!(trailers, TRAILERS);
                self.received = true;
                self.to_sender.push_back(Frame::Done);
            }
        }
        Some(())
    }

    fn sender_hears(&mut self, frame: Frame) -> Option<()> {
        match self.sender.on_frame(frame, self.now).ok()? {
            Heard::Nothing => Some(()),
            Heard::Done => {
                assert!(self.received, "done, and nobody has it");
                None
            }
        }
    }
}

/// Loses, repeats or turns around what is under way.
fn disturb(frames: &mut VecDeque<Frame>, fate: u8) {
    match fate {
        29 => drop(frames.pop_front()),
        30 => {
            let first = frames.front().cloned();
            frames.extend(first);
        }
        _ if frames.len() > 1 => frames.swap(0, 1),
        _ => {}
    }
}
