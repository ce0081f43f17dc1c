//! Offers of real phones, each answered; our offers, answered by real phones; and text that is none.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use super::*;
use crate::secret::Secret;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::path::Path;

const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sdp").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(text: &str) -> Offer {
    Offer::read(&SessionDescription::parse(text).unwrap()).unwrap()
}

/// An offer with the given lines after its `m=` line.
fn offer_text(media: &str, lines: &[&str]) -> String {
    format!("v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm={media}\r\n{}", {
        lines.iter().map(|line| format!("{line}\r\n")).collect::<String>()
    })
}

fn our_key(tag: u32) -> CryptoAttribute {
    CryptoAttribute::new(tag, "AES_CM_128_HMAC_SHA1_80", Secret::new(vec![7; 30]))
}

fn local(rtp: &str, rtcp: u16) -> Local {
    Local { rtp: rtp.parse().unwrap(), rtcp, session_id: 5, version: 1 }
}

fn answered(offer: &Offer) -> SessionDescription {
    let codec = offer.audio.first_codec().unwrap();
    let crypto = our_key(offer.audio.cryptos[0].tag);
    let ours = OurAnswer {
        layout: &offer.layout,
        codec,
        telephone_event: offer.audio.telephone_event(codec.codec),
        crypto: &crypto,
        rtcp_mux: offer.audio.rtcp_mux,
        direction: offer.audio.direction.reversed(),
        local: local("198.51.100.1:40000", 40001),
    };
    let answer = ours.description();
    assert_eq!(SessionDescription::parse(&answer.to_string()).unwrap(), answer, "what is printed can be read");
    answer
}

fn socket(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn the_offer_of_a_linphone_app_is_read() {
    let offer = read(&file("app-srtp-ice-avpf-mux.sdp"));
    let audio = &offer.audio;
    assert_eq!(audio.profile, Profile::RtpSavpf);
    let suites: Vec<&str> = audio.cryptos.iter().map(|crypto| crypto.suite.as_str()).collect();
    assert_eq!(
        suites,
        ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32"]
    );
    let codecs: Vec<(u8, Codec)> = audio.codecs.iter().map(|codec| (codec.payload_type, codec.codec)).collect();
    assert_eq!(codecs, [(96, Codec::Opus), (0, Codec::Pcmu), (8, Codec::Pcma)]);
    assert_eq!(audio.telephone_event(Codec::Opus), Some(99));
    assert_eq!(audio.telephone_event(Codec::Pcma), Some(101));
    assert!(audio.rtcp_mux);
    assert_eq!(audio.remote_rtp, socket("192.0.2.2:23788"), "the section's own c=");
    assert_eq!(audio.remote_rtcp, audio.remote_rtp);
    assert_eq!(audio.direction, Direction::SendRecv);
}

#[test]
fn the_answer_to_a_linphone_app_says_no_more_than_it_must() {
    let text = answered(&read(&file("app-srtp-ice-avpf-mux.sdp"))).to_string();
    assert_eq!(
        text,
        "v=0\r\no=- 5 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
         m=audio 40000 RTP/SAVPF 96 99\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
         a=rtpmap:99 telephone-event/48000\r\na=fmtp:99 0-15\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\r\n\
         a=rtcp-mux\r\na=sendrecv\r\n"
    );
}

#[test]
fn every_sdes_offer_in_the_collection_is_answered_under_its_own_profile() {
    let mut seen = 0;
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sdp");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".sdp") {
            continue;
        }
        let description = SessionDescription::parse(&file(&name)).unwrap();
        if name == "probe-g722-only-srtp.sdp" {
            assert_eq!(Offer::read(&description).unwrap_err(), OfferError::NoCodec);
            continue;
        }
        let offer = Offer::read(&description).unwrap();
        assert_eq!(offer.audio.unreadable_cryptos, 0, "{name}");
        if offer.audio.cryptos.is_empty() {
            continue;
        }
        let answer = answered(&offer);
        assert_eq!(answer.media[0].protocol, description.media[0].protocol, "{name}");
        assert_ne!(answer.media[0].port, 0, "{name}");
        assert!(answer.media[0].value("ice-ufrag").is_none() && answer.value("ice-ufrag").is_none());
        assert_eq!(answer.media[0].value("rtcp-mux").is_some(), offer.audio.rtcp_mux, "{name}");
        seen += 1;
    }
    assert!(seen >= 20, "only {seen} offers with keys");
}

#[test]
fn after_ice_the_phone_is_where_its_new_offer_says() {
    let offer = read(&file("app-srtp-after-ice.sdp"));
    assert_eq!(offer.audio.remote_rtp, socket("[fd00::2]:23788"));
    assert_eq!(offer.audio.remote_rtcp, socket("[fd00::2]:23788"), "multiplexed, whatever a=rtcp says");
}

#[test]
fn keys_of_dtls_and_zrtp_offers_are_seen() {
    let zrtp = read(&file("app-zrtp-ice-avpf-mux.sdp")).audio;
    assert_eq!(zrtp.profile, Profile::RtpAvpf);
    assert!(zrtp.zrtp_hash.unwrap().starts_with("1.10 "));
    let dtls = read(&file("app-dtls-ice-avpf-mux.sdp")).audio;
    assert_eq!(dtls.profile, Profile::UdpTlsRtpSavpf);
    assert!(dtls.fingerprint.is_some() && dtls.cryptos.is_empty());
    let baresip = read(&file("baresip-dtls.sdp")).audio;
    assert!(baresip.fingerprint.is_some(), "at session level");
}

#[test]
fn hold_is_answered_with_recvonly_and_resume_with_sendrecv() {
    let direction = |name: &str| {
        let answer = answered(&read(&file(name)));
        ["sendrecv", "sendonly", "recvonly", "inactive"].into_iter().find(|d| answer.media[0].value(d).is_some())
    };
    assert_eq!(direction("before-hold-srtp.sdp"), Some("sendrecv"));
    assert_eq!(direction("hold-srtp.sdp"), Some("recvonly"));
    assert_eq!(direction("resume-srtp.sdp"), Some("sendrecv"));
    assert_eq!(direction("probe-hold-inactive-srtp.sdp"), Some("inactive"));
}

#[test]
fn the_address_0_0_0_0_means_hold() {
    let text = offer_text("audio 9 RTP/SAVP 0", &["c=IN IP4 0.0.0.0"]);
    let audio = read(&text).audio;
    assert_eq!((audio.remote_rtp, audio.direction), (None, Direction::SendOnly));
}

#[test]
fn directions_follow_rfc_3264_6_1() {
    use Direction::*;
    let offered = [SendRecv, SendOnly, RecvOnly, Inactive];
    assert_eq!(offered.map(Direction::reversed), [SendRecv, RecvOnly, SendOnly, Inactive]);
    assert_eq!(offered.map(|d| d.reversed().and(RecvOnly)), [RecvOnly, RecvOnly, Inactive, Inactive]);
}

#[test]
fn a_bundle_of_the_audio_alone_is_echoed() {
    let offer = read(&file("gateway-bundle.sdp"));
    assert!(offer.audio.bundled);
    let answer = answered(&offer);
    assert_eq!(answer.value("group"), Some("BUNDLE 0"));
    assert_eq!(answer.media[0].value("mid"), Some("0"));
    assert!(read(&file("app-srtp-bundle.sdp")).audio.bundled);
}

#[test]
fn sections_other_than_the_sound_are_refused_in_their_places() {
    let text = offer_text(
        "video 5000 RTP/SAVPF 97 98",
        &[
            "a=mid:v",
            "m=audio 5002 RTP/SAVP 8",
            &format!("a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            "m=application 5004 UDP/DTLS/SCTP webrtc-datachannel",
        ],
    );
    let answer = answered(&read(&text));
    let heads: Vec<(&str, u16, &str, String)> =
        answer.media.iter().map(|m| (m.kind.as_str(), m.port, m.protocol.as_str(), m.formats.join(" "))).collect();
    assert_eq!(
        heads,
        [
            ("video", 0, "RTP/SAVPF", "97 98".to_owned()),
            ("audio", 40000, "RTP/SAVP", "8".to_owned()),
            ("application", 0, "UDP/DTLS/SCTP", "webrtc-datachannel".to_owned()),
        ]
    );
    assert!(answer.media[1].value("crypto").unwrap().starts_with("4 "));
}

#[test]
fn of_two_audio_sections_the_encrypted_one_is_taken() {
    let crypto = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let clear_first = offer_text("audio 5000 RTP/AVP 0", &["m=audio 5002 RTP/SAVP 0", &crypto]);
    assert_eq!(read(&clear_first).audio.index, 1);
    let both = offer_text("audio 5000 RTP/SAVP 0", &[&crypto, "m=audio 5002 RTP/SAVP 0", &crypto]);
    assert_eq!(read(&both).audio.index, 0, "the first of equals");
    let rejected = offer_text("audio 0 RTP/SAVP 0", &[&crypto, "m=audio 5002 RTP/AVP 0"]);
    assert_eq!(read(&rejected).audio.index, 1, "port 0 is no offer");
}

#[test]
fn payload_types_mean_what_their_rtpmap_says() {
    let text = offer_text(
        "audio 5000 RTP/SAVP 0 8 111 112 113 114 200 x",
        &[
            "a=rtpmap:0 speex/8000",
            "a=rtpmap:111 OPUS/48000/2",
            "a=fmtp:111 usedtx=1; maxaveragebitrate=20000",
            "a=rtpmap:112 opus/16000",
            "a=rtpmap:113 pcmu/8000/1",
            "a=rtpmap:114 telephone-event/8000",
        ],
    );
    let audio = read(&text).audio;
    let codecs: Vec<_> = audio.codecs.iter().map(|c| (c.payload_type, c.codec, c.max_bitrate)).collect();
    assert_eq!(
        codecs,
        [(8, Codec::Pcma, None), (111, Codec::Opus, Some(20_000)), (113, Codec::Pcmu, None)],
        "0 was redefined, and Opus is 48000/2 only"
    );
    assert_eq!(audio.telephone_event(Codec::Opus), None, "8000 is another clock than Opus has");
    assert_eq!(audio.telephone_event(Codec::Pcmu), Some(114));
}

#[test]
fn rtcp_goes_where_rfc_3605_says() {
    let rtcp = |lines: &[&str]| read(&offer_text("audio 5000 RTP/SAVP 0", lines)).audio.remote_rtcp;
    assert_eq!(rtcp(&[]), socket("192.0.2.1:5001"));
    assert_eq!(rtcp(&["a=rtcp:6000"]), socket("192.0.2.1:6000"));
    assert_eq!(rtcp(&["a=rtcp:6000 IN IP6 2001:db8::1"]), socket("[2001:db8::1]:6000"));
    assert_eq!(rtcp(&["a=rtcp:6000", "a=rtcp-mux"]), socket("192.0.2.1:5000"));
    for bad in ["a=rtcp:0", "a=rtcp:x", "a=rtcp:70000", "a=rtcp:6000 IN IP4 host.example.org", "a=rtcp:6000 IN"] {
        assert_eq!(rtcp(&[bad]), None, "{bad}");
    }
    assert_eq!(read(&offer_text("audio 65535 RTP/SAVP 0", &[])).audio.remote_rtcp, None);
}

#[test]
fn names_and_addresses_of_groups_are_never_used() {
    for connection in ["IN IP4 phone.example.org", "IN IP4 224.2.1.1/127", "IN IP4 255.255.255.255", "IN IP6 ff02::1"] {
        let text = offer_text("audio 5000 RTP/SAVP 0", &[&format!("c={connection}")]);
        assert_eq!(read(&text).audio.remote_rtp, None, "{connection}");
    }
}

#[test]
fn an_unreadable_or_repeated_key_is_counted_and_left_out() {
    let good = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let audio = read(&offer_text("audio 5000 RTP/SAVP 0", &[&good, &good, "a=crypto:2 nonsense"])).audio;
    assert_eq!((audio.cryptos.len(), audio.unreadable_cryptos), (1, 2));
    let session_level =
        format!("v=0\no=a 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\n{good}\nm=audio 5 RTP/SAVP 0\n");
    assert!(read(&session_level).audio.cryptos.is_empty(), "a=crypto is a media-level attribute");
}

#[test]
fn an_offer_without_sound_is_an_error() {
    let description = SessionDescription::parse(&offer_text("video 5000 RTP/SAVP 97", &[])).unwrap();
    assert_eq!(Offer::read(&description).unwrap_err(), OfferError::NoAudio);
    let description = SessionDescription::parse(&offer_text("audio 5000 TCP/MRCP 97", &[])).unwrap();
    assert_eq!(Offer::read(&description).unwrap_err(), OfferError::NoAudio);
}

#[test]
fn what_is_no_description_is_named() {
    let head = "v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\n";
    assert_eq!(SessionDescription::parse("").unwrap_err(), SdpError::Missing("v="));
    assert_eq!(SessionDescription::parse("v=0\n").unwrap_err(), SdpError::Missing("o="));
    assert_eq!(SessionDescription::parse("v=1\n").unwrap_err(), SdpError::BadLine(1));
    assert_eq!(SessionDescription::parse("s=-\nv=0\n").unwrap_err(), SdpError::BadLine(1));
    assert_eq!(SessionDescription::parse("v=0\nhello\n").unwrap_err(), SdpError::BadLine(2));
    assert_eq!(SessionDescription::parse("v=0\no=a 1\n").unwrap_err(), SdpError::BadLine(2));
    assert_eq!(SessionDescription::parse(&format!("{head}m=audio x RTP/AVP 0\n")).unwrap_err(), SdpError::BadLine(3));
    assert_eq!(
        SessionDescription::parse(&format!("{head}m=audio 70000 RTP/AVP 0\n")).unwrap_err(),
        SdpError::BadLine(3)
    );
    assert_eq!(SessionDescription::parse(&format!("{head}m=audio 1 RTP/AVP\n")).unwrap_err(), SdpError::BadLine(3));
    assert_eq!(
        SessionDescription::parse(&format!("{head}m=audio 1 RTP/AVP 0\n")).unwrap_err(),
        SdpError::Missing("c=")
    );
    assert_eq!(SessionDescription::parse(&format!("{head}a=x\0y\n")).unwrap_err(), SdpError::BadLine(3));
}

#[test]
fn sizes_are_bounded() {
    let head = "v=0\no=a 1 1 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\n";
    let too_large = |body: String| SessionDescription::parse(&format!("{head}{body}")).unwrap_err();
    assert_eq!(too_large("a=x\n".repeat(1100)), SdpError::TooLarge("lines"));
    assert_eq!(too_large("m=audio 1 RTP/AVP 0\n".repeat(33)), SdpError::TooLarge("media sections"));
    assert_eq!(too_large(format!("a={}\n", "x".repeat(70_000))), SdpError::TooLarge("bytes"));
    assert_eq!(too_large(format!("m=audio 1 RTP/AVP{}\n", " 0".repeat(65))), SdpError::BadLine(4));
}

#[test]
fn debug_does_not_show_a_key() {
    let description = SessionDescription::parse(&file("app-srtp-ice-avpf-mux.sdp")).unwrap();
    let shown = format!("{description:?} {:?}", Offer::read(&description).unwrap());
    assert!(shown.contains("rtpmap:96 opus"), "{shown}");
    assert!(!shown.contains("fmc8Jd") && !shown.contains("766865b0"), "{shown}");
}

fn our_offer(mux: bool) -> OurOffer {
    let cryptos = vec![our_key(1), CryptoAttribute::new(2, "AEAD_AES_128_GCM", Secret::new(vec![8; 28]))];
    OurOffer { rtcp_mux: mux, ..OurOffer::first(cryptos, local("192.0.2.9:40000", 40001)) }
}

const GOOD_ANSWER: &str = "v=0\no=b 1 1 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 5000 RTP/SAVP 96 97\n\
     a=rtpmap:96 opus/48000/2\na=rtpmap:97 telephone-event/48000\n\
     a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\n";

fn held_against(ours: &OurOffer, text: &str) -> Result<OfferedCodec, AnswerError> {
    Answer::read(ours, &SessionDescription::parse(text).unwrap())?.codec(ours)
}

/// An answer to [`our_offer`], with one line replaced.
fn read_answer(replace: (&str, &str)) -> Result<OfferedCodec, AnswerError> {
    assert!(GOOD_ANSWER.contains(replace.0), "{} is not in the answer", replace.0);
    held_against(&our_offer(false), &GOOD_ANSWER.replace(replace.0, replace.1))
}

#[test]
fn our_first_offer_is_all_that_we_speak() {
    let text = our_offer(true).description().to_string();
    assert_eq!(
        text,
        "v=0\r\no=- 5 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
         m=audio 40000 RTP/SAVP 96 0 8 97 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:97 telephone-event/48000\r\na=fmtp:97 0-15\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\r\n\
         a=crypto:2 AEAD_AES_128_GCM inline:CAgICAgICAgICAgICAgICAgICAgICAgICAgICA==\r\n\
         a=rtcp-mux\r\na=sendrecv\r\n"
    );
    let apart = OurOffer { local: local("192.0.2.9:40000", 40009), ..our_offer(true) }.description().to_string();
    assert!(apart.ends_with("a=rtcp:40009\r\na=rtcp-mux\r\na=sendrecv\r\n"), "{apart}");
}

#[test]
fn our_own_offer_can_be_read_and_answered() {
    for mux in [false, true] {
        let ours = our_offer(mux);
        let text = ours.description().to_string();
        let offer = read(&text);
        assert_eq!(offer.audio.cryptos.len(), 2);
        let rtcp = if mux { ours.local.rtp.port() } else { ours.local.rtcp };
        assert_eq!(offer.audio.remote_rtcp, Some(SocketAddr::new(ours.local.rtp.ip(), rtcp)));
        let answer = Answer::read(&ours, &answered(&offer)).unwrap();
        assert_eq!(answer.codec(&ours).unwrap().codec, Codec::Opus);
        assert_eq!(answer.audio.cryptos[0].tag, 1);
        assert_eq!(answer.audio.rtcp_mux, mux);
        assert_eq!(answer.audio.telephone_event(Codec::Opus), Some(97));
    }
}

#[test]
fn an_answer_must_take_what_was_offered() {
    assert!(read_answer(("", "")).is_ok());
    let faults = [
        ("m=audio 5000", "m=audio 0", AnswerError::Refused),
        ("m=audio 5000", "m=video 5000", AnswerError::Sections),
        ("m=audio", "m=video 0 RTP/SAVP 0\nm=audio", AnswerError::Sections),
        ("m=audio", "m=audio 0 RTP/SAVP 0\nm=audio", AnswerError::Sections),
        ("RTP/SAVP", "UDPTL", AnswerError::Sections),
        ("RTP/SAVP", "RTP/AVP", AnswerError::Profile),
        ("RTP/SAVP", "RTP/SAVPF", AnswerError::Profile),
        ("a=rtpmap:96 opus/48000/2\n", "", AnswerError::Codec),
        ("96 97\na=rtpmap:96 opus/48000/2", "111\na=rtpmap:111 opus/48000/2", AnswerError::Codec),
        ("96 97\na=rtpmap:96 opus/48000/2", "9\na=x", AnswerError::Codec),
        ("crypto:1", "x-crypto:1", AnswerError::Crypto),
        ("a=crypto:1", "a=crypto:2 AEAD_AES_128_GCM inline:AAAA\na=crypto:1", AnswerError::Crypto),
        ("a=crypto:1", "a=crypto:9 broken\na=crypto:1", AnswerError::Crypto),
        ("a=crypto", "a=rtcp-mux\na=crypto", AnswerError::RtcpMux),
    ];
    for (from, to, error) in faults {
        assert_eq!(read_answer((from, to)).unwrap_err(), error, "{from} -> {to}");
    }
}

#[test]
fn a_later_offer_of_ours_keeps_the_sections_and_so_must_its_answer() {
    let video = "m=video 5004 RTP/SAVP 97\r\nm=audio 5000 RTP/SAVPF 0\r\na=mid:1\r\n";
    let crypto = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    let head = "v=0\r\no=a 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
    let phone = read(&format!("{head}{video}{crypto}"));
    let ours = OurOffer { layout: phone.layout, ..our_offer(false) };
    let text = ours.description().to_string();
    assert!(text.contains("\r\nm=video 0 RTP/SAVP 97\r\nm=audio 40000 RTP/SAVPF 96 0 8 97 101\r\n"), "{text}");
    assert!(text.contains("\r\na=mid:1\r\n"), "{text}");
    let audio = format!("m=audio 5000 RTP/SAVPF 0\r\n{crypto}");
    assert!(held_against(&ours, &format!("{head}m=video 0 RTP/SAVP 97\r\n{audio}")).is_ok());
    for wrong in [audio.clone(), format!("{audio}m=video 0 RTP/SAVP 97\r\n"), format!("{video}{crypto}")] {
        let error = held_against(&ours, &format!("{head}{wrong}")).unwrap_err();
        assert_eq!(error, AnswerError::Sections, "{wrong}");
    }
}

#[test]
fn a_real_linphone_s_answer_fits_the_offer_that_it_got() {
    let cryptos = vec![
        CryptoAttribute::new(1, "AES_256_CM_HMAC_SHA1_80", Secret::new(vec![1; 46])),
        CryptoAttribute::new(2, "AES_CM_128_HMAC_SHA1_80", Secret::new(vec![2; 30])),
    ];
    let ours = OurOffer { cryptos, ..our_offer(true) };
    let answer = Answer::read(&ours, &SessionDescription::parse(&file("gateway-bundle-answer.sdp")).unwrap()).unwrap();
    assert!(answer.codec(&ours).is_ok());
    assert_eq!(answer.audio.cryptos[0].suite, "AES_256_CM_HMAC_SHA1_80");
    assert_eq!(answer.audio.remote_rtp, socket("127.0.0.1:27870"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[vomac=0-9 :a-z/|;^.\r\n]{0,300}") {
        if let Ok(description) = SessionDescription::parse(&text) {
            let _ = Offer::read(&description);
        }
    }

    #[test]
    fn a_damaged_answer_takes_what_was_offered_or_is_an_error(
        cut in 0usize..200, length in 0usize..40, patch in "[ -~\r\n]{0,20}"
    ) {
        let mut text = GOOD_ANSWER.to_owned();
        let start = cut.min(text.len());
        let end = (start + length).min(text.len());
        text.replace_range(start..end, &patch);
        let ours = our_offer(false);
        if let Ok(description) = SessionDescription::parse(&text)
            && let Ok(answer) = Answer::read(&ours, &description)
            && let Ok(codec) = answer.codec(&ours)
        {
            prop_assert!(ours.codecs.contains(&(codec.payload_type, codec.codec)));
            prop_assert_eq!((answer.audio.profile, answer.audio.cryptos.len()), (Profile::RtpSavp, 1));
        }
    }

    #[test]
    fn a_damaged_offer_is_an_error_or_an_answer_and_prints_as_it_was_read(
        cut in 0usize..1400, length in 0usize..40, patch in "[ -~\r\n]{0,20}", which in 0usize..3
    ) {
        let names = ["app-srtp-ice-avpf-mux.sdp", "gateway-bundle.sdp", "probe-capneg.sdp"];
        let mut text = file(names[which]);
        let start = cut.min(text.len());
        let end = (start + length).min(text.len());
        text.replace_range(start..end, &patch);
        if let Ok(description) = SessionDescription::parse(&text) {
            let printed = description.to_string();
            prop_assert_eq!(SessionDescription::parse(&printed), Ok(description.clone()));
            if let Ok(offer) = Offer::read(&description)
                && !offer.audio.cryptos.is_empty()
            {
                answered(&offer);
            }
        }
    }
}
