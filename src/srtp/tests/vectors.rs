//! The vectors of RFC 3711 B.2 and B.3, RFC 6188 §7.1 and §7.2, RFC 7714 §16 and §17.
use super::super::cipher::{Aes, Cipher, Position, Protocol};
use super::super::{MasterKey, Suite};
use crate::secret::Secret;
use crate::units::Ssrc;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

/// The key stream of a session key, with the initial counter of both RFCs.
fn keystream(key: &str) -> Vec<u8> {
    let counter = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000").try_into().unwrap();
    let mut text = vec![0; 0xff02 * 16];
    Aes::new(&hex(key)).apply_keystream(&counter, &mut text);
    text
}

fn block(stream: &[u8], number: usize) -> &[u8] {
    &stream[number * 16..][..16]
}

#[test]
fn aes_128_counter_mode_is_that_of_rfc_3711_b_2() {
    let stream = keystream("2b7e151628aed2a6abf7158809cf4f3c");
    assert_eq!(block(&stream, 0), hex("e03ead0935c95e80e166b16dd92b4eb4"));
    assert_eq!(block(&stream, 1), hex("d23513162b02d0f72a43a2fe4a5f97ab"));
    assert_eq!(block(&stream, 2), hex("41e95b3bb0a2e8dd477901e4fca894c0"));
    assert_eq!(block(&stream, 0xfeff), hex("ec8cdf7398607cb0f2d21675ea9ea1e4"));
    assert_eq!(block(&stream, 0xff00), hex("362b7c3c6773516318a077d7fc5073ae"));
    assert_eq!(block(&stream, 0xff01), hex("6a2cc3787889374fbeb4c81b17ba6c44"));
}

#[test]
fn aes_256_counter_mode_is_that_of_rfc_6188_7_1() {
    let stream = keystream("57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98");
    assert_eq!(block(&stream, 0), hex("92bdd28a93c3f52511c677d08b5515a4"));
    assert_eq!(block(&stream, 1), hex("9da71b2378a854f67050756ded165bac"));
    assert_eq!(block(&stream, 2), hex("63c4868b7096d88421b563b8c94c9a31"));
    assert_eq!(block(&stream, 0xfeff), hex("cea518c90fd91ced9cbb18c078a54711"));
    assert_eq!(block(&stream, 0xff00), hex("3dbc4814f4da5f00a08772b63c6a046d"));
    assert_eq!(block(&stream, 0xff01), hex("6eb246913062a16891433e97dd01a57f"));
}

fn derived(master: &MasterKey, label: u8, len: usize) -> Vec<u8> {
    let mut out = vec![0xAA; len];
    master.derive(label, &mut out);
    out
}

#[test]
fn aes_128_session_keys_are_those_of_rfc_3711_b_3() {
    let bytes = hex("e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6");
    let master = MasterKey::new(Suite::AesCm128HmacSha1_80, Secret::new(bytes)).unwrap();
    assert_eq!(derived(&master, 0, 16), hex("c61e7a93744f39ee10734afe3ff7a087"));
    assert_eq!(derived(&master, 2, 14), hex("30cbbc08863d8c85d49db34a9ae1"));
    let authentication = "cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbce
                          e049646c43d9327ad175578ef72270986371c10c9a369ac2f94a8c5fbcdddc25
                          6d6e919a48b610ef17c2041e474035766b68642c59bbfc2f34db60dbdfb2";
    assert_eq!(derived(&master, 1, 94), hex(authentication));
}

#[test]
fn aes_256_session_keys_are_those_of_rfc_6188_7_2() {
    let bytes = hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2");
    let master = MasterKey::new(Suite::Aes256CmHmacSha1_80, Secret::new(bytes)).unwrap();
    assert_eq!(derived(&master, 0, 32), hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"));
    assert_eq!(derived(&master, 2, 14), hex("fa31791685ca444a9e07c6c64e93"));
    assert_eq!(derived(&master, 1, 20), hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
}

const GCM_128: &str = "000102030405060708090a0b0c0d0e0f";
const GCM_256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// The session keys of RFC 7714's vectors, without derivation.
fn gcm(suite: Suite, protocol: Protocol) -> Cipher {
    let key = hex(if suite == Suite::AeadAes128Gcm { GCM_128 } else { GCM_256 });
    let salt = hex("517569642070726f2071756f 0000").try_into().unwrap();
    Cipher::from_session_keys(suite, protocol, &key, &[0; 20], &salt, 16).unwrap()
}

/// Seals `text` and opens it again; `None` for the part that is only authenticated.
fn check(cipher: &Cipher, position: &Position, header: &str, text: &str, sealed: &str, tag: &str) {
    let (header, mut bytes) = (hex(header), hex(text));
    let made = cipher.seal(position, &header, &mut bytes).unwrap();
    assert_eq!((&bytes, made.as_bytes()), (&hex(sealed), &hex(tag)[..]));
    cipher.open(position, &header, &mut bytes, &hex(tag)).unwrap();
    assert_eq!(bytes, hex(text));
}

const RTP_HEADER: &str = "8040f17b8041f8d35501a0b2";
const RTP_TEXT: &str = "47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";

#[test]
fn srtp_with_gcm_is_that_of_rfc_7714_16() {
    let position = Position::rtp(Ssrc(0x5501_A0B2), 0xf17b);
    let cipher = gcm(Suite::AeadAes128Gcm, Protocol::Rtp);
    let sealed = "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833";
    check(&cipher, &position, RTP_HEADER, RTP_TEXT, sealed, "899d7f27beb16a9152cf765ee4390cce"); // 16.1.1, 16.1.2
    let all = [RTP_HEADER, RTP_TEXT].concat();
    check(&cipher, &position, &all, "", "", "22493f82d2bce397e9d79e3b19aa4216"); // 16.1.3, 16.1.4
    let cipher = gcm(Suite::AeadAes256Gcm, Protocol::Rtp);
    let sealed = "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b";
    check(&cipher, &position, RTP_HEADER, RTP_TEXT, sealed, "7aa3db36dfffd6b0f9bb7878d7a76c13"); // 16.2.1, 16.2.2
    check(&cipher, &position, &all, "", "", "a866d5910f887463067ceefec45215d4"); // 16.2.3, 16.2.4
}

const RTCP_HEADER: &str = "81c8000d4d617273";
const RTCP_TEXT: &str = "4e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

#[test]
fn srtcp_with_gcm_is_that_of_rfc_7714_17() {
    let encrypted = Position::rtcp(Ssrc(0x4D61_7273), 0x5d4, true).unwrap();
    let clear = Position::rtcp(Ssrc(0x4D61_7273), 0x5d4, false).unwrap();
    assert_eq!((encrypted.word, clear.word), ([0x80, 0, 5, 0xd4], [0, 0, 5, 0xd4]));
    let all = [RTCP_HEADER, RTCP_TEXT].concat();
    let cipher = gcm(Suite::AeadAes128Gcm, Protocol::Rtcp);
    let sealed = "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b";
    check(&cipher, &encrypted, RTCP_HEADER, RTCP_TEXT, sealed, "c84aa45896cf4d2fc5abf87245d9eade"); // 17.1
    check(&cipher, &clear, &all, "", "", "841dd9683dd78ec92ae58790125f62b3"); // 17.3
    let cipher = gcm(Suite::AeadAes256Gcm, Protocol::Rtcp);
    let sealed = "d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad";
    check(&cipher, &encrypted, RTCP_HEADER, RTCP_TEXT, sealed, "1d1eb30c4446839f57ff6f6cb26ac3be"); // 17.2
    check(&cipher, &clear, &all, "", "", "91db4afbfeee5a978fab4393ed2615fe"); // 17.4
}
