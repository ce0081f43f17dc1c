//! What phones are told aloud, and what they hear meanwhile.

use super::*;
use crate::units::SampleRate;
use galene_sips_lab::measure::{correlate, level_dbfs, tone_share};

const BOB: f64 = 440.0;

fn length(announcement: Announcement) -> Duration {
    let samples = announcement.samples(Language::English, SampleRate::Hz8000).len();
    Duration::from_micros(samples as u64 * 125)
}

/// How well the recording is found at the beginning of what was heard: 0 to 1.
fn found(announcement: Announcement, language: Language, rate: SampleRate, heard: &[i16]) -> f64 {
    let said = announcement.samples(language, rate);
    let jitter_buffer = rate.hz() as usize / 5;
    correlate(said, &heard[..heard.len().min(said.len() + jitter_buffer)], jitter_buffer).value
}

/// Bob talks; a phone in clear comes. Up to where its ears were when the call was answered.
fn clear_call(codec: Codec, language: Language) -> (World, usize) {
    let mut world = World::new();
    world.room.config.language = language;
    world.talker("bob", BOB);
    world.join(2, codec);
    world.run(3 * SECOND);
    world.join_warned(1, codec, Some(Announcement::NotEncrypted));
    while world.events_of(1).is_empty() {
        world.run(20 * MS);
    }
    let answered = world.phone(1).ears.sound.len();
    (world, answered)
}

fn heard(world: &World, number: u32, from: usize) -> &[i16] {
    &world.phones[&CallNumber(number)].ears.sound[from..]
}

#[test]
fn a_clear_call_hears_that_it_is_clear_and_nothing_of_the_conference_before_that_has_ended() {
    for (codec, language) in [(Codec::Opus, Language::English), (Codec::Pcmu, Language::French)] {
        let (mut world, answered) = clear_call(codec, language);
        world.run(20 * SECOND);
        let rate = codec.rate();
        let second = rate.hz() as usize;
        let sound = heard(&world, 1, answered);
        let value = found(Announcement::NotEncrypted, language, rate, sound);
        assert!(value > 0.75, "{codec:?}: {value}");
        let other = found(Announcement::NotEncrypted, Language::ALL[1 - language as usize], rate, sound);
        assert!(other < 0.3, "{codec:?}, in the other language: {other}");
        let said = Announcement::NotEncrypted.samples(language, rate);
        let tone = tone_share(&sound[..said.len()], rate.hz(), BOB);
        let in_the_recording = tone_share(said, rate.hz(), BOB);
        assert!(
            (tone - in_the_recording).abs() < 0.02,
            "{codec:?}, the conference is heard: {tone} of {in_the_recording}"
        );
        for (n, piece) in sound[said.len() + second..].chunks_exact(second).enumerate() {
            let share = tone_share(piece, rate.hz(), BOB);
            assert!(share > 0.95, "{codec:?}, second {n} after the warning: {share}");
        }
        let share = tone_share(heard(&world, 2, answered), rate.hz(), BOB);
        assert!(share > 0.95, "who is encrypted hears no warning: {share}");
    }
}

#[test]
fn a_clear_call_hears_it_again_every_ten_minutes_over_the_conference_and_not_in_between() {
    let (mut world, answered) = clear_call(Codec::Pcmu, Language::English);
    let second = 8_000;
    world.run(606 * SECOND);
    let sound = heard(&world, 1, answered);
    let value = found(Announcement::NotEncrypted, Language::English, SampleRate::Hz8000, &sound[600 * second..]);
    assert!(value > 0.6, "after ten minutes: {value}");
    for (n, piece) in sound[6 * second..600 * second].chunks_exact(second).enumerate() {
        let share = tone_share(piece, 8_000, BOB);
        assert!(share > 0.9, "after {} s: {share}", n + 6);
    }
}

#[test]
fn who_is_told_something_hears_the_conference_far_behind_it_and_the_others_hear_it_as_before() {
    for codec in [Codec::Opus, Codec::Pcma] {
        let mut world = World::with_phones(&[codec, codec]);
        world.talker("bob", BOB);
        world.run(3 * SECOND);
        let from = [1, 2].map(|number| world.phone(number).ears.sound.len());
        let usual = world.phone(2).ears.level();
        world.room.announce(world.now, CallNumber(1), Announcement::ProviderJoined);
        world.run(length(Announcement::ProviderJoined));
        let rate = codec.rate();
        let told = heard(&world, 1, from[0]);
        let value = found(Announcement::ProviderJoined, Language::English, rate, told);
        assert!(value > 0.75, "{codec:?}: {value}");
        // what stays of Bob: the tone's part of what was heard, beyond what the recording has of it
        let said = Announcement::ProviderJoined.samples(Language::English, rate);
        let power = |samples: &[i16]| 10f64.powf(level_dbfs(samples) / 10.0) * tone_share(samples, rate.hz(), BOB);
        let rest = 10.0 * (power(told) - power(said)).max(1e-9).log10();
        assert!((-23.0..-14.0).contains(&(rest - usual)), "{codec:?}: Bob is {} dB away", rest - usual);
        assert!(tone_share(heard(&world, 2, from[1]), rate.hz(), BOB) > 0.95, "{codec:?}");
        world.run(2 * SECOND);
        assert!(world.phone(1).ears.share(BOB) > 0.95 && (world.phone(1).ears.level() - usual).abs() < 0.5);
    }
}

#[test]
fn who_talks_is_told_as_well_and_does_not_hear_himself() {
    let mut world = World::with_phones(&[Codec::Pcmu, Codec::Pcmu]);
    world.phone(1).says(300.0);
    world.run(2 * SECOND);
    let from = world.phone(1).ears.sound.len();
    world.room.announce(world.now, CallNumber(1), Announcement::UncomparedJoined);
    world.run(length(Announcement::UncomparedJoined) + 200 * MS);
    let value = found(Announcement::UncomparedJoined, Language::English, SampleRate::Hz8000, heard(&world, 1, from));
    assert!(value > 0.9, "{value}");
}

#[test]
fn sentences_are_said_one_after_the_other_and_none_twice() {
    let mut world = World::with_phones(&[Codec::Pcmu]);
    let from = world.phone(1).ears.sound.len();
    for announcement in [Announcement::ClearJoined, Announcement::ProviderJoined, Announcement::ProviderJoined] {
        world.room.announce(world.now, CallNumber(1), announcement);
    }
    world.run(20 * SECOND);
    let sound = heard(&world, 1, from);
    let first = Announcement::ClearJoined.samples(Language::English, SampleRate::Hz8000).len();
    for (announcement, begin) in [(Announcement::ClearJoined, 0), (Announcement::ProviderJoined, first)] {
        let value = found(announcement, Language::English, SampleRate::Hz8000, &sound[begin..]);
        assert!(value > 0.9, "{announcement:?}: {value}");
    }
    let both = first + Announcement::ProviderJoined.samples(Language::English, SampleRate::Hz8000).len();
    assert!(level_dbfs(&sound[both + 4_000..]) < -60.0);
}

#[test]
fn a_phone_that_holds_hears_from_the_beginning_what_it_missed() {
    let (mut world, _) = clear_call(Codec::Pcmu, Language::English);
    world.run(SECOND);
    let remote = RemoteMedia { rtp: Some(world.phone(1).rtp), rtcp: None, rtcp_mux: false };
    let turn = |world: &mut World, to_phone| {
        let direction = Direction { from_phone: true, to_phone };
        world.room.update(world.now, CallNumber(1), direction, remote);
    };
    turn(&mut world, false);
    world.run(60 * SECOND);
    let resumed = world.phone(1).ears.sound.len();
    turn(&mut world, true);
    world.run(10 * SECOND);
    let sound = heard(&world, 1, resumed);
    let value = found(Announcement::NotEncrypted, Language::English, SampleRate::Hz8000, sound);
    assert!(value > 0.9, "{value}");
}

#[test]
fn a_call_that_gets_keys_is_not_warned_any_more_if_they_are_worth_anything() {
    for level in [MediaLevel::Srtp, MediaLevel::Clear] {
        let (mut world, _) = clear_call(Codec::Pcmu, Language::English);
        world.run(SECOND);
        let [(our_protector, our_unprotector), (protector, unprotector)] = phone::contexts(CallNumber(1), 9);
        world.room.rekey(world.now, CallNumber(1), level, our_protector, our_unprotector);
        world.phone(1).protector = protector;
        world.phone(1).unprotector = unprotector;
        world.run(2 * SECOND);
        let share = world.phone(1).ears.share(BOB);
        assert_eq!(share > 0.95, level > MediaLevel::Clear, "{level:?}: {share}");
    }
}

#[test]
fn twenty_silent_phones_that_are_told_the_same_hear_one_encoding_and_afterwards_one_again() {
    let mut world = World::with_phones(&[Codec::Opus; 20]);
    world.talker("bob", BOB);
    world.run(SECOND);
    for number in 1..=19 {
        world.room.announce(world.now, CallNumber(number), Announcement::ProviderJoined);
    }
    let before = world.room.hearing.encodings();
    world.run(SECOND);
    assert_eq!(world.room.hearing.encodings() - before, 100, "one for the nineteen, one for the twentieth");
    world.run(length(Announcement::ProviderJoined));
    let before = world.room.hearing.encodings();
    world.run(SECOND);
    assert_eq!(world.room.hearing.encodings() - before, 50, "one a tick");
}
