//! The laboratory's real programs, proved without the gateway: what they send is what the others hear, and what the
//! capture calls encrypted or clear is so. When one of these fails, the tests of calls cannot be believed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::time::Duration;

use galene_sips_lab::group_peer::{GroupPeer, JoinOptions};
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::real::capture::{Capture, Looks, UdpPacket, judge_streams, rtp_packets_from};
use galene_sips_lab::real::galene::{OPERATOR, open_group};
use galene_sips_lab::real::kamailio::{Attack, Digest};
use galene_sips_lab::real::linphone::{CallState, Encryption, Linphone, PhoneCodec};
use galene_sips_lab::real::meeting::Meeting;
use galene_sips_lab::real::program::wait_until;
use galene_sips_lab::real::rig::{PhoneSettings, Rig};
use galene_sips_lab::real::speech::{heard_once, speak};
use galene_sips_lab::sound::sine;
use galene_sips_lab::wav::Wav;

const SOON: Duration = Duration::from_secs(15);
const TALK: Duration = Duration::from_secs(6);

const SRTP: PhoneSettings = PhoneSettings::SRTP;

fn tone(hz: f64) -> Wav {
    Wav { rate: 48_000, samples: sine(48_000, hz, 0.3, 48_000 * 30) }
}

/// Two phones of these settings call each other, speak 440 and 1000 Hz, and both tones arrive.
/// Returns the caller and what was on the wire.
fn phones_hear_each_other(rig: &Rig, caller: PhoneSettings, callee: PhoneSettings) -> (Linphone, Vec<UdpPacket>) {
    let mut alice = rig.phone("alice", caller).unwrap();
    let mut bob = rig.phone("bob", PhoneSettings { answers: true, ..callee }).unwrap();
    alice.play(&rig.wav("440", &tone(440.0)).unwrap()).unwrap();
    bob.play(&rig.wav("1000", &tone(1000.0)).unwrap()).unwrap();
    let heard = [rig.file("alice-heard.wav"), rig.file("bob-heard.wav")];
    alice.record(&heard[0]).unwrap();
    bob.record(&heard[1]).unwrap();

    let capture = Capture::start(rig.net(), &rig.file("call.pcap")).unwrap();
    alice.call("sip:bob@sip.lab.test").unwrap();
    alice.wait_call(CallState::StreamsRunning, SOON).unwrap();
    std::thread::sleep(TALK);
    alice.terminate().unwrap();
    alice.wait_call(CallState::End, SOON).unwrap();
    bob.wait_call(CallState::End, SOON).unwrap();
    let packets = capture.stop().unwrap();

    for (file, hz) in heard.iter().zip([1000.0, 440.0]) {
        let sound = Wav::read(file).unwrap();
        let seconds = sound.samples.len() as u32 / sound.rate;
        let share = tone_share(&sound.samples, sound.rate, hz);
        // less than is asked of a call through the gateway: on a busy machine two Linphones lose sound between themselves
        assert!(seconds >= 5 && share >= 0.8, "{hz} Hz has {share:.3} of the power of {seconds} s in {file:?}");
    }
    (alice, packets)
}

fn assert_all_streams(packets: &[UdpPacket], looks: Looks) {
    let streams = judge_streams(packets);
    assert!(streams.len() >= 2, "both phones send: {streams:?}");
    assert!(streams.values().all(|found| *found == looks), "{streams:?}");
}

#[test]
fn two_linphones_with_mandatory_srtp_hear_each_other_through_kamailio_with_tls_and_sha256() {
    let rig = Rig::new().unwrap();
    let kamailio = rig.kamailio(Digest::Sha256, Attack::None).unwrap();
    let (alice, packets) = phones_hear_each_other(&rig, SRTP, SRTP);
    assert_all_streams(&packets, Looks::Encrypted);
    assert_eq!(alice.invite_outcomes(), [200]);
    assert!(alice.log().contains("algorithm=SHA-256"), "the challenge");
    assert!(kamailio.log().contains("received INVITE sip:bob@sip.lab.test"));
}

#[test]
fn a_linphone_on_hold_comes_back_with_the_same_keys_also_when_it_had_sent_nothing_meanwhile() {
    let rig = Rig::new().unwrap();
    let _kamailio = rig.kamailio(Digest::Sha256, Attack::None).unwrap();
    let mut alice = rig.phone("alice", SRTP).unwrap();
    let mut bob = rig.phone("bob", PhoneSettings { answers: true, ..SRTP }).unwrap();
    alice.play(&rig.wav("440", &tone(440.0)).unwrap()).unwrap();
    alice.call("sip:bob@sip.lab.test").unwrap();
    alice.wait_call(CallState::StreamsRunning, SOON).unwrap();

    let port = alice.rtp_port().unwrap();
    rig.net().drop_udp_from(port..=port + 1).unwrap();
    let capture = Capture::start(rig.net(), &rig.file("hold.pcap")).unwrap();
    alice.pause().unwrap();
    alice.wait_call(CallState::Paused, SOON).unwrap();
    bob.wait_call(CallState::PausedByRemote, SOON).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let packets = capture.stop().unwrap();
    rig.net().drop_nothing().unwrap();
    assert_eq!(rtp_packets_from(&packets, rig.net().inside(), |from| from == port), 0);

    let heard = rig.file("bob-heard.wav");
    bob.record(&heard).unwrap();
    alice.resume().unwrap();
    alice.wait_call(CallState::StreamsRunning, SOON).unwrap();
    std::thread::sleep(TALK);
    alice.terminate().unwrap();
    bob.wait_call(CallState::End, SOON).unwrap();
    let sound = Wav::read(&heard).unwrap();
    assert!(sound.samples.len() >= 48_000 * 5);
    assert!(tone_share(&sound.samples[48_000..], 48_000, 440.0) >= 0.9);

    // the call, its repetition with credentials, hold and resume
    let messages = alice.messages();
    let invites = messages.iter().filter(|message| message.sent && message.text.starts_with("INVITE "));
    let keys: Vec<_> = invites.map(|invite| invite.crypto_lines()).collect();
    assert!(keys.len() >= 4 && !keys[0].is_empty() && keys.iter().all(|lines| *lines == keys[0]), "{keys:#?}");
}

#[test]
fn two_linphones_with_g711_and_srtp_hear_each_other_after_an_md5_challenge() {
    let rig = Rig::new().unwrap();
    let _kamailio = rig.kamailio(Digest::Md5, Attack::None).unwrap();
    let pcmu = PhoneSettings { codec: PhoneCodec::Pcmu, ..SRTP };
    let (_alice, packets) = phones_hear_each_other(&rig, pcmu, pcmu);
    assert_all_streams(&packets, Looks::Encrypted);
}

#[test]
fn the_capture_calls_clear_opus_and_clear_g711_clear() {
    for codec in [PhoneCodec::Opus, PhoneCodec::Pcmu] {
        let rig = Rig::new().unwrap();
        let _kamailio = rig.kamailio(Digest::Sha256, Attack::None).unwrap();
        let clear = PhoneSettings { encryption: Encryption::None, mandatory: false, codec, ..SRTP };
        let (_alice, packets) = phones_hear_each_other(&rig, clear, clear);
        assert_all_streams(&packets, Looks::Clear);
    }
}

#[test]
fn behind_a_proxy_that_strips_crypto_careless_linphones_talk_in_clear() {
    let rig = Rig::new().unwrap();
    let _kamailio = rig.kamailio(Digest::Sha256, Attack::StripCrypto).unwrap();
    let careless = PhoneSettings { mandatory: false, ..SRTP };
    let (alice, packets) = phones_hear_each_other(&rig, careless, careless);
    assert_eq!(alice.invite_outcomes(), [488, 200], "refused without keys, the phone tries again in clear");
    assert_all_streams(&packets, Looks::Clear);
}

#[test]
fn two_linphones_with_zrtp_show_the_same_short_authentication_string() {
    let rig = Rig::new().unwrap();
    let _kamailio = rig.kamailio(Digest::Sha256, Attack::None).unwrap();
    let zrtp = PhoneSettings { encryption: Encryption::Zrtp, ..SRTP };
    let (alice, packets) = phones_hear_each_other(&rig, zrtp, zrtp);
    assert_all_streams(&packets, Looks::Encrypted);
    assert_eq!(alice.sas().map(|sas| sas.len()), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_with_the_invitation_to_the_meeting_hear_each_other() {
    let rig = Rig::new().unwrap();
    let meeting = Meeting::start(&rig).await.unwrap();
    let invited = GroupPeer::join(JoinOptions::new(meeting.invitation_from_outside(), "Anna")).await.unwrap();
    let operator = meeting.join_as_operator().await.unwrap();
    invited.publish(sine(48_000, 440.0, 0.3, 48_000 * 3)).await;
    let heard = operator.heard().remove("Anna").unwrap_or_default();
    assert!(heard.len() >= 48_000 && tone_share(&heard, 48_000, 440.0) >= 0.9, "{} samples", heard.len());
}

#[test]
#[ignore = "needs a real Galène: set GALENE_BIN and run with --include-ignored"]
fn two_chromiums_in_galenes_page_hear_each_other_speak_and_chat_and_an_operator_kicks() {
    let rig = Rig::new().unwrap();
    let galene = rig.galene(&[("meeting", open_group())]).unwrap();
    let said = speak(&rig.file(""), "en", "The quick brown fox jumps over the lazy dog.").unwrap();
    let url = galene.group_url("meeting");
    let mut anna = rig.browser("anna", &said).unwrap();
    let mut operator = rig.browser("operator", &tone(1000.0)).unwrap();
    anna.join(&url, "Anna", "").unwrap();
    operator.join(&url, OPERATOR.0, OPERATOR.1).unwrap();
    let both = anna.wait_participants("both are there", |names| names.len() == 2).unwrap();
    assert_eq!(both, ["Anna", "op"]);

    anna.record().unwrap();
    operator.record().unwrap();
    std::thread::sleep(Duration::from_secs(2)); // the streams settle
    anna.take_recording().unwrap();
    operator.take_recording().unwrap();
    std::thread::sleep(Duration::from_secs(9));
    let (by_anna, by_operator) = (anna.take_recording().unwrap(), operator.take_recording().unwrap());
    assert!(by_anna.len() > 48_000 * 7, "{} samples", by_anna.len());
    let share = tone_share(&by_anna, 48_000, 1000.0);
    assert!(share >= 0.9, "1000 Hz has {share:.3} of the power");
    rig.wav("operator-heard", &Wav { rate: 48_000, samples: by_operator.clone() }).unwrap();
    let found = heard_once(&said.samples, &by_operator);
    assert!(found >= 0.8, "speech correlates {found:.3}");

    operator.type_chat("Good morning").unwrap();
    wait_until("the chat line", SOON, || {
        let lines = anna.chat()?;
        Ok(lines.iter().any(|line| line.from == "op" && line.text == "Good morning").then_some(()))
    })
    .unwrap();
    operator.screenshot(&rig.file("page.png")).unwrap();
    operator.kick("Anna", "good bye").unwrap();
    operator.wait_participants("Anna is gone", |names| names == ["op"]).unwrap();
}
