//! SDES: keys in the session description (RFC 4568).
//!
//! Whoever reads the description knows the keys, so policy counts them only over checked signalling. Which `a=crypto`
//! line is taken is the offerer's order (RFC 4568 §7.1.2), through policy's eyes. The same keys offered again keep their
//! contexts, with their rollover counters; a new key gets new contexts on both sides (RFC 4568 §7.1.4).

use super::{Keyed, KeyingError};
use crate::policy::{KeyFacts, KeyingMethod, MayAnswer, MayKey, Refusal, Rules, SuiteStrength, judge};
use crate::sdp::CryptoAttribute;
use crate::secret::Secret;
use crate::srtp::{MasterKey, Protector, Suite, Unprotector};
use crate::units::Random;

/// A lifetime that no call reaches: 2^31 packets are 497 days of speech. Shorter ones would need a renewal that we do not do.
const ENDLESS: u64 = 1 << 31;

/// Answers an offer: chooses among its lines (`theirs`) and makes a key of our own for the chosen one.
///
/// `before` are the dialog's keys, if it has any: offered again, they stay.
///
/// # Errors
/// Policy's refusal if no line is good enough.
pub fn answer(
    proof: MayAnswer,
    rules: &Rules,
    theirs: &[CryptoAttribute],
    before: Option<&Keyed>,
    random: &mut dyn Random,
) -> Result<Keyed, KeyingError> {
    if let Some(before) = before
        && let Some(line) = theirs.iter().find(|line| before.is_theirs(line))
    {
        let may_key = may_key(&proof, rules, strength(line))?;
        return Ok(Keyed::kept(&may_key, before, line.tag));
    }
    let (line, suite, may_key) = choose(theirs, &proof, rules)?;
    Keyed::new(&may_key, suite, fresh(line.tag, suite, random), line)
}

/// One fresh key for each suite, under the tags 1, 2, ...: what we offer.
pub fn offer(suites: &[Suite], random: &mut dyn Random) -> Vec<CryptoAttribute> {
    (1..).zip(suites).map(|(tag, suite)| fresh(tag, *suite, random)).collect()
}

/// Takes the answer (`theirs`) to an offer of ours, whose lines were `ours`.
///
/// # Errors
/// Policy's refusal, or an answer that does not fit the offer.
pub fn accept(
    proof: MayAnswer,
    rules: &Rules,
    ours: &[CryptoAttribute],
    theirs: &[CryptoAttribute],
    before: Option<&Keyed>,
) -> Result<Keyed, KeyingError> {
    let (line, suite, may_key) = choose(theirs, &proof, rules)?;
    let our_line = ours
        .iter()
        .find(|ours| ours.tag == line.tag && Suite::parse(&ours.suite) == Some(suite))
        .ok_or(KeyingError::NotOffered)?;
    if ours.iter().any(|ours| ours.key.equals(line.key.expose())) {
        return Err(KeyingError::Reflected);
    }
    match before {
        Some(before) if before.is_theirs(line) && before.ours.key.equals(our_line.key.expose()) => {
            Ok(Keyed::kept(&may_key, before, line.tag))
        }
        _ => {
            let ours = CryptoAttribute::new(line.tag, suite.as_str(), our_line.key.duplicate());
            Keyed::new(&may_key, suite, ours, line)
        }
    }
}

impl Keyed {
    fn new(
        proof: &MayKey,
        suite: Suite,
        ours: CryptoAttribute,
        theirs: &CryptoAttribute,
    ) -> Result<Keyed, KeyingError> {
        let sending = MasterKey::new(suite, ours.key.duplicate())?;
        let receiving = MasterKey::new(suite, theirs.key.duplicate())?;
        let contexts = Some((Protector::new(proof, &sending)?, Unprotector::new(proof, &receiving)?));
        Ok(Keyed { suite, level: proof.level(), ours, theirs: theirs.key.duplicate(), contexts })
    }

    fn kept(proof: &MayKey, before: &Keyed, tag: u32) -> Keyed {
        let ours = CryptoAttribute::new(tag, before.suite.as_str(), before.ours.key.duplicate());
        let theirs = before.theirs.duplicate();
        Keyed { suite: before.suite, level: proof.level(), ours, theirs, contexts: None }
    }

    fn is_theirs(&self, line: &CryptoAttribute) -> bool {
        Suite::parse(&line.suite) == Some(self.suite) && self.theirs.equals(line.key.expose())
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

fn fresh(tag: u32, suite: Suite, random: &mut dyn Random) -> CryptoAttribute {
    let mut key = vec![0; suite.key_len() + suite.salt_len()];
    random.fill(&mut key);
    CryptoAttribute::new(tag, suite.as_str(), Secret::new(key))
}

/// How strong a line is: as its weakest part.
pub(super) fn strength(line: &CryptoAttribute) -> SuiteStrength {
    let suite = match Suite::parse(&line.suite) {
        Some(suite) if line.key.expose().len() != suite.key_len() + suite.salt_len() => SuiteStrength::Unknown,
        Some(suite) if suite.rtp_tag_len() < 10 => SuiteStrength::ShortTag,
        Some(_) => SuiteStrength::Full,
        None if without_cipher(&line.suite) => SuiteStrength::Forbidden,
        None => SuiteStrength::Unknown,
    };
    let renewals = line.mki.is_some() || line.lifetime.is_some_and(|packets| packets < ENDLESS);
    let renewals = if renewals { SuiteStrength::Unknown } else { SuiteStrength::Full };
    let parameters = line.session_params.iter().map(|parameter| session_parameter(parameter));
    parameters.fold(suite.min(renewals), SuiteStrength::min)
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
