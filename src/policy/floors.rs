//! The ratchet: what an account has shown often enough is asked of it from then on, until a person clears it by command.
//!
//! In: [`Floors`], which somebody remembers, and one moment more: a challenge. Out: refusals that name the command. No setting and no
//! exception lowers a floor: an operator who means it says so once more.

use super::facts::{MediaLevel, TlsVersion};
use super::rules::{Moment, Rules, connection, media, sealed::Weigh};
use super::verdict::{Refusal, Rule};

/// What an account, and who calls it, is held to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Floors {
    /// The provider asked for SHA-256 or better.
    pub digest: bool,
    /// The provider spoke TLS 1.3.
    pub tls: bool,
    /// Calls had SRTP or better.
    pub media: bool,
    /// The caller had ZRTP, with a code that a person has compared.
    pub caller: bool,
}

/// What a challenge would have the password hashed with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum DigestStrength {
    /// MD5.
    Md5,
    /// SHA-256 or SHA-512/256 (RFC 8760).
    Sha2,
}

/// The provider asks for the account's password, in the best of the ways that it offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChallengeFacts {
    /// The strength of that way.
    pub strength: DigestStrength,
}

/// A challenge may be answered.
#[derive(Debug)]
pub struct MayRespond {
    _private: (),
}

impl Moment for ChallengeFacts {
    type Proof = MayRespond;
}

impl Weigh for ChallengeFacts {
    type Allowed = MayRespond;

    fn weigh(&self, rules: &Rules) -> Result<MayRespond, Refusal> {
        if rules.floors.digest && self.strength < DigestStrength::Sha2 {
            return Err(connection(
                Rule::RatchetDigest,
                format!("The provider of {} asks for a weaker password hash (MD5) than it did before", rules.account),
                clear(rules),
            ));
        }
        Ok(MayRespond { _private: () })
    }
}

/// After the handshake.
pub(super) fn tls(rules: &Rules, version: TlsVersion) -> Result<(), Refusal> {
    if rules.floors.tls && version < TlsVersion::Tls13 {
        return Err(connection(
            Rule::RatchetTls,
            format!("The server of {} negotiated TLS 1.2, and has spoken TLS 1.3 before", rules.account),
            clear(rules),
        ));
    }
    Ok(())
}

/// Whenever sound would get a level.
pub(super) fn sound(rules: &Rules, level: MediaLevel) -> Result<(), Refusal> {
    if rules.floors.media && level < MediaLevel::Srtp {
        return Err(media(
            Rule::RatchetMedia,
            format!("The sound would not be encrypted, and calls to {} were before", rules.account),
            clear(rules),
        ));
    }
    if rules.floors.caller && level < MediaLevel::Zrtp {
        return Err(media(
            Rule::RatchetCaller,
            "This caller came with ZRTP and a compared code before, and comes without it now",
            format!("Have the phone call with ZRTP again. {}", clear(rules)),
        ));
    }
    Ok(())
}

fn clear(rules: &Rules) -> String {
    format!(
        "Ask who is responsible whether that is meant. If it is, run: galene-sips ratchet clear {}. A [[policy.exception]] alone does not do",
        rules.account
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::super::judge;
    use super::*;

    fn held(floors: Floors) -> Rules {
        Rules { floors, ..Rules::strict("alice@sip.example.org") }
    }

    #[test]
    fn each_floor_refuses_what_is_below_it_and_nothing_else_and_names_the_command() {
        let none = held(Floors::default());
        let all = held(Floors { digest: true, tls: true, media: true, caller: true });
        let md5 = ChallengeFacts { strength: DigestStrength::Md5 };
        let refusals = [
            (judge(&all, &md5).allowed().map(drop), Rule::RatchetDigest, 403),
            (tls(&all, TlsVersion::Tls12), Rule::RatchetTls, 403),
            (sound(&all, MediaLevel::Clear), Rule::RatchetMedia, 488),
            (sound(&all, MediaLevel::Srtp), Rule::RatchetCaller, 488),
        ];
        for (verdict, rule, status) in refusals {
            let refusal = verdict.unwrap_err();
            assert_eq!((refusal.rule, refusal.sip_status), (rule, status));
            assert!(refusal.hint.contains("galene-sips ratchet clear alice@sip.example.org"), "{refusal:?}");
            assert!(refusal.hint.contains("[[policy.exception]] alone does not do"), "{refusal:?}");
        }
        assert!(judge(&all, &ChallengeFacts { strength: DigestStrength::Sha2 }).allowed().is_ok());
        assert!(tls(&all, TlsVersion::Tls13).is_ok() && sound(&all, MediaLevel::Zrtp).is_ok());
        assert!(judge(&none, &md5).allowed().is_ok() && tls(&none, TlsVersion::Tls12).is_ok());
        assert!(sound(&none, MediaLevel::Clear).is_ok(), "whether clear sound is taken at all is for others to say");
        let media = held(Floors { media: true, ..Floors::default() });
        assert!(sound(&media, MediaLevel::Srtp).is_ok() && sound(&media, MediaLevel::Clear).is_err());
    }
}
