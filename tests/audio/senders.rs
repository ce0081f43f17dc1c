//! Senders that do what senders do: pause, restart, jump, rest, repeat themselves, use other packet lengths.

use crate::simulation::{Packet, listen};
use galene_sips::audio::{Codec, Encoder, Heard, Statistics, Talker};
use galene_sips::units::SampleRate::{self, Hz8000, Hz48000};
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::sound::{Dice, sine, speech_like};
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// A tone in PCMU packets of `ms` milliseconds, sent punctually from `from` ms on.
fn pcmu(from: f64, count: usize, ms: usize, sequence: u16, timestamp: u32) -> Vec<Packet> {
    pcmu_of(&sine(8_000, 500.0, 0.3, count * ms * 8), from, ms, sequence, timestamp)
}

/// Any sound in such packets.
fn pcmu_of(sound: &[i16], from: f64, ms: usize, sequence: u16, timestamp: u32) -> Vec<Packet> {
    let mut encoder = Encoder::new(Codec::Pcmu, Hz8000).unwrap();
    let mut octets: Vec<u8> = Vec::new();
    for frame in sound.chunks(160) {
        let mut whole = frame.to_vec();
        whole.resize(160, 0);
        octets.extend(&encoder.encode(&whole).unwrap()[..frame.len()]);
    }
    let packet = |(n, payload): (usize, &[u8])| Packet {
        at: from + (n * ms) as f64,
        sequence: sequence.wrapping_add(n as u16),
        timestamp: timestamp.wrapping_add((n * ms * 8) as u32),
        marker: n == 0,
        payload: payload.to_vec(),
    };
    octets.chunks(ms * 8).enumerate().map(packet).collect()
}

fn hear(packets: Vec<Packet>, end: f64) -> (Vec<Heard>, Vec<i16>, Statistics) {
    let mut talker = Talker::new(Codec::Pcmu, Hz8000).unwrap();
    let (heard, pcm) = listen(&mut talker, Hz8000, packets, 3.0, end);
    (heard, pcm, talker.statistics())
}

/// Milliseconds of a kind.
fn spent(heard: &[Heard], kind: Heard) -> usize {
    heard.iter().filter(|&&other| other == kind).count() * 20
}

#[test]
fn packets_of_10_to_60_ms_are_all_played_smoothly() {
    for ms in [10, 20, 30, 40, 60] {
        let (heard, pcm, statistics) = hear(pcmu(0.0, 6_000 / ms, ms, 0xfff0, 77), 5_900.0);
        let first = heard.iter().position(|&heard| heard == Heard::Sound).unwrap();
        assert!(heard[first..].iter().all(|&heard| heard == Heard::Sound), "{ms} ms");
        let share = tone_share(&pcm[first * 160 + 160..], 8_000, 500.0);
        assert!(share > 0.99, "{ms} ms: {share}");
        assert_eq!((statistics.lost, statistics.late, statistics.discarded), (0, 0, 0));
        assert!(statistics.delay < Duration::from_millis(80), "{ms} ms: {statistics:?}");
    }
}

#[test]
fn every_packet_twice_is_every_packet_once() {
    let mut packets = pcmu(0.0, 200, 20, 5, 0);
    let again: Vec<Packet> = packets.iter().cloned().map(|packet| Packet { at: packet.at + 7.0, ..packet }).collect();
    packets.extend(again);
    let (heard, _, statistics) = hear(packets, 3_900.0);
    assert_eq!(spent(&heard, Heard::Concealed), 0);
    assert_eq!((statistics.received, statistics.duplicates), (195, 194));
}

/// Three seconds of tone, 4 s of nothing, three seconds of tone: is all of both heard, and the second part soon?
fn pause_then(second: Vec<Packet>) -> Statistics {
    let mut packets = pcmu(0.0, 150, 20, 1_000, 50_000);
    packets.extend(second);
    let (heard, pcm, statistics) = hear(packets, 10_500.0);
    assert!(spent(&heard[..200], Heard::Sound) >= 2_980, "{statistics:?}");
    assert!(spent(&heard[..200], Heard::Concealed) <= 100, "{statistics:?}");
    let again = heard[200..].iter().position(|&heard| heard == Heard::Sound).unwrap();
    // it begins to arrive at 7000 ms
    assert!((3_000..=3_100).contains(&(again * 20)), "heard again at {} ms", again * 20 + 4_000);
    assert!(spent(&heard[200..], Heard::Sound) >= 2_980, "{statistics:?}");
    assert!(tone_share(&pcm[57_600..79_200], 8_000, 500.0) > 0.99);
    statistics
}

#[test]
fn a_pause_is_a_pause_whatever_the_timestamps_do_in_it() {
    let timestamp = 50_000 + 150 * 160;
    for skipped in [7_000 * 8 - 150 * 160, 0, 160, 5_000_000, 0x7000_0000] {
        for marker in [false, true] {
            let mut second = pcmu(7_000.0, 150, 20, 1_150, timestamp + skipped);
            second[0].marker = marker;
            let statistics = pause_then(second);
            assert_eq!((statistics.lost, statistics.late, statistics.discarded), (0, 0, 0), "skipped {skipped}");
        }
    }
}

#[test]
fn a_sender_that_comes_back_with_other_numbers_is_heard_at_once() {
    for (sequence, timestamp) in [(40_000, 12), (0, 50_000 + 7_000 * 8), (1_149, 0), (1_160, 0), (900, 0xffff_fff0)] {
        let statistics = pause_then(pcmu(7_000.0, 150, 20, sequence, timestamp));
        assert!(statistics.lost <= 10, "{statistics:?}");
    }
}

#[test]
fn numbers_that_jump_in_mid_sentence_cost_a_moment_only() {
    for (sequence, timestamp) in [(1_150, 3), (1_150, 90_000_000), (40_000, 3), (40_000, 50_000 + 150 * 160)] {
        let mut packets = pcmu(0.0, 150, 20, 1_000, 50_000);
        packets.extend(pcmu(3_000.0, 150, 20, sequence, timestamp));
        let (heard, _, statistics) = hear(packets, 5_990.0);
        assert!(spent(&heard, Heard::Sound) >= 5_990 - 60 - 160, "{sequence} {timestamp}: {statistics:?}");
        assert!(spent(&heard[..151], Heard::Sound) > 2_900);
    }
}

#[test]
fn a_new_source_announced_by_restart_loses_no_packet() {
    let mut talker = Talker::new(Codec::Pcmu, Hz8000).unwrap();
    listen(&mut talker, Hz8000, pcmu(0.0, 50, 20, 1, 1), 0.0, 1_000.0);
    talker.restart();
    // without it, the first packet of the new sequence would be a stray
    listen(&mut talker, Hz8000, pcmu(1_000.0, 50, 20, 30_000, 9), 1_000.0, 2_000.0);
    assert_eq!(talker.statistics().received, 100);
}

#[test]
fn a_jump_of_the_timestamps_within_the_sequence_is_silence_of_that_length_at_most() {
    // half a second that the sender left out while it spoke on
    let mut packets = pcmu(0.0, 100, 20, 1_000, 0);
    packets.extend(pcmu(2_500.0, 100, 20, 1_100, 2_500 * 8));
    let (heard, _, statistics) = hear(packets, 4_480.0);
    assert!(spent(&heard, Heard::Concealed) <= 100);
    assert!(spent(&heard, Heard::Sound) >= 3_900, "{statistics:?}");
    assert!(statistics.delay <= Duration::from_millis(60));
}

#[test]
fn opus_that_rests_is_silent_and_not_lost() {
    let mut inner = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
    inner.set_dtx(true).unwrap();
    let tone = sine(48_000, 400.0, 0.3, 48_000);
    let mut packets = Vec::new();
    for n in 0..500_u32 {
        // a second of tone, three of silence, and so on
        let frame: Vec<i16> = if n % 200 < 50 { tone[n as usize % 50 * 960..][..960].to_vec() } else { vec![0; 960] };
        let payload = inner.encode_vec(&frame, 1_275).unwrap();
        // RFC 7587 §3.1.3: what is not sent has no sequence number, but its time passes
        if payload.len() > 2 || inner.get_in_dtx().is_ok_and(|resting| !resting) {
            let sequence = packets.len() as u16;
            packets.push(Packet { at: f64::from(n) * 20.0, sequence, timestamp: n * 960, marker: false, payload });
        }
    }
    assert!(packets.len() < 300, "the encoder did rest: {}", packets.len());
    let mut talker = Talker::new(Codec::Opus, Hz48000).unwrap();
    let (heard, pcm) = listen(&mut talker, Hz48000, packets, 3.0, 10_000.0);
    let statistics = talker.statistics();
    // the encoder says every 400 ms how the silence sounds, and goes on being guessed at for 100 ms after it
    assert!(spent(&heard, Heard::Concealed) <= 100 * (6_000 / 400 + 3), "{statistics:?}");
    assert_eq!((statistics.lost, statistics.late), (0, 0));
    // the second and third second of tone, whole
    for from in [4_200, 8_200] {
        let share = tone_share(&pcm[from * 48..(from + 700) * 48], 48_000, 400.0);
        assert!(share > 0.9, "{share} from {from} ms");
    }
}

#[test]
fn a_tick_that_is_late_by_30_ms_now_and_then_harms_nothing() {
    let mut talker = Talker::new(Codec::Pcmu, Hz8000).unwrap();
    let packets = pcmu(0.0, 3_000, 20, 9, 9);
    let origin = Instant::now();
    let at = |ms: f64| origin + Duration::from_nanos((ms * 1e6) as u64);
    let mut dice = Dice(3);
    let mut pcm = Vec::new();
    let mut frame = [0; 160];
    let mut packets = packets.iter().peekable();
    for tick in 0..2_990 {
        let late = if dice.between(0.0, 1.0) < 0.05 { dice.between(0.0, 30.0) } else { dice.between(0.0, 2.0) };
        let now = f64::from(tick) * 20.0 + 5.0 + late;
        // packets are read when the tick runs
        while let Some(packet) = packets.next_if(|packet| packet.at <= now) {
            talker.packet(at(packet.at), packet.sequence, packet.timestamp, packet.marker, &packet.payload);
        }
        let heard = talker.frame(at(now), &mut frame);
        assert!(tick < 20 || heard == Heard::Sound, "{tick}: {heard:?} {:?}", talker.statistics());
        pcm.extend_from_slice(&frame);
    }
    assert!(tone_share(&pcm[8_000..], 8_000, 500.0) > 0.99);
    assert!(talker.statistics().delay < Duration::from_millis(80));
}

#[test]
fn malformed_opus_is_concealed() {
    let mut encoder = Encoder::new(Codec::Opus, Hz48000).unwrap();
    let tone = sine(48_000, 400.0, 0.3, 48_000 * 4);
    let mut packets = Vec::new();
    for (n, frame) in tone.chunks(960).enumerate() {
        let mut payload = encoder.encode(frame).unwrap().to_vec();
        match n {
            // no payload; an impossible count of frames; a length that lies
            50 => payload.clear(),
            70 => payload = vec![0xff, 0x3f],
            90 => payload = vec![0x09, 1, 2, 3, 4, 5, 6, 7],
            _ => {}
        }
        let (sequence, timestamp) = (n as u16, n as u32 * 960);
        packets.push(Packet { at: n as f64 * 20.0, sequence, timestamp, marker: false, payload });
    }
    let mut talker = Talker::new(Codec::Opus, Hz48000).unwrap();
    let (heard, _) = listen(&mut talker, Hz48000, packets, 3.0, 3_900.0);
    assert_eq!(talker.statistics().malformed, 3);
    assert_eq!(spent(&heard, Heard::Concealed), 60);
    assert!(heard[100..].iter().all(|&heard| heard == Heard::Sound));
}

#[test]
fn what_was_lost_is_not_played_when_it_comes_after_the_talker_has_stopped() {
    let mut packets = pcmu(0.0, 100, 20, 1_000, 0);
    packets[90].at = 2_700.0;
    let (heard, _, statistics) = hear(packets, 4_000.0);
    assert_eq!(statistics.late, 1);
    assert!(heard[120..].iter().all(|&heard| heard == Heard::Silence));
}

#[test]
fn a_long_packet_that_comes_during_its_concealment_is_played_from_there_on() {
    let mut packets = pcmu_of(&speech_like(8_000, 96_000, 2), 0.0, 60, 1_000, 0);
    // some jitter, so that a packet waits longer than the next one takes to come
    packets.iter_mut().step_by(10).for_each(|packet| packet.at += 25.0);
    let punctual = hear(packets.clone(), 12_000.0).1;
    // the next one overtakes it
    packets[155].at += 80.0;
    let (heard, pcm, statistics) = hear(packets, 12_000.0);
    assert_eq!((statistics.late, statistics.lost), (0, 0), "{statistics:?}");
    assert!([20, 40].contains(&spent(&heard[..590], Heard::Concealed)), "{statistics:?}");
    // not a sample more or less than without the mishap
    assert_eq!(pcm[80_000..94_000], punctual[80_000..94_000]);
}

#[test]
fn a_gap_of_400_ms_is_guessed_at_for_100_ms_and_then_silent() {
    let mut packets = pcmu(0.0, 100, 20, 1_000, 0);
    packets.retain(|packet| !(1_050..1_070).contains(&packet.sequence));
    for packet in &mut packets[50..] {
        // the network speeds up in this moment, so what follows the gap is here before it
        packet.at -= 400.0;
    }
    let (heard, _, statistics) = hear(packets, 1_500.0);
    assert!(spent(&heard, Heard::Concealed) <= 100, "{statistics:?}");
    assert!(spent(&heard[45..], Heard::Silence) >= 200, "{statistics:?}");
}

fn any_codec() -> impl Strategy<Value = (Codec, SampleRate)> {
    prop_oneof![
        Just((Codec::Opus, Hz48000)),
        Just((Codec::Opus, Hz8000)),
        Just((Codec::Pcmu, Hz8000)),
        Just((Codec::Pcma, Hz48000)),
    ]
}

/// Packets like those of a sender, or with arbitrary numbers, at arbitrary times, with arbitrary payloads.
fn any_packet() -> impl Strategy<Value = (bool, u16, u32, bool, Vec<u8>, u64)> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..1_500),
        proptest::collection::vec(any::<u8>(), 0..8),
        Just(vec![0xff; 160])
    ];
    (proptest::bool::weighted(0.3), any::<u16>(), any::<u32>(), any::<bool>(), payload, 0..600_u64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_arrives_makes_a_talker_panic_or_give_up(
        (codec, rate) in any_codec(),
        packets in proptest::collection::vec(any_packet(), 1..200),
    ) {
        let mut talker = Talker::new(codec, rate).unwrap();
        let origin = Instant::now();
        let mut frame = vec![0; rate.frame()];
        let mut now = origin;
        let (mut sequence, mut timestamp) = (0_u16, 0_u32);
        let mut numbers = Vec::new();
        for (wild, any_sequence, any_timestamp, marker, payload, pause) in packets {
            sequence = if wild { any_sequence } else { sequence.wrapping_add(1) };
            timestamp = if wild { any_timestamp } else { timestamp.wrapping_add(codec.frame_ticks()) };
            numbers.push(sequence);
            talker.packet(now, sequence, timestamp, marker, &payload);
            for _ in 0..pause / 100 {
                now += Duration::from_millis(20);
                talker.frame(now, &mut frame);
            }
        }
        // whatever was, a sender that then speaks is heard within half a second; its numbers are none of those just before others
        // that came, which would be packets that come late (RFC 3550 A.1)
        let far = |start: &u16| numbers.iter().all(|number| number.wrapping_sub(*start) > 500);
        let start = (0..=u16::MAX).map(|n| n.wrapping_mul(251)).find(far).unwrap();
        let mut encoder = Encoder::new(codec, rate).unwrap();
        let tone = sine(rate.hz(), 500.0, 0.3, rate.frame());
        let mut heard = Vec::new();
        for n in 0..100_u16 {
            let payload = encoder.encode(&tone).unwrap().to_vec();
            let timestamp = 7_u32.wrapping_add(u32::from(n) * codec.frame_ticks());
            talker.packet(now, start.wrapping_add(n), timestamp, n == 0, &payload);
            now += Duration::from_millis(20);
            heard.push(talker.frame(now, &mut frame));
        }
        prop_assert!(heard[25..].iter().all(|&heard| heard == Heard::Sound), "{heard:?}");
    }
}
