//! `[[policy.exception]]`: a downgrade that somebody wrote down, with a reason and an end.
//!
//! This version checks all of it and honours none: one in force is an error, one whose day is over counts for nothing.

use super::table::Section;
use super::{Account, ConfigError, Date};

pub(super) const KEYS: &[&str] = &["account", "allow", "reason", "expires", "accepted_by"];

const ALLOW: [&str; 5] =
    ["media-clear", "signalling-clear", "tls-unverified", "tls-wildcard-name", "digest-md5-over-clear"];
const REASON_CHARACTERS: usize = 10;
const MAX_DAYS: i64 = 90;

pub(super) fn check(sections: Vec<Section<'_>>, accounts: &[Account], today: Date) -> Result<(), ConfigError> {
    for mut section in sections {
        check_one(&mut section, accounts, today)?;
    }
    Ok(())
}

fn check_one(section: &mut Section<'_>, accounts: &[Account], today: Date) -> Result<(), ConfigError> {
    let source = section.source();
    let account = section.required("account")?;
    if accounts.iter().all(|known| known.address.to_string() != account.value) {
        let what = "the exception's account is not exactly one of the [[account]]s";
        return Err(source.error(account.at, what, "Write it as user@domain; patterns are not possible"));
    }
    let allow = section.required("allow")?;
    if !ALLOW.contains(&allow.value.as_str()) {
        let remedy = format!("Write one of: {}", ALLOW.join(", "));
        return Err(source.error(allow.at, "allow names nothing that can be allowed", remedy));
    }
    let reason = section.required("reason")?;
    if reason.value.trim().chars().count() < REASON_CHARACTERS {
        let what = format!("the reason has less than {REASON_CHARACTERS} characters");
        return Err(source.error(reason.at, what, "Say why this is needed, for whoever reads it next"));
    }
    let missing =
        section.error("expires is missing in [[policy.exception]]", "Add expires = 2027-02-01, without quotes");
    let expires = section.date("expires")?.ok_or(missing)?;
    if section.required("accepted_by")?.value.trim().is_empty() {
        return Err(section.error("accepted_by is empty", "Write who answers for this"));
    }
    let days_left = expires.value.days_since(today);
    if days_left > MAX_DAYS {
        let what = format!("the exception would last {days_left} days, until {}: more than {MAX_DAYS}", expires.value);
        return Err(source.error(expires.at, what, "Write an earlier day, and look at it again then"));
    }
    if days_left >= 0 {
        let what = format!("the exception \"{}\" is not supported by this version", allow.value);
        return Err(source.error(allow.at, what, "Remove it; whatever it would have allowed is refused"));
    }
    Ok(())
}
