//! `[[policy.exception]]`: a downgrade that somebody wrote down, with a reason and an end.
//!
//! In: the sections. Out: each account's exceptions, also those whose day is over; which of them count is asked of `policy` with
//! the day of the question. What this version cannot do is an error as long as it would be in force.

use super::table::Section;
use super::{Account, ConfigError, Date};
use crate::policy::{Downgrade, Exception};
use std::sync::Arc;

pub(super) const KEYS: &[&str] = &["account", "allow", "reason", "expires", "accepted_by"];

/// Known, and not possible in this version.
const UNSUPPORTED: [&str; 2] = ["signalling-clear", "digest-md5-over-clear"];
const REASON_CHARACTERS: usize = 10;
const MAX_DAYS: i64 = 90;

/// Gives each account its exceptions.
pub(super) fn read(sections: Vec<Section<'_>>, accounts: &mut [Account], today: Date) -> Result<(), ConfigError> {
    for mut section in sections {
        read_one(&mut section, accounts, today)?;
    }
    Ok(())
}

fn read_one(section: &mut Section<'_>, accounts: &mut [Account], today: Date) -> Result<(), ConfigError> {
    let source = section.source();
    let written = section.required("account")?;
    let Some(account) = accounts.iter_mut().find(|known| known.address.to_string() == written.value) else {
        let what = "the exception's account is not exactly one of the [[account]]s";
        return Err(source.error(written.at, what, "Write it as user@domain; patterns are not possible"));
    };
    let allow = section.required("allow")?;
    let downgrade = Downgrade::ALL.into_iter().find(|downgrade| downgrade.as_str() == allow.value);
    if downgrade.is_none() && !UNSUPPORTED.contains(&allow.value.as_str()) {
        let names: Vec<&str> = Downgrade::ALL.iter().map(|downgrade| downgrade.as_str()).collect();
        let remedy = format!("Write one of: {}", names.join(", "));
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
    let accepted_by = section.required("accepted_by")?;
    if accepted_by.value.trim().is_empty() {
        return Err(section.error("accepted_by is empty", "Write who answers for this"));
    }
    let days_left = expires.value.days_since(today);
    if days_left > MAX_DAYS {
        let what = format!("the exception would last {days_left} days, until {}: more than {MAX_DAYS}", expires.value);
        return Err(source.error(expires.at, what, "Write an earlier day, and look at it again then"));
    }
    match downgrade {
        Some(allow) => account.exceptions.push(Arc::new(Exception {
            allow,
            reason: reason.value.trim().to_owned(),
            expires: expires.value,
            accepted_by: accepted_by.value.trim().to_owned(),
        })),
        None if days_left >= 0 => {
            let what = format!("the exception \"{}\" is not supported by this version", allow.value);
            return Err(source.error(allow.at, what, "Remove it; whatever it would have allowed is refused"));
        }
        None => {}
    }
    Ok(())
}
