//! ZRTP messages (RFC 6189 §5.2–5.16): octets to types and back.
//!
//! In: a message whose length field is right. Out: a typed view that borrows it, or why there is none. Lengths are checked
//! exactly, against the type and, for Commit and DHPart, the key agreement.

use crate::algorithms::Name;
use crate::hash::{SHORT, message_mac};
use crate::wire::{self, MESSAGE_HEADER, PREAMBLE};
use crate::{AuthTag, Cipher, Dropped, Failure, Hash, KeyAgreement, Offer, SasType, Suite, Zid};

/// Version of the protocol.
pub(crate) const VERSION: [u8; 4] = *b"1.10";

/// A message of the peer.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    Hello(Hello),
    HelloAck,
    Commit(Commit<'a>),
    DhPart1(DhPart<'a>),
    DhPart2(DhPart<'a>),
    Confirm1(Confirm<'a>),
    Confirm2(Confirm<'a>),
    Conf2Ack,
    Error(u32),
    ErrorAck,
    GoClear,
    ClearAck,
    SasRelay,
    RelayAck,
    Ping { endpoint: [u8; 8] },
    PingAck,
}

/// A Hello (§5.2). Owned, because it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    pub(crate) version: [u8; 4],
    pub(crate) client_id: [u8; 16],
    pub(crate) h3: [u8; 32],
    pub(crate) zid: Zid,
    /// M: a PBX.
    pub(crate) is_pbx: bool,
    /// P: never sends a Commit.
    pub(crate) is_passive: bool,
    pub(crate) hashes: Vec<Name>,
    pub(crate) ciphers: Vec<Name>,
    pub(crate) auth_tags: Vec<Name>,
    pub(crate) agreements: Vec<Name>,
    pub(crate) sas_types: Vec<Name>,
}

/// A Commit (§5.4), with the names not yet judged.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    pub(crate) h2: [u8; 32],
    pub(crate) zid: Zid,
    /// Hash, cipher, authentication tag, key agreement, SAS.
    pub(crate) names: [Name; 5],
    /// All between the names and the MAC.
    pub(crate) tail: &'a [u8],
}

/// DHPart1 or DHPart2 (§5.5, §5.6).
#[derive(Debug)]
pub(crate) struct DhPart<'a> {
    pub(crate) h1: [u8; 32],
    pub(crate) ids: SecretIds,
    pub(crate) value: &'a [u8],
}

/// Hashes of shared secrets (§4.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SecretIds {
    pub(crate) rs1: [u8; SHORT],
    pub(crate) rs2: [u8; SHORT],
    pub(crate) aux: [u8; SHORT],
    pub(crate) pbx: [u8; SHORT],
}

/// Confirm1 or Confirm2 (§5.7), still encrypted.
#[derive(Debug)]
pub(crate) struct Confirm<'a> {
    pub(crate) mac: [u8; SHORT],
    pub(crate) iv: [u8; 16],
    pub(crate) ciphertext: &'a [u8],
}

/// Reads a message whose preamble and length field are right.
pub(crate) fn parse(message: &[u8]) -> Result<Message<'_>, Dropped> {
    let mut reader = Reader(message);
    reader.skip(4)?;
    let kind: [u8; 8] = reader.array()?;
    let parsed = match &kind {
        b"Hello   " => Message::Hello(hello(&mut reader)?),
        b"HelloACK" => Message::HelloAck,
        b"Commit  " => Message::Commit(commit(&mut reader)?),
        b"DHPart1 " => Message::DhPart1(dh_part(&mut reader)?),
        b"DHPart2 " => Message::DhPart2(dh_part(&mut reader)?),
        b"Confirm1" => Message::Confirm1(confirm(&mut reader)?),
        b"Confirm2" => Message::Confirm2(confirm(&mut reader)?),
        b"Conf2ACK" => Message::Conf2Ack,
        b"Error   " => Message::Error(u32::from_be_bytes(reader.array()?)),
        b"ErrorACK" => Message::ErrorAck,
        b"GoClear " => {
            reader.skip(SHORT)?;
            Message::GoClear
        }
        b"ClearACK" => Message::ClearAck,
        b"SASrelay" => {
            // MAC, IV, and at least flags, SAS type and sashash; the rest is a signature. Nothing of it is used.
            reader.skip(SHORT + 16 + 40)?;
            reader.rest();
            Message::SasRelay
        }
        b"RelayACK" => Message::RelayAck,
        b"Ping    " => {
            reader.skip(4)?;
            Message::Ping { endpoint: reader.array()? }
        }
        b"PingACK " => {
            reader.skip(4 + 8 + 8 + 4)?;
            Message::PingAck
        }
        _ => return Err(Dropped::UnknownType),
    };
    reader.end()?;
    Ok(parsed)
}

fn hello(reader: &mut Reader<'_>) -> Result<Hello, Dropped> {
    let version = reader.array()?;
    let client_id = reader.array()?;
    let h3 = reader.array()?;
    let zid = Zid(reader.array()?);
    let [flags, counts @ ..] = reader.array::<4>()?;
    // 0SMP, 8 unused bits, then five counts of four bits
    let counts = [counts[0] & 15, counts[1] >> 4, counts[1] & 15, counts[2] >> 4, counts[2] & 15];
    if counts.iter().any(|count| *count > 7) {
        return Err(Dropped::Malformed);
    }
    let mut lists = [const { Vec::new() }; 5];
    for (list, count) in lists.iter_mut().zip(counts) {
        for _ in 0..count {
            list.push(reader.array()?);
        }
    }
    reader.skip(SHORT)?;
    let [hashes, ciphers, auth_tags, agreements, sas_types] = lists;
    Ok(Hello {
        version,
        client_id,
        h3,
        zid,
        is_pbx: flags & 0x20 != 0,
        is_passive: flags & 0x10 != 0,
        hashes,
        ciphers,
        auth_tags,
        agreements,
        sas_types,
    })
}

fn commit<'a>(reader: &mut Reader<'a>) -> Result<Commit<'a>, Dropped> {
    let h2 = reader.array()?;
    let zid = Zid(reader.array()?);
    let mut names = [Name::default(); 5];
    for name in &mut names {
        *name = reader.array()?;
    }
    let tail = reader.all_but(SHORT)?;
    reader.skip(SHORT)?;
    Ok(Commit { h2, zid, names, tail })
}

fn dh_part<'a>(reader: &mut Reader<'a>) -> Result<DhPart<'a>, Dropped> {
    let h1 = reader.array()?;
    let ids = SecretIds { rs1: reader.array()?, rs2: reader.array()?, aux: reader.array()?, pbx: reader.array()? };
    let value = reader.all_but(SHORT)?;
    reader.skip(SHORT)?;
    Ok(DhPart { h1, ids, value })
}

fn confirm<'a>(reader: &mut Reader<'a>) -> Result<Confirm<'a>, Dropped> {
    let (mac, iv) = (reader.array()?, reader.array()?);
    let ciphertext = reader.rest();
    // H0, flags and expiry at least; 9 bits of signature length at most
    if ciphertext.len() < 40 || ciphertext.len() > 40 + 4 * 511 {
        return Err(Dropped::Length);
    }
    Ok(Confirm { mac, iv, ciphertext })
}

impl Commit<'_> {
    /// What the Commit chooses, if all of it is in our offer and goes together (§5.1.5); the right refusal otherwise.
    pub(crate) fn suite(&self, offer: &Offer) -> Result<Suite, Failure> {
        fn offered<T: Copy + PartialEq>(choice: Option<T>, list: &[T]) -> Option<T> {
            choice.filter(|choice| list.contains(choice))
        }
        let [hash, cipher, auth_tag, agreement, sas] = self.names;
        if self.is_preshared() {
            return Err(Failure::Preshared);
        }
        let agreement = offered(KeyAgreement::from_name(agreement), &offer.agreements).ok_or(Failure::KeyAgreement)?;
        let hash = offered(Hash::from_name(hash), &offer.hashes).ok_or(Failure::HashType)?;
        // "If ECDH-384 (EC38) is chosen as the key agreement, the negotiated hash algorithm MUST be […] SHA-384"
        if agreement == KeyAgreement::Ec38 && hash != Hash::S384 {
            return Err(Failure::HashType);
        }
        Ok(Suite {
            hash,
            agreement,
            cipher: offered(Cipher::from_name(cipher), &offer.ciphers).ok_or(Failure::CipherType)?,
            auth_tag: offered(AuthTag::from_name(auth_tag), &offer.auth_tags).ok_or(Failure::AuthTag)?,
            sas: offered(SasType::from_name(sas), &offer.sas_types).ok_or(Failure::SasType)?,
        })
    }

    /// Whether the Commit asks for Multistream mode.
    pub(crate) fn is_multistream(&self) -> bool {
        &self.names[3] == b"Mult"
    }

    /// Whether the Commit asks for Preshared mode.
    pub(crate) fn is_preshared(&self) -> bool {
        &self.names[3] == b"Prsh"
    }

    /// hvi and what follows it (the public key of X1M1), if there is as much as the key agreement says.
    pub(crate) fn commitment(&self, agreement: KeyAgreement) -> Option<(&[u8; 32], &[u8])> {
        let (hvi, value) = self.tail.split_first_chunk::<32>()?;
        (value.len() == agreement.sizes().commit).then_some((hvi, value))
    }
}

/// Reads from the front; whatever is missing or left over is a wrong length.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Dropped> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(Dropped::Length)?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Dropped> {
        self.take(N)?.try_into().map_err(|_| Dropped::Length)
    }

    fn skip(&mut self, length: usize) -> Result<(), Dropped> {
        self.take(length).map(|_| ())
    }

    fn all_but(&mut self, length: usize) -> Result<&'a [u8], Dropped> {
        self.take(self.0.len().checked_sub(length).ok_or(Dropped::Length)?)
    }

    fn rest(&mut self) -> &'a [u8] {
        core::mem::take(&mut self.0)
    }

    fn end(&self) -> Result<(), Dropped> {
        if self.0.is_empty() { Ok(()) } else { Err(Dropped::Length) }
    }
}

/// A message of that type with these parts.
pub(crate) fn build(kind: &[u8; 8], parts: &[&[u8]]) -> Vec<u8> {
    let length = MESSAGE_HEADER + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut message = Vec::with_capacity(length + SHORT);
    message.extend(PREAMBLE);
    message.extend(((length / 4) as u16).to_be_bytes());
    message.extend(kind);
    for part in parts {
        message.extend_from_slice(part);
    }
    message
}

/// The same with a MAC at its end, keyed by a link of our hash chain.
pub(crate) fn build_with_mac(kind: &[u8; 8], parts: &[&[u8]], link: &[u8; 32]) -> Vec<u8> {
    let mut message = build(kind, parts);
    let words = wire::number16(&message[2..4]) + (SHORT / 4) as u16;
    message[2..4].copy_from_slice(&words.to_be_bytes());
    let mac = message_mac(link, &message);
    message.extend(mac);
    message
}

impl Hello {
    /// The message, with its MAC keyed by H2. Flags S, M and P are 0.
    pub(crate) fn to_message(&self, h2: &[u8; 32]) -> Vec<u8> {
        let lists = [&self.hashes, &self.ciphers, &self.auth_tags, &self.agreements, &self.sas_types];
        let [hc, cc, ac, kc, sc] = lists.map(|list| list.len() as u8);
        let counts = [0, hc, cc << 4 | ac, kc << 4 | sc];
        let names: Vec<u8> = lists.into_iter().flatten().flatten().copied().collect();
        build_with_mac(b"Hello   ", &[&self.version, &self.client_id, &self.h3, &self.zid.0, &counts, &names], h2)
    }
}

impl Suite {
    /// The five names of a Commit.
    pub(crate) fn names(&self) -> Vec<u8> {
        [self.hash.name(), self.cipher.name(), self.auth_tag.name(), self.agreement.name(), self.sas.name()]
            .concat()
            .into_bytes()
    }
}

impl SecretIds {
    pub(crate) fn octets(&self) -> Vec<u8> {
        [self.rs1, self.rs2, self.aux, self.pbx].concat()
    }
}
