//! Two ends with a network between them that drops, repeats and reorders, in virtual time.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;

use super::{Arrived, Frame, Heard, Meter, Receiver, Sender, StreamError};
use crate::wire::{
    CallError,
    limits::{KEEP_ALIVE, MAX_TRAILERS, MIN_WINDOW, SILENCE, WINDOW},
};

const STEP: Duration = Duration::from_millis(100);

/// What the network does to the next frame.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Deliver,
    Drop,
    Repeat,
    /// The one behind it goes first.
    Overtake,
    /// Both directions fail from here on.
    Cut,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        60 => Just(Fate::Deliver),
        1 => Just(Fate::Drop),
        1 => Just(Fate::Repeat),
        1 => Just(Fate::Overtake),
        1 => Just(Fate::Cut),
    ]
}

struct World {
    now: Duration,
    fates: VecDeque<Fate>,
    cut: bool,
    to_receiver: VecDeque<Frame>,
    to_sender: VecDeque<Frame>,
    pieces: VecDeque<Bytes>,
    sender: Option<Sender>,
    sent: Option<Result<(), StreamError>>,
    receiver: Receiver,
    meter: Meter,
    /// What has arrived and the reader has not used.
    waiting: VecDeque<Bytes>,
    read: Vec<u8>,
    received: Option<Result<Bytes, StreamError>>,
}

const TRAILERS: &[u8] = b"trailers";

impl World {
    fn new(pieces: &[Bytes], fates: Vec<Fate>) -> Self {
        let (receiver, take) = Receiver::take(MIN_WINDOW, Duration::ZERO);
        Self {
            now: Duration::ZERO,
            fates: fates.into(),
            cut: false,
            to_receiver: VecDeque::new(),
            to_sender: [take].into(),
            pieces: pieces.iter().cloned().collect(),
            sender: None,
            sent: None,
            receiver,
            meter: Meter::new(MIN_WINDOW),
            waiting: VecDeque::new(),
            read: Vec::new(),
            received: None,
        }
    }

    /// The frames that the network delivers of one that is sent.
    fn carry(&mut self, queue: fn(&mut Self) -> &mut VecDeque<Frame>) -> Vec<Frame> {
        if queue(self).is_empty() {
            return Vec::new();
        }
        let fate = if self.cut { Fate::Drop } else { self.fates.pop_front().unwrap_or(Fate::Deliver) };
        let frame = queue(self).pop_front().unwrap();
        match fate {
            Fate::Deliver => vec![frame],
            Fate::Drop => Vec::new(),
            Fate::Repeat => vec![frame.clone(), frame],
            Fate::Overtake => queue(self).pop_front().into_iter().chain([frame]).collect(),
            Fate::Cut => {
                self.cut = true;
                Vec::new()
            }
        }
    }

    fn sender_hears(&mut self, frame: Frame) {
        if self.sent.is_some() {
            return;
        }
        let Some(sender) = &mut self.sender else {
            if let Frame::Take { credit } = frame {
                self.sender = Some(Sender::taken(credit, self.now));
            }
            return;
        };
        match sender.on_frame(frame, self.now) {
            Ok(Heard::Nothing) => {}
            Ok(Heard::Done) => self.sent = Some(Ok(())),
            Err(error) => self.sender_fails(error),
        }
    }

    fn sender_fails(&mut self, error: StreamError) {
        let text = CallError::Transport(error.to_string());
        self.sent = Some(Err(error));
        self.to_receiver.extend(self.sender.take().map(|sender| sender.fail(text)));
    }

    fn receiver_hears(&mut self, frame: Frame) {
        if self.received.is_some() {
            return;
        }
        match self.receiver.on_frame(frame, self.now) {
            Ok(Arrived::Nothing) => {}
            Ok(Arrived::Data(bytes)) => self.waiting.push_back(bytes),
            Ok(Arrived::End { trailers }) => {
                self.to_sender.push_back(Frame::Done);
                self.received = Some(Ok(trailers));
            }
            Err(error) => self.receiver_fails(error),
        }
    }

    fn receiver_fails(&mut self, error: StreamError) {
        self.to_sender.push_back(Frame::Cancel { reason: error.to_string() });
        self.received = Some(Err(error));
    }

    /// Everything that either side does by itself.
    fn act(&mut self) {
        while let Some(sender) = self.sender.as_mut().filter(|sender| sender.room() > 0) {
            let Some(piece) = self.pieces.front_mut() else {
                let end = sender.end(Bytes::from_static(TRAILERS), self.now);
                self.to_receiver.push_back(end);
                break;
            };
            let part = piece.split_to(piece.len().min(sender.room()));
            let frame = sender.data(part, self.now);
            self.to_receiver.push_back(frame);
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        if let (Some(sender), None) = (&mut self.sender, &self.sent) {
            match sender.on_time(self.now) {
                Ok(frame) => self.to_receiver.extend(frame),
                Err(error) => self.sender_fails(error),
            }
        }
        if self.received.is_none() {
            match self.receiver.on_time(self.now) {
                Ok(frame) => self.to_sender.extend(frame),
                Err(error) => self.receiver_fails(error),
            }
        }
        while let Some(bytes) = self.waiting.pop_front() {
            self.read.extend_from_slice(&bytes);
            if let Some(credit) = self.meter.used(bytes.len()) {
                self.receiver.grant(credit);
                self.to_sender.push_back(Frame::Credit { credit });
            }
        }
    }

    /// Until both have ended. A sender that was never taken is what the lapse of its offer is for.
    fn run(&mut self) {
        let ended = |world: &Self| world.received.is_some() && (world.sent.is_some() || world.sender.is_none());
        while !ended(self) {
            assert!(self.now < Duration::from_secs(120), "neither an end nor an error");
            self.act();
            for frame in self.carry(|w| &mut w.to_receiver) {
                self.receiver_hears(frame);
            }
            for frame in self.carry(|w| &mut w.to_sender) {
                self.sender_hears(frame);
            }
            if self.to_receiver.is_empty() && self.to_sender.is_empty() {
                self.now += STEP;
            }
        }
    }
}

fn pieces() -> impl Strategy<Value = Vec<Bytes>> {
    let piece = prop_oneof![1usize..100, 1000usize..100_000].prop_flat_map(|length| {
        any::<u8>().prop_map(move |seed| (0..length).map(|at| seed.wrapping_add(at as u8)).collect::<Vec<u8>>())
    });
    proptest::collection::vec(piece.prop_map(Bytes::from), 0..12)
}

proptest! {
    #[test]
    fn over_a_bad_network_the_bytes_arrive_exactly_or_both_sides_end_with_an_error(
        pieces in pieces(), fates in proptest::collection::vec(fate(), 0..80),
    ) {
        let mut world = World::new(&pieces, fates);
        world.run();
        match world.received.clone().unwrap() {
            Ok(trailers) => {
                world.act();
                prop_assert_eq!(&world.read, &pieces.concat());
                prop_assert_eq!(&trailers[..], TRAILERS);
            }
            Err(_) => prop_assert!(!matches!(world.sent, Some(Ok(()))), "the sender believes that all was received"),
        }
    }

    #[test]
    fn over_a_good_network_everything_arrives(pieces in pieces()) {
        let mut world = World::new(&pieces, Vec::new());
        world.run();
        world.act();
        prop_assert_eq!(world.sent.unwrap(), Ok(()));
        prop_assert_eq!(world.received.unwrap().unwrap(), TRAILERS);
        prop_assert_eq!(world.read, pieces.concat());
    }

    #[test]
    fn any_text_and_bytes_never_panic(head in "\\PC{0,60}", payload: Vec<u8>) {
        let _ = Frame::parse(&head, payload.into());
    }

    #[test]
    fn any_numbers_never_panic(
        kind in prop_oneof![Just("take 1"), Just("credit"), Just("data"), Just("alive"), Just("end"), Just("fail")],
        number: u64, rest in "( [0-9a-f]{8})?", payload: Vec<u8>,
    ) {
        if let Ok(frame) = Frame::parse(&format!("{kind} {number}{rest}"), payload.into()) {
            let (mut receiver, _) = Receiver::take(MIN_WINDOW, Duration::ZERO);
            let _ = receiver.on_frame(frame.clone(), Duration::ZERO);
            let mut sender = Sender::taken(number, Duration::ZERO);
            let _ = sender.on_frame(frame, Duration::ZERO);
            prop_assert!(sender.room() as u64 <= WINDOW);
        }
    }
}

#[test]
fn every_frame_comes_back() {
    let bytes = Bytes::from_static(b"bytes");
    for frame in [
        Frame::Take { credit: 1 },
        Frame::Credit { credit: u64::MAX },
        Frame::Data { offset: 7, bytes: bytes.clone() },
        Frame::Alive { at: 0 },
        Frame::End { length: 5, crc: 0xa, trailers: bytes },
        Frame::Done,
        Frame::Fail { error: CallError::TooLarge { what: "a request body".into(), size: 2, limit: 1 } },
        Frame::Cancel { reason: "enough".into() },
    ] {
        assert_eq!(Frame::parse(&frame.head(), frame.clone().payload()), Ok(frame));
    }
    for bad in
        ["", "data", "data -1", "data 1 2", "take 1", "end 1", "end 1 xyz", "end 1 0000000g", "fail", "fail x", "more"]
    {
        assert!(Frame::parse(bad, Bytes::new()).is_err(), "{bad}");
    }
    assert_eq!(
        Frame::parse("take 2 5", Bytes::new()).unwrap_err().to_string(),
        "the stream is of protocol version 2; this process speaks version 1"
    );
    let long = Bytes::from(vec![0; MAX_TRAILERS + 1]);
    assert!(Frame::parse("end 0 00000000", long).is_err());
}

#[test]
fn what_is_wrong_ends_the_stream_at_once() {
    let data = |offset: u64, length: usize| Frame::Data { offset, bytes: vec![1; length].into() };
    let receive = |frames: Vec<Frame>| {
        let (mut receiver, _) = Receiver::take(MIN_WINDOW, Duration::ZERO);
        frames.into_iter().map(|frame| receiver.on_frame(frame, Duration::ZERO)).find_map(Result::err)
    };
    assert_eq!(receive(vec![data(1, 5)]), Some(StreamError::Gap { expected: 0, found: 1 }));
    assert_eq!(receive(vec![data(0, 5), data(0, 5)]), Some(StreamError::Gap { expected: 5, found: 0 }));
    assert_eq!(receive(vec![data(0, 5), Frame::Alive { at: 9 }]), Some(StreamError::Gap { expected: 5, found: 9 }));
    let end = |length, crc| Frame::End { length, crc, trailers: Bytes::new() };
    assert_eq!(receive(vec![data(0, 5), end(6, 0)]), Some(StreamError::Gap { expected: 5, found: 6 }));
    assert_eq!(receive(vec![data(0, 5), end(5, 0)]), Some(StreamError::Checksum));
    assert!(matches!(receive(vec![data(0, MIN_WINDOW as usize + 1)]), Some(StreamError::Overrun { .. })));
    let tiny = (0..=MIN_WINDOW / 1024).map(|at| data(at, 1)).collect();
    assert!(matches!(receive(tiny), Some(StreamError::Overrun { .. })), "tiny pieces cost too");
    let empty = Frame::Data { offset: 0, bytes: Bytes::new() };
    assert!(receive(vec![empty]).is_some());
    assert!(receive(vec![Frame::Done]).is_some());
}

#[test]
fn a_slow_peer_that_lives_is_not_cut_and_a_silent_one_is() {
    let (mut receiver, _) = Receiver::take(MIN_WINDOW, Duration::ZERO);
    let mut sender = Sender::taken(MIN_WINDOW, Duration::ZERO);
    let mut now = Duration::ZERO;
    while now < Duration::from_secs(3600) {
        now += KEEP_ALIVE;
        let alive = sender.on_time(now).unwrap().unwrap();
        receiver.on_frame(alive, now).unwrap();
        let alive = receiver.on_time(now).unwrap().unwrap();
        sender.on_frame(alive, now).unwrap();
    }
    assert_eq!(receiver.on_time(now + SILENCE), Err(StreamError::Silent));
    assert_eq!(sender.on_time(now + SILENCE), Err(StreamError::Silent));
}
