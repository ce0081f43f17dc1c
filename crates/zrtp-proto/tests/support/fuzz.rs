//! What an input of the fuzz target means: two engines with a stub as key agreement, and somebody between them who loses,
//! repeats and changes messages, makes up others, and lets time pass.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

use crate::support::{Memory, Party, Seeded, Stub};
use std::time::{Duration, Instant};
use zrtp_proto::*;

/// Reads an input; at its end everything is 0.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(self.octet()) << 8 | usize::from(self.octet())
    }

    fn octets(&mut self, length: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

struct Line {
    parties: [Party; 2],
    now: Instant,
    /// What each party has sent and not yet been delivered, and what it sent before.
    waiting: [Vec<Vec<u8>>; 2],
    past: [Vec<Vec<u8>>; 2],
}

impl Line {
    fn collect(&mut self) {
        for who in 0..2 {
            self.waiting[who].extend(self.parties[who].drain());
        }
    }

    fn deliver(&mut self, to: usize, datagram: &[u8]) {
        let _ = self.parties[to].engine.handle_packet(self.now, datagram);
        self.collect();
    }
}

/// Drives both engines by the input. Whatever comes, keys never differ and nothing panics. Says whether both became secure.
pub fn run(input: &[u8]) -> bool {
    let mut input = Input(input);
    let choice = input.octet();
    let agreements = Offer::default().agreements;
    let agreement = agreements[usize::from(choice) % agreements.len()];
    let parties = [1u8, 2].map(|who| {
        let mut config = Config::new(Zid([who; 12]), u32::from(who));
        config.offer.agreements = vec![agreement];
        config.timers.commit_delay = Duration::from_millis(if choice & 0x80 == 0 { 150 } else { 0 });
        let memory = Memory::default();
        Party::new(Engine::with_agreements(config, Seeded(u64::from(who)), memory.clone(), Stub), memory)
    });
    let mut line = Line { parties, now: Instant::now(), waiting: Default::default(), past: Default::default() };
    if choice & 0x40 != 0 {
        let hash = line.parties[1].engine.hello_hash();
        line.parties[0].engine.announced(line.now, hash);
    }
    for who in 0..2 {
        line.parties[who].engine.start(line.now);
    }
    line.collect();
    while !input.0.is_empty() {
        step(&mut line, &mut input);
    }
    check(&line);
    line.parties.iter().all(|party| party.secure.is_some())
}

fn step(line: &mut Line, input: &mut Input<'_>) {
    let action = input.octet();
    let from = usize::from(action >> 7);
    match action & 0x0f {
        // the next message arrives, as it is or changed, or is lost
        0..=4 => {
            if line.waiting[from].is_empty() {
                return;
            }
            let mut datagram = line.waiting[from].remove(0);
            line.past[from].push(datagram.clone());
            match action & 0x0f {
                0..=2 => {}
                3 => alter(&mut datagram, input),
                _ => return,
            }
            line.deliver(1 - from, &datagram);
        }
        // an old one arrives again, perhaps changed, perhaps at its sender
        5..=7 => {
            let at = usize::from(input.octet());
            let Some(mut datagram) = line.past[from].get(at % line.past[from].len().max(1)).cloned() else { return };
            if action & 0x0f != 5 {
                alter(&mut datagram, input);
            }
            let to = if action & 0x0f == 7 { from } else { 1 - from };
            line.deliver(to, &datagram);
        }
        // something made up, with a right frame around it
        8..=9 => {
            let length = input.number() % 1200;
            let mut datagram = [&[0x10, 0, 0, 0][..], b"ZRTP", &[0, 0, 0, 1 + from as u8]].concat();
            datagram.extend(input.octets(length));
            seal(&mut datagram, action & 1 == 1);
            line.deliver(1 - from, &datagram);
        }
        // a made-up fragment
        10 => {
            let mut datagram = [&[0x11, 0, 0, 0][..], b"ZRTP", &[0, 0, 0, 1 + from as u8]].concat();
            let length = 8 + usize::from(input.octet());
            datagram.extend(input.octets(length));
            seal(&mut datagram, false);
            line.deliver(1 - from, &datagram);
        }
        // no frame at all
        11 => {
            let length = input.number() % 1200;
            let datagram = input.octets(length);
            line.deliver(1 - from, &datagram);
        }
        // time passes
        12 => {
            line.now += Duration::from_millis(u64::from(input.octet()) * 8);
            for who in 0..2 {
                line.parties[who].engine.handle_timeout(line.now);
            }
            line.collect();
        }
        13 => {
            line.parties[from].engine.srtp_authenticated(line.now);
            line.collect();
        }
        14 => {
            line.parties[from].engine.sas_compared(input.octet() & 1 == 1);
            line.collect();
        }
        _ => {
            line.parties[from].engine.start(line.now);
            line.collect();
        }
    }
}

/// Changes up to four octets of a message, or its length, and makes checksum and length field right again.
fn alter(datagram: &mut Vec<u8>, input: &mut Input<'_>) {
    datagram.truncate(datagram.len() - 4);
    let how = input.octet();
    if how & 0x10 != 0 {
        let length = 24 + input.number() % 1200;
        datagram.resize(length & !3, 0);
    }
    for _ in 0..how & 3 {
        let at = 12 + input.number() % (datagram.len() - 12);
        datagram[at] ^= input.octet();
    }
    seal(datagram, how & 0x10 != 0);
}

/// Adds the checksum; sets preamble and length field if wanted.
fn seal(datagram: &mut Vec<u8>, set_length: bool) {
    if set_length {
        datagram.resize(datagram.len().next_multiple_of(4).max(24), 0);
        let words = ((datagram.len() - 12) / 4) as u16;
        datagram[12..14].copy_from_slice(&[0x50, 0x5a]);
        datagram[14..16].copy_from_slice(&words.to_be_bytes());
    }
    let crc = crc32c(datagram).to_le_bytes();
    datagram.extend(crc);
}

fn crc32c(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0u32, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

fn check(line: &Line) {
    let [first, second] = &line.parties;
    for (sender, receiver) in [(first, second), (second, first)] {
        if let (Some(send), Some(receive)) = (&sender.send, &receiver.receive) {
            assert!(send.key.equals(receive.key.expose()) && send.salt.equals(receive.salt.expose()), "different keys");
            assert_eq!(send.profile, receive.profile);
        }
    }
    for party in &line.parties {
        assert!(party.secure.is_none() || party.send.is_some() && party.receive.is_some());
        assert!(party.secure.is_none() || party.failed.is_none());
        assert!(party.remembered == 0 || party.secure.is_some());
    }
    if let (Some(one), Some(other)) = (&first.secure, &second.secure) {
        assert_eq!(one.sas, other.sas, "different SAS");
        assert_eq!(one.suite, other.suite);
    }
}
