//! SDES: keys in the session description (RFC 4568).
//!
//! Whoever reads the description knows the keys, so policy counts them only over checked signalling. Which `a=crypto`
//! line is taken is the offerer's order (RFC 4568 §7.1.2), through policy's eyes. The same keys offered again keep their
//! contexts, with their rollover counters; a new key gets new contexts on both sides (RFC 4568 §7.1.4).

use super::{Keys, strength_of};
use crate::policy::{
    Current, KeyFacts, KeyingMethod, MayAnswer, MayKey, Refusal, Rules, SignallingLevel, SuiteStrength, judge,
};
use crate::sdp::{AudioOffer, CryptoAttribute};
use crate::secret::Secret;
use crate::srtp::{KeyError, MasterKey, Protector, Suite, Unprotector};
use crate::units::{CallNumber, Random};

/// A lifetime that no call reaches: 2^31 packets are 497 days of speech. Shorter ones would need a renewal that we do not do.
const ENDLESS: u64 = 1 << 31;

/// No suite's key protects more packets (RFC 3711 §9.2), so a longer lifetime makes the line invalid (RFC 4568 §6.1).
const LONGEST: u64 = 1 << 48;

/// The keys of a dialog, as its next offer or answer will need them.
#[derive(Debug)]
pub struct Sdes {
    suite: Suite,
    ours: CryptoAttribute,
    theirs: Secret<Vec<u8>>,
}

/// What came of an offer or an answer. Replaces the dialog's [`Sdes`] once the exchange has succeeded.
pub struct Agreed {
    /// The dialog's keys from now on.
    pub sdes: Sdes,
    /// New contexts; `None` if the keys are the old ones, whose contexts go on.
    pub keys: Option<Keys>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyingError {
    /// Policy said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The cryptographic library said no.
    #[error(transparent)]
    Srtp(#[from] KeyError),
    /// There is not one key to choose from.
    #[error("the phone's description brings no key")]
    NoKey,
    /// An answer takes a line that was not offered (RFC 4568 §5.1.3).
    #[error("the phone's answer takes a key that was not offered")]
    NotOffered,
    /// An answer sends our own key back, so that our own packets would pass for the phone's.
    #[error("the phone's answer brings the gateway's own key back")]
    Reflected,
}

/// How strong a line is: as its weakest part.
pub(super) fn strength(line: &CryptoAttribute) -> SuiteStrength {
    let suite = match Suite::parse(&line.suite) {
        Some(suite) if line.key.expose().len() != suite.key_len() + suite.salt_len() => SuiteStrength::Unknown,
        Some(suite) => strength_of(suite),
        None if without_cipher(&line.suite) => SuiteStrength::Forbidden,
        None => SuiteStrength::Unknown,
    };
    let renewals = line.mki.is_some() || line.lifetime.is_some_and(|packets| !(ENDLESS..=LONGEST).contains(&packets));
    let parameters = line.session_params.iter().map(|parameter| session_parameter(parameter)).min();
    let worst = if renewals { SuiteStrength::Unknown } else { SuiteStrength::Full };
    suite.min(worst).min(parameters.unwrap_or(SuiteStrength::Full))
}

fn without_cipher(suite: &str) -> bool {
    let suite = suite.to_ascii_uppercase();
    suite.contains("NULL") || suite.starts_with("F8_")
}

/// A session parameter of RFC 4568 §6.3. A hint for the window's size may be ignored, and so may what is marked as optional.
fn session_parameter(parameter: &str) -> SuiteStrength {
    let name = parameter.split('=').next().unwrap_or_default().to_ascii_uppercase();
    let name = name.as_str();
    if name.contains("UNENCRYPTED_") || name.contains("UNAUTHENTICATED_") {
        SuiteStrength::Forbidden
    } else if name == "WSH" || name.starts_with('-') {
        SuiteStrength::Full
    } else {
        SuiteStrength::Unknown
    }
}

/// One fresh key for each suite, under the tags 1, 2, ...
pub fn offer(suites: &[Suite], random: &mut dyn Random) -> Vec<CryptoAttribute> {
    (1..).zip(suites).map(|(tag, suite)| fresh(tag, *suite, random)).collect()
}

fn fresh(tag: u32, suite: Suite, random: &mut dyn Random) -> CryptoAttribute {
    let mut key = vec![0; suite.key_len() + suite.salt_len()];
    random.fill(&mut key);
    CryptoAttribute::new(tag, suite.as_str(), Secret::new(key))
}

impl Sdes {
    /// What we offer: a fresh key for each suite that policy allows. In a dialog that has keys, ours goes on and comes
    /// first, as our address stays (RFC 4568 §7.1.4).
    ///
    /// # Errors
    /// Policy's refusal if it allows no suite.
    pub fn offer(
        previous: Option<&Sdes>,
        call: CallNumber,
        signalling: SignallingLevel,
        current: Option<Current>,
        rules: &Rules,
        random: &mut dyn Random,
    ) -> Result<Vec<CryptoAttribute>, Refusal> {
        let (mut suites, mut refused) = (Vec::new(), None);
        for suite in Suite::ALL {
            let suite_strength = strength_of(suite);
            let facts = KeyFacts { call, signalling, method: KeyingMethod::Sdes, suite: suite_strength, current };
            match judge(rules, &facts).allowed() {
                Ok(_) => suites.push(suite),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        match refused {
            Some(refusal) if suites.is_empty() => return Err(refusal),
            _ => {}
        }
        suites.sort_by_key(|suite| previous.is_none_or(|previous| previous.suite != *suite));
        let mut lines = offer(&suites, random);
        if let (Some(previous), Some(first)) = (previous, lines.first_mut())
            && suites.first() == Some(&previous.suite)
        {
            first.key = previous.ours.key.duplicate();
        }
        Ok(lines)
    }

    /// Answers an offer: chooses a line, and makes a key of our own for it.
    ///
    /// `previous` are the dialog's keys, if it has any: offered again, they stay.
    ///
    /// # Errors
    /// Policy's refusal if no line is good enough. `previous` and its contexts remain as they are.
    pub fn answer(
        previous: Option<&Sdes>,
        audio: &AudioOffer,
        proof: MayAnswer,
        rules: &Rules,
        random: &mut dyn Random,
    ) -> Result<Agreed, KeyingError> {
        if let Some(previous) = previous
            && let Some(line) = audio.cryptos.iter().find(|line| previous.is_theirs(line))
        {
            may_key(&proof, rules, strength(line))?;
            return Ok(Agreed { sdes: previous.with_tag(line.tag), keys: None });
        }
        let (line, suite, may_key) = choose(&audio.cryptos, &proof, rules)?;
        let sdes = Sdes { suite, ours: fresh(line.tag, suite, random), theirs: line.key.duplicate() };
        let keys = sdes.keys(&may_key)?;
        Ok(Agreed { sdes, keys: Some(keys) })
    }

    /// Takes the answer to an offer of ours, whose lines were `ours`. An answer with another key than before comes from
    /// who may not know how far our stream has got, so it gets new contexts, even where our key goes on: its streams must
    /// then have SSRCs that the old contexts never saw (RFC 3711 §9.1).
    ///
    /// # Errors
    /// Policy's refusal, or an answer that does not fit the offer.
    pub fn accept(
        previous: Option<&Sdes>,
        ours: &[CryptoAttribute],
        audio: &AudioOffer,
        proof: MayAnswer,
        rules: &Rules,
    ) -> Result<Agreed, KeyingError> {
        let (line, suite, may_key) = choose(&audio.cryptos, &proof, rules)?;
        let our_line = ours
            .iter()
            .find(|ours| ours.tag == line.tag && Suite::parse(&ours.suite) == Some(suite))
            .ok_or(KeyingError::NotOffered)?;
        if ours.iter().any(|ours| ours.key.equals(line.key.expose())) {
            return Err(KeyingError::Reflected);
        }
        let ours = CryptoAttribute::new(our_line.tag, suite.as_str(), our_line.key.duplicate());
        let sdes = Sdes { suite, ours, theirs: line.key.duplicate() };
        if previous.is_some_and(|old| old.is_theirs(line) && old.ours.key.equals(sdes.ours.key.expose())) {
            return Ok(Agreed { sdes, keys: None });
        }
        let keys = sdes.keys(&may_key)?;
        Ok(Agreed { sdes, keys: Some(keys) })
    }

    /// Our line: for the answer, and for a later offer that keeps the keys.
    pub fn ours(&self) -> CryptoAttribute {
        CryptoAttribute::new(self.ours.tag, self.suite.as_str(), self.ours.key.duplicate())
    }

    /// How strong the suite in use is.
    pub fn strength(&self) -> SuiteStrength {
        strength_of(self.suite)
    }

    /// The suite in use.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    fn is_theirs(&self, line: &CryptoAttribute) -> bool {
        Suite::parse(&line.suite) == Some(self.suite) && self.theirs.equals(line.key.expose())
    }

    fn with_tag(&self, tag: u32) -> Sdes {
        let ours = CryptoAttribute::new(tag, self.suite.as_str(), self.ours.key.duplicate());
        Sdes { suite: self.suite, ours, theirs: self.theirs.duplicate() }
    }

    fn keys(&self, proof: &MayKey) -> Result<Keys, KeyError> {
        let ours = MasterKey::new(self.suite, self.ours.key.duplicate())?;
        let theirs = MasterKey::new(self.suite, self.theirs.duplicate())?;
        Ok(Keys {
            protector: Protector::new(proof, &ours)?,
            unprotector: Unprotector::new(proof, &theirs)?,
            suite: self.suite,
            level: proof.level(),
            exception: proof.exception().map(std::sync::Arc::clone),
        })
    }
}

/// The first line that policy allows; else its refusal of the best one.
fn choose<'a>(
    lines: &'a [CryptoAttribute],
    proof: &MayAnswer,
    rules: &Rules,
) -> Result<(&'a CryptoAttribute, Suite, MayKey), KeyingError> {
    let mut refused: Option<(SuiteStrength, Refusal)> = None;
    for line in lines {
        let strength = strength(line);
        match (Suite::parse(&line.suite), may_key(proof, rules, strength)) {
            (Some(suite), Ok(may_key)) => return Ok((line, suite, may_key)),
            (_, Err(refusal)) if refused.as_ref().is_none_or(|(best, _)| strength > *best) => {
                refused = Some((strength, refusal));
            }
            _ => {}
        }
    }
    Err(refused.map_or(KeyingError::NoKey, |(_, refusal)| refusal.into()))
}

fn may_key(proof: &MayAnswer, rules: &Rules, suite: SuiteStrength) -> Result<MayKey, Refusal> {
    let facts = KeyFacts {
        call: proof.call(),
        signalling: proof.signalling(),
        method: KeyingMethod::Sdes,
        suite,
        current: proof.current(),
    };
    judge(rules, &facts).allowed()
}
