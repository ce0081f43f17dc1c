//! The ratchet: what an account has shown often enough is asked of it from then on, until a person clears it by command.
//!
//! In: [`Floors`], which somebody remembers. Out: refusals that name the command. No setting and no exception lowers a floor: an
//! operator who means it says so once more.

use super::facts::{LoginScheme, MediaLevel, TlsVersion};
use super::rules::{Rules, connection, media};
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

/// Whenever the provider asks for the account's password, by the best way that it offers.
pub(super) fn login(rules: &Rules, scheme: LoginScheme) -> Result<(), Refusal> {
    if rules.floors.digest && scheme < LoginScheme::DigestSha2 {
        return Err(connection(
            Rule::RatchetDigest,
            format!("The provider of {} asks for a weaker password hash (MD5) than it did before", rules.account),
            clear(rules),
        ));
    }
    Ok(())
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
    use super::*;

    fn held(floors: Floors) -> Rules {
        Rules { floors, ..Rules::strict("alice@sip.example.org") }
    }

    #[test]
    fn each_floor_refuses_what_is_below_it_and_nothing_else_and_names_the_command() {
        let none = held(Floors::default());
        let all = held(Floors { digest: true, tls: true, media: true, caller: true });
        let refusals = [
            (login(&all, LoginScheme::DigestMd5), Rule::RatchetDigest, 403),
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
        assert!(login(&all, LoginScheme::DigestSha2).is_ok());
        assert!(tls(&all, TlsVersion::Tls13).is_ok() && sound(&all, MediaLevel::Zrtp).is_ok());
        assert!(login(&none, LoginScheme::DigestMd5).is_ok() && tls(&none, TlsVersion::Tls12).is_ok());
        assert!(sound(&none, MediaLevel::Clear).is_ok(), "whether clear sound is taken at all is for others to say");
        let media = held(Floors { media: true, ..Floors::default() });
        assert!(sound(&media, MediaLevel::Srtp).is_ok() && sound(&media, MediaLevel::Clear).is_err());
    }
}
