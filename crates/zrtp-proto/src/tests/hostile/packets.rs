//! Frames that are broken: checksum, length, type, fragments.

use super::*;

#[test]
fn wrong_checksum() {
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    for at in 0..hello.len() {
        let mut broken = hello.clone();
        broken[at] ^= 0x10;
        let (receipt, answers) = deliver(&mut network, A, &broken);
        let first_or_cookie = at == 0 || (4..8).contains(&at);
        let expected = if first_or_cookie { Dropped::NotZrtp } else { Dropped::Crc };
        assert_eq!(receipt, Receipt::Dropped(expected), "octet {at}");
        assert!(answers.is_empty());
    }
    assert_eq!(deliver(&mut network, A, &hello).0, Receipt::Accepted);
}

#[test]
fn truncated_and_overlong() {
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    for length in 0..hello.len() {
        let (receipt, answers) = deliver(&mut network, A, &hello[..length]);
        assert!(matches!(receipt, Receipt::Dropped(Dropped::NotZrtp | Dropped::Length | Dropped::Crc)), "{length}");
        assert!(answers.is_empty());
    }
    // the same with right checksums
    for length in 8..24 {
        let mut short = hello[..length].to_vec();
        short.extend(crc32c(&short).to_le_bytes());
        assert_eq!(deliver(&mut network, A, &short).0, Receipt::Dropped(Dropped::Length), "{length}");
    }
    // a right length field, longer than any message
    for (words, expected) in [(1000, Dropped::HashChain), (1100, Dropped::Length)] {
        let long = seal(1, ssrc(B), &message::build(b"Commit  ", &[&vec![0; 4 * words]]));
        assert_eq!(deliver(&mut network, A, &long).0, Receipt::Dropped(expected), "{words}");
    }
    let message = hello[12..hello.len() - 4].to_vec();
    for length in (0..message.len()).step_by(4).chain([message.len() + 4, 5000]) {
        // a right checksum over the wrong length
        let mut other = message.clone();
        other.resize(length, 0);
        let (receipt, _) = deliver(&mut network, A, &seal(1, ssrc(B), &other));
        assert_eq!(receipt, Receipt::Dropped(Dropped::Length), "{length}");
    }
}

#[test]
fn length_field_off() {
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    for length in (0..64u16).chain([0xffff]) {
        let mut broken = hello.clone();
        let right = u16::from_be_bytes([hello[14], hello[15]]);
        change(&mut broken, |message| message[2..4].copy_from_slice(&length.to_be_bytes()));
        if length != right {
            assert_eq!(deliver(&mut network, A, &broken).0, Receipt::Dropped(Dropped::Length), "{length}");
        }
    }
}

/// A length field that is right for the datagram and wrong for the type.
#[test]
fn length_wrong_for_the_type() {
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    deliver(&mut network, A, &hello);
    for kind in [
        b"Hello   ",
        b"HelloACK",
        b"Commit  ",
        b"DHPart1 ",
        b"DHPart2 ",
        b"Confirm1",
        b"Confirm2",
        b"Conf2ACK",
        b"Error   ",
        b"ErrorACK",
        b"GoClear ",
        b"ClearACK",
        b"SASrelay",
        b"RelayACK",
        b"Ping    ",
        b"PingACK ",
    ] {
        let mut taken = Vec::new();
        for words in 0..1000 {
            if message::parse(&message::build(kind, &[&vec![0; 4 * words]])).is_ok() {
                taken.push(words + 3);
            }
        }
        let expected: (usize, usize, usize) = match kind {
            b"Hello   " => (22, 22, 1), // all counts zero
            b"HelloACK" | b"Conf2ACK" | b"ErrorACK" | b"ClearACK" | b"RelayACK" => (3, 3, 1),
            b"Commit  " => (21, 1002, 982),               // judged with the key agreement
            b"DHPart1 " | b"DHPart2 " => (21, 1002, 982), // as well
            b"Confirm1" | b"Confirm2" => (19, 19 + 511, 512),
            b"Error   " => (4, 4, 1),
            b"GoClear " => (5, 5, 1),
            b"SASrelay" => (19, 1002, 984),
            b"Ping    " => (6, 6, 1),
            _ => (9, 9, 1),
        };
        assert_eq!((taken[0], taken[taken.len() - 1], taken.len()), expected, "{}", String::from_utf8_lossy(kind));
    }
}

#[test]
fn unknown_type_and_preamble() {
    let mut network = responder_and_initiator();
    let unknown = seal(1, ssrc(B), &message::build(b"Hello2  ", &[]));
    assert_eq!(deliver(&mut network, A, &unknown), (Receipt::Dropped(Dropped::UnknownType), vec![]));
    let mut preamble = hello_of(&mut network, B);
    change(&mut preamble, |message| message[0] = 0x51);
    assert_eq!(deliver(&mut network, A, &preamble), (Receipt::Dropped(Dropped::Malformed), vec![]));
}

#[test]
fn eight_algorithms() {
    for kind in 0..5 {
        let mut network = responder_and_initiator();
        network.parties[B].engine.change_hello(|hello| {
            let lists = [
                &mut hello.hashes,
                &mut hello.ciphers,
                &mut hello.auth_tags,
                &mut hello.agreements,
                &mut hello.sas_types,
            ];
            let list = lists.into_iter().nth(kind).unwrap();
            *list = vec![*b"XXXX"; 8];
        });
        let hello = hello_of(&mut network, B);
        assert_eq!(deliver(&mut network, A, &hello), (Receipt::Dropped(Dropped::Malformed), vec![]));
        // seven, all unknown, are no fault
        network.parties[B].engine.change_hello(|hello| hello.agreements = vec![*b"XXXX"; 7]);
        a_while(&mut network);
        assert!(network.both_secure());
    }
}

#[test]
fn the_twelve_unused_bits_are_ignored() {
    let mut network = responder_and_initiator();
    let mut hello = hello_of(&mut network, B);
    (hello[0], hello[1]) = (0x1e, 0xff);
    change(&mut hello, |_| {});
    assert_eq!(deliver(&mut network, A, &hello).0, Receipt::Accepted);
}

fn fragment(id: u16, total_words: u16, offset_words: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = seal(1, ssrc(B), &[]);
    datagram.truncate(12);
    datagram[0] = 0x11;
    for number in [id, total_words, offset_words, (data.len() / 4) as u16] {
        datagram.extend(number.to_be_bytes());
    }
    datagram.extend(data);
    let crc = crc32c(&datagram).to_le_bytes();
    datagram.extend(crc);
    datagram
}

#[test]
fn fragments_make_a_message() {
    let mut network = responder_and_initiator();
    let message = network.parties[B].engine.hello_message().to_vec();
    let words = (message.len() / 4) as u16;
    let pieces = [fragment(5, words, 0, &message[..40]), fragment(5, words, 10, &message[40..])];
    // in any order, with repetitions
    assert_eq!(deliver(&mut network, A, &pieces[1]).0, Receipt::Dropped(Dropped::Incomplete));
    assert_eq!(deliver(&mut network, A, &pieces[1]).0, Receipt::Dropped(Dropped::Incomplete));
    let (receipt, answers) = deliver(&mut network, A, &pieces[0]);
    assert_eq!(receipt, Receipt::Accepted);
    assert_eq!(kind(&answers[0]), "HelloACK");
}

#[test]
fn fragments_out_of_bounds() {
    let mut network = responder_and_initiator();
    let mut refused =
        |datagram: &[u8]| assert_eq!(deliver(&mut network, A, datagram), (Receipt::Dropped(Dropped::Fragment), vec![]));
    refused(&fragment(1, 10, 11, &[0; 8])); // offset beyond the total
    refused(&fragment(1, 10, 9, &[0; 8])); // end beyond the total
    refused(&fragment(1, 0xffff, 0, &[0; 8])); // a message of 256 KiB
    refused(&fragment(1, 1025, 0, &[0; 8])); // more than 4 KiB
    refused(&fragment(1, 0, 0, &[0; 8]));
    // a length that is not what is there
    let mut lying = fragment(1, 10, 0, &[0; 8]);
    lying[19] = 3;
    change(&mut lying, |_| {});
    refused(&lying);
}

#[test]
fn fragments_that_overlap_or_are_too_many() {
    let mut network = responder_and_initiator();
    assert_eq!(deliver(&mut network, A, &fragment(1, 30, 0, &[0; 40])).0, Receipt::Dropped(Dropped::Incomplete));
    assert_eq!(deliver(&mut network, A, &fragment(1, 30, 9, &[0; 40])).0, Receipt::Dropped(Dropped::Fragment));
    for piece in 0..8 {
        assert_eq!(deliver(&mut network, A, &fragment(2, 30, piece, &[0; 4])).0, Receipt::Dropped(Dropped::Incomplete));
    }
    assert_eq!(deliver(&mut network, A, &fragment(2, 30, 8, &[0; 4])).0, Receipt::Dropped(Dropped::Fragment));
}

#[test]
fn fragments_live_for_two_seconds() {
    let mut network = responder_and_initiator();
    let message = network.parties[B].engine.hello_message().to_vec();
    let words = (message.len() / 4) as u16;
    deliver(&mut network, A, &fragment(5, words, 0, &message[..40]));
    network.now += Duration::from_millis(2001);
    assert_eq!(
        deliver(&mut network, A, &fragment(5, words, 10, &message[40..])).0,
        Receipt::Dropped(Dropped::Incomplete)
    );
}
