//! What the gateway's predecessor, galene-sip, is known to get wrong, and the tests that show that we do not. Whatever is
//! not in this file is named by its own.
//!
//! | galene-sip (ed7bed1) | here |
//! |---|---|
//! | somebody who talks already is not heard by a call whose setup took a second | [`who_talks_already_is_heard_however_long_the_setup_takes`]; over sockets `tests/galene.rs`: `who_talks_already_is_heard_by_every_call`; who begins at that moment: `crates/lab/tests/group_client.rs`: `who_begins_to_talk_while_we_join_is_heard` |
//! | a talker whose clock is 1000 ppm off falls silent for good after 40 s | [`clocks_1000_ppm_off_are_heard_for_five_minutes_in_both_directions`] |
//! | a group of 8 or more members never answers | [`a_group_of_fifty_members_of_whom_ten_talk_is_joined_and_heard`]; over sockets `tests/galene.rs`: `a_group_of_fifty_members_answers` |
//! | the process dies when Galène is frozen for 8 s and goes on | [`a_galene_that_was_frozen_for_nine_seconds_is_heard_again_and_nothing_ends`]; `tests/galene.rs`: `galene_frozen_for_nine_seconds_costs_nine_seconds_of_sound` |
//! | the process dies when the connection ends while a stream begins | [`a_connection_that_ends_while_a_stream_begins_ends_nothing_else`] |
//! | a refused join (password, permission, codec) leaves the caller without an answer | `membership.rs`, `told.rs`, `refusal.rs`; `tests/galene.rs`: `whoever_is_not_let_in_gets_the_right_answer` |
//! | a failed look-up tells an unknown caller the resolver's address | `membership.rs`: `what_a_caller_is_told_names_no_host`; `tests/galene.rs`: `whoever_is_not_let_in_gets_the_right_answer` |
//! | packets of strangers are played to the group | `attacks.rs`; over sockets `tests/hostile_media.rs` |
//! | of 100 INVITEs at once 91 are lost | `tests/galene.rs`: `a_hundred_calls_at_once_are_all_answered` |
//! | Galène black-holed: the call stays in silence for ever | [`a_galene_that_is_silent_for_ever_ends_the_calls_in_the_end`], `galene_away.rs`; `tests/galene.rs`: `galene_silent_for_75_seconds_is_left_and_found_again` |
//! | the first packets of a phone are lost when it counts from 0xff00 or above | [`no_packet_of_a_phone_is_lost_wherever_it_begins_to_count`] |
//! | timestamps of G.711 run six times too fast | [`timestamps_advance_as_the_codec_says`] |

use super::*;

#[test]
fn who_talks_already_is_heard_however_long_the_setup_takes() {
    for (codec, slow) in [(Codec::Opus, false), (Codec::Opus, true), (Codec::Pcmu, false), (Codec::Pcma, true)] {
        let mut world = World::new();
        let bob = world.talker("bob", 440.0);
        world.web[bob].has_said(70_000); // a while ago, beyond 16 bits
        world.run(10 * SECOND);
        world.path = !slow;
        world.join(1, codec);
        world.run(SECOND);
        world.path = true;
        world.run(4 * SECOND);
        assert_eq!(world.events_of(1), [RoomEvent::Ready { call: CallNumber(1) }]);
        assert!(world.phone(1).ears.share(440.0) > 0.95, "{codec:?}, slow: {slow}");
    }
}

/// Both the phones and the people in the group are `ppm` off, to opposite sides.
fn clocks_are_off(ppm: i32) {
    let mut world = World::with_phones(&[Codec::Pcmu, Codec::Opus]);
    world.talker("bob", 440.0);
    let period = |ppm: i32| Duration::from_nanos((20_000_000 + 20 * ppm) as u64);
    world.beats[PHONES].period = period(ppm);
    world.beats[WEB].period = period(-ppm);
    world.phone(1).says(700.0);
    for minute in 0..5 {
        for second in (0..60).step_by(10) {
            world.run(10 * SECOND);
            let at = format!("{ppm:+} ppm, {minute}:{second:02}");
            for number in [1, 2] {
                let ears = &world.phone(number).ears;
                let share = ears.share(440.0);
                // the second phone hears the first one as well
                assert!(share > [0.9, 0.3][number as usize - 1], "{at}: phone {number} hears {share:.2} of the talker");
            }
            let share = world.stream(1).ears.share(700.0);
            assert!(share > 0.9, "{at}: the group hears {share:.2} of the phone");
        }
    }
}

#[test]
fn clocks_1000_ppm_off_are_heard_for_five_minutes_in_both_directions() {
    clocks_are_off(1000);
}

#[test]
fn clocks_1000_ppm_off_the_other_way_are_heard_for_five_minutes_in_both_directions() {
    clocks_are_off(-1000);
}

#[test]
fn a_group_of_fifty_members_of_whom_ten_talk_is_joined_and_heard() {
    let mut world = World::new();
    world.galene.others = 50;
    for n in 0..10 {
        world.talker(&format!("talker {n}"), 300.0 + 100.0 * f64::from(n));
    }
    world.run(2 * SECOND);
    for (number, codec) in [(1, Codec::Opus), (2, Codec::Pcmu)] {
        world.join(number, codec);
    }
    world.run(5 * SECOND);
    assert_eq!(world.room.report().streams, 10);
    for number in [1, 2] {
        assert_eq!(world.events_of(number), [RoomEvent::Ready { call: CallNumber(number) }]);
        for n in 0..10 {
            let share = world.phone(number).ears.share(300.0 + 100.0 * f64::from(n));
            assert!(share > 0.04, "phone {number} hears {share:.3} of talker {n}");
        }
    }
}

#[test]
fn a_galene_that_was_frozen_for_nine_seconds_is_heard_again_and_nothing_ends() {
    for codec in [Codec::Opus, Codec::Pcmu] {
        let mut world = World::with_phones(&[codec]);
        world.talker("bob", 440.0);
        world.phone(1).says(700.0);
        world.run(3 * SECOND);
        world.freeze();
        world.run(2 * SECOND);
        assert!(world.phone(1).ears.level() < -60.0, "nothing old is played on");
        world.run(7 * SECOND);
        world.thaw(); // with all that was sent meanwhile
        world.run(4 * SECOND);
        assert!(world.phone(1).ears.share(440.0) > 0.95 && world.phone(1).ears.level() > -20.0, "{codec:?}");
        assert!(world.stream(1).ears.share(700.0) > 0.9, "{codec:?}");
        assert_eq!(world.events_of(1).len(), 1);
        assert!(world.closed.is_empty(), "the connection outlasts it");
    }
}

#[test]
fn a_connection_that_ends_while_a_stream_begins_ends_nothing_else() {
    for stage in 0..10 {
        let mut world = World::with_phones(&[Codec::Opus]);
        world.talker("bob", 440.0);
        world.run(10 * MS * stage);
        world.breaks(ConnectionId::Listener);
        world.run(5 * SECOND);
        assert_eq!(world.events_of(1).len(), 1, "stage {stage}");
        assert!(world.phone(1).ears.share(440.0) > 0.95, "stage {stage}");
    }
}

#[test]
fn a_galene_that_is_silent_for_ever_ends_the_calls_in_the_end() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Pcmu]);
    world.run(20 * SECOND);
    world.galene.answers = false;
    world.galene.reachable = Err(("does not answer", false));
    world.path = false;
    let silent = world.now;
    world.run(210 * SECOND);
    for number in [1, 2] {
        let gone = EndReason::GroupGone("it did not come back in time".to_owned());
        assert_eq!(world.ended(number), Some(gone));
    }
    // 65 s without a sign of life, then two minutes of trying
    let after = world.events.last().unwrap().0.duration_since(silent);
    assert!(after > 165 * SECOND && after <= 185 * SECOND, "{after:?}");
}

#[test]
fn no_packet_of_a_phone_is_lost_wherever_it_begins_to_count() {
    for first in [0, 1, 0x7fff, 0x8000, 0xff00, 0xff80, 0xfffe, 0xffff] {
        let mut world = World::with_phones(&[Codec::Opus]);
        world.phone(1).goes_dark();
        world.run(SECOND);
        let before = world.stream(1).packets.len();
        // another source, as a phone has that begins
        let from = world.phone(1).rtp;
        world.phone(1).begins_anew(first);
        for n in 0..10u8 {
            let packet = world.phone(1).packet(&[n; 20]);
            world.arrives(1, Channel::Rtp, from, &packet);
            world.run(20 * MS);
        }
        let heard: Vec<u8> = world.stream(1).packets[before..].iter().map(|packet| packet.payload[0]).collect();
        assert_eq!(heard, (0..10).collect::<Vec<u8>>(), "from {first:#x} on");
    }
    for first in [0xff00, 0xffff] {
        let mut world = World::with_phones(&[Codec::Pcmu]);
        world.phone(1).begins_anew(first);
        world.phone(1).says(700.0);
        world.run(1500 * MS);
        assert!(world.stream(1).ears.share(700.0) > 0.9, "G.711 from {first:#x} on");
    }
}

#[test]
fn timestamps_advance_as_the_codec_says() {
    let codecs = [Codec::Opus, Codec::Pcmu, Codec::Pcma];
    let mut world = World::with_phones(&codecs);
    world.talker("bob", 440.0);
    world.run(3 * SECOND);
    for (number, ticks) in [(1, 960), (2, 160), (3, 160)] {
        let heard = &world.phone(number).heard;
        assert!(heard.len() > 140);
        for pair in heard.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(ticks), "{:?}", codecs[number as usize - 1]);
        }
    }
}
