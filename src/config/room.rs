//! `[[room]]`: one group, and the account whose calls come to it.

use super::account::media_minimum;
use super::table::Section;
use super::{Account, Address, ConfigError, File, Files, secret_file};
use crate::audio::Language;
use crate::policy::MediaLevel;
use crate::secret::Secret;
use std::path::PathBuf;

pub(super) const KEYS: &[&str] =
    &["group", "username", "password_file", "account", "ca_file", "media_minimum", "language"];

/// A group and its way in.
#[derive(Debug)]
pub struct Room {
    /// The group's address or the invitation, as written: a secret, because of the token.
    pub group: Secret<String>,
    /// What lets us in.
    pub credentials: GroupCredentials,
    /// The account whose calls come here.
    pub account: Address,
    /// PEM file of the only authorities that count for this Galène server.
    pub ca_file: Option<PathBuf>,
    /// What the room demands of every call, where it is more than the account does.
    pub media_minimum: Option<MediaLevel>,
    /// What phones are told aloud is in this language.
    pub language: Language,
}

/// What lets us into a group.
#[derive(Debug)]
pub enum GroupCredentials {
    /// The invitation's own token, in [`Room::group`].
    Invitation,
    /// A user of the group.
    Password {
        /// Its name.
        username: String,
        /// Its password.
        password: Secret<String>,
    },
}

pub(super) fn read(
    sections: Vec<Section<'_>>,
    file: &File<'_>,
    accounts: &[Account],
    files: &dyn Files,
) -> Result<Vec<Room>, ConfigError> {
    let mut rooms: Vec<Room> = Vec::new();
    let mut last = None;
    for mut section in sections {
        let room = read_one(&mut section, file, accounts, files)?;
        if rooms.iter().any(|other| other.account == room.account) {
            let what = format!("{} already has a room, and a call can go to one only", room.account);
            return Err(section.error(what, "Configure another account for this room"));
        }
        rooms.push(room);
        last = Some(section);
    }
    let without = accounts.iter().find(|account| rooms.iter().all(|room| room.account != account.address));
    match (without, last) {
        (None, _) => Ok(rooms),
        (Some(account), last) => {
            let what = format!("{} has no room, so its calls could go nowhere", account.address);
            let remedy = format!("Add a [[room]] with account = \"{}\"", account.address);
            Err(match last {
                Some(section) => section.error(what, remedy),
                None => super::table::Source::new(file.path, file.text).error(0, what, remedy),
            })
        }
    }
}

fn read_one(
    section: &mut Section<'_>,
    file: &File<'_>,
    accounts: &[Account],
    files: &dyn Files,
) -> Result<Room, ConfigError> {
    let group = section.required("group")?;
    let error = |what: &str, remedy: &str| Err(section.source().error(group.at, what, remedy));
    if !group.value.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
        return error("group does not begin with https://", "Copy the whole invitation, or the group's address");
    }
    let invitation = has_token(&group.value);
    if invitation && file.readable_by_others {
        let remedy = format!("Run: chmod 600 {}", file.path.display());
        return error("the invitation's token is a secret, and other users can read this file", &remedy);
    }
    let group = Secret::new(group.value);
    let username = section.text("username")?;
    let password = secret_file(section, "password_file", files)?;
    let credentials = match (invitation, username, password) {
        (true, None, None) => GroupCredentials::Invitation,
        (false, Some(username), Some(password)) => GroupCredentials::Password { username: username.value, password },
        (true, _, _) => {
            let what = "the group's address has a token, and username or password_file beside it";
            return Err(section.error(what, "Keep either the invitation or username and password_file"));
        }
        (false, _, _) => {
            let what = "nothing lets the gateway into the group: its address has no token";
            return Err(section.error(what, "Paste an invitation, or add username and password_file"));
        }
    };
    let written = section.required("account")?;
    let account = Address::parse(&written.value)
        .filter(|address| accounts.iter().any(|account| account.address == *address))
        .ok_or_else(|| {
            let known: Vec<String> = accounts.iter().map(|account| account.address.to_string()).collect();
            let remedy = format!("Write one of: {}", known.join(", "));
            section.source().error(written.at, "the room's account is none of the [[account]]s", remedy)
        })?;
    let media_minimum = media_minimum(section)?;
    let language = language(section)?;
    Ok(Room { group, credentials, account, ca_file: section.path("ca_file")?, media_minimum, language })
}

fn language(section: &mut Section<'_>) -> Result<Language, ConfigError> {
    let Some(text) = section.text("language")? else { return Ok(Language::default()) };
    Language::ALL.into_iter().find(|language| language.as_str() == text.value).ok_or_else(|| {
        let what = "language is neither \"en\" nor \"fr\"";
        section.source().error(text.at, what, "Remove it to have phones spoken to in English")
    })
}

fn has_token(url: &str) -> bool {
    let query = url.split_once('#').map_or(url, |(before, _)| before).split_once('?').map_or("", |(_, query)| query);
    query.split('&').any(|pair| pair.strip_prefix("token=").is_some_and(|token| !token.is_empty()))
}
