//! What an engine says: packets to send, keys to install, secrets to keep, and how it went.

use crate::{AuthTag, Cipher, Failure, Remember, SasType, Secret, Suite, Zid, sas::Sas};

/// One thing for the caller to do. They come in the order in which they must be done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Send this datagram from the RTP socket. Losing it is allowed, keeping it for later is not: the engine retransmits.
    Transmit(Vec<u8>),
    /// The peer speaks ZRTP: its first acceptable Hello has arrived.
    PeerFound(Peer),
    /// Nothing answered our Hellos and their schedule is over (§6). A late peer is still accepted; what silence means is
    /// the caller's policy.
    Unanswered,
    /// Something that a person should know and that does not end the exchange.
    Warning(Warning),
    /// Install these for receiving *now*: the packet that lets the peer send SRTP comes after this.
    ReceiveKeys(SrtpKeys),
    /// Install these for sending. Comes with [`Output::Secure`], never earlier.
    SendKeys(SrtpKeys),
    /// Store this now.
    Remember(Remember),
    /// The exchange is complete. It proves nothing about who the peer is before a person compared the SAS, in this call or,
    /// if [`Secure::verified`] says so, in an earlier one.
    Secure(Box<Secure>),
    /// The exchange has ended without keys. Nothing was stored.
    Failed(Failure),
}

/// What a Hello says of its sender. All of it is unauthenticated until [`Output::Secure`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its ZID.
    pub zid: Zid,
    /// Its SSRC.
    pub ssrc: u32,
    /// Its client identifier, 16 octets that may hold anything: do not print them unescaped.
    pub client_id: [u8; 16],
    /// Flag M: it declares itself a trusted man in the middle, a PBX (§7.3). Show it as a warning.
    pub is_pbx: bool,
    /// Whether the Hello is the one that the signalling announced ([`Engine::announced`](crate::Engine::announced)).
    pub announced: bool,
}

/// SRTP master key and salt of one direction.
#[derive(Debug)]
pub struct SrtpKeys {
    /// How they are to be used.
    pub profile: SrtpProfile,
    /// Master key.
    pub key: Secret,
    /// Master salt.
    pub salt: Secret,
}

/// How SRTP is to be used: no MKI, key derivation rate 0, SRTCP from the same master keys (§4.5.3). With `HS32` the tag of
/// SRTCP still has 80 bits (RFC 3711 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SrtpProfile {
    /// Cipher and so the key length.
    pub cipher: Cipher,
    /// Authentication tag; [`AuthTag::Gcm`] means AES-GCM.
    pub auth_tag: AuthTag,
}

/// Which side sent the Commit that counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Sent it.
    Initiator,
    /// Received it.
    Responder,
}

impl Role {
    /// The other side's.
    pub const fn other(self) -> Role {
        match self {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        }
    }
}

/// A completed exchange.
#[derive(Debug)]
#[non_exhaustive]
pub struct Secure {
    /// The short authentication string.
    pub sas: Sas,
    /// What it runs on.
    pub suite: Suite,
    /// Which side we were.
    pub role: Role,
    /// The peer, from its Hello, which is authenticated now as far as the SAS is.
    pub peer: Peer,
    /// What the retained secrets said.
    pub continuity: Continuity,
    /// What the auxiliary secret said.
    pub aux: AuxSecret,
    /// The SAS was compared and found equal in an earlier call, by both sides' account, and the retained secret matched.
    pub verified: bool,
    /// The SAS was compared by our side's account (our flag V). [`Secure::verified`] also needs the peer's.
    pub verified_here: bool,
    /// Flag D: the peer's device discloses the session key to someone (§11). Show it as a warning.
    pub peer_discloses: bool,
}

impl Secure {
    /// How the SAS is shown under the agreed type: four characters, or two words.
    pub fn sas_text(&self) -> String {
        match self.suite.sas {
            SasType::B32 => self.sas.base32().to_string(),
            SasType::B256 => self.sas.words().join(" "),
        }
    }
}

/// What the retained secrets said (§4.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Continuity {
    /// We kept nothing for this ZID.
    FirstContact,
    /// A kept secret matched: this is the peer of the earlier calls.
    Match,
    /// We kept a secret and the peer does not have it: it lost its cache, or somebody is in the middle. Have the SAS
    /// compared. The cache stays as it was until [`Engine::sas_compared`](crate::Engine::sas_compared) says that it was equal (§4.6.1.1).
    Mismatch,
}

/// What the auxiliary secret said.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AuxSecret {
    /// We have none.
    None,
    /// Both have the same.
    Match,
    /// The peer has none or another.
    Mismatch,
}

/// Something that a person should know and that does not end the exchange.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Warning {
    /// A Hello came that is not the one that the signalling announced. It was ignored. Said once.
    HelloNotAnnounced,
    /// Two different Hellos came before the exchange began: one of them is not the peer's. Said once.
    SecondHello,
    /// A message did not continue the peer's hash chain: it is not the peer's. It was ignored. Said once.
    ForgedMessage,
    /// The peer asked to go on without encryption (GoClear). It was refused. Said once.
    GoClearRefused,
    /// The peer, a PBX, relayed a SAS. It was acknowledged and ignored. Said once.
    SasRelayIgnored,
}

/// What became of a received packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Receipt {
    /// It was used, but nothing ties it to the signalling.
    Accepted,
    /// It was used, and it is tied to the Hello that the signalling announced: its source address may be trusted
    /// as far as the signalling is.
    Bound,
    /// It was ignored.
    Dropped(crate::Dropped),
}
