//! The configuration file: TOML in, a checked [`Config`] out, or one error that names file, line, reason and remedy.
//!
//! Pure over its text. Secrets come from the files that it names, through [`Files`], which `io` implements; they live in
//! `Secret`s from there on. A key exists only if this version enforces it; any other is an error.
//! There is no other way to weaken a rule than `[[policy.exception]]`.

mod account;
mod change;
mod exception;
mod room;
mod service;
mod table;

pub use crate::units::Date;
pub use account::{Account, AccountSecret, Address, ClientFiles, Ha1Algorithm, OutboundProxy};
pub use change::Changes;
pub use room::{GroupCredentials, Room};
pub use service::{Dns, Log, LogFormat, LogLevel, Media};

use crate::policy::MediaLevel;
use crate::secret::Secret;
use std::fmt;
use std::path::{Path, PathBuf};
use table::{Section, Source};

/// The example: every key there is, with its default.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// A whole configuration, checked.
#[derive(Debug)]
pub struct Config {
    /// The SIP accounts; each has exactly one room.
    pub accounts: Vec<Account>,
    /// The rooms; each names one of the accounts.
    pub rooms: Vec<Room>,
    /// `[dns]`.
    pub dns: Dns,
    /// `[media]`.
    pub media: Media,
    /// Where the program keeps what must outlive it.
    pub store_directory: PathBuf,
    /// The Unix socket for `status` and the other commands.
    pub admin_socket: PathBuf,
    /// `[log]`.
    pub log: Log,
}

/// The text of a configuration file, and what its reader knows about it.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its path: for errors, and because relative paths are relative to it.
    pub path: &'a Path,
    /// What it says.
    pub text: &'a str,
    /// Whether others than its owner can read it. Then it must not contain an invitation's token.
    pub readable_by_others: bool,
}

/// How secrets are read. `io` implements it; tests do too.
pub trait Files {
    /// The content of a file that only its owner can read.
    ///
    /// # Errors
    /// [`FileError`].
    fn secret(&self, path: &Path) -> Result<Secret<String>, FileError>;

    /// The content of a credential that systemd passes (`LoadCredential=`): a file in `$CREDENTIALS_DIRECTORY`.
    ///
    /// # Errors
    /// [`FileError`].
    fn credential(&self, name: &str) -> Result<Secret<String>, FileError>;
}

/// Why a secret cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be opened or read, or is no text; with what the system says.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// Its mode lets its group or everybody read it.
    #[error("can be read by other users")]
    ReadableByOthers,
    /// There is no `$CREDENTIALS_DIRECTORY`.
    #[error("was not passed by systemd")]
    NoCredentials,
}

/// Why there is no configuration: the program ends with exit code 78.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 if it is not about a line.
    pub line: usize,
    /// What is wrong, and why.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.line == 0 { String::new() } else { format!("{}:", self.line) };
        write!(f, "{}:{place} {}. {}.", self.file.display(), self.what, self.remedy)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// The first [`ConfigError`].
    pub fn parse(file: File<'_>, today: Date, files: &dyn Files) -> Result<Config, ConfigError> {
        let source = Source::new(file.path, file.text);
        let mut top = source.top(&["account", "room", "policy", "dns", "media", "store", "admin", "log"])?;
        let [account, room] = [("account", "[[account]]"), ("room", "[[room]]")]
            .map(|(key, title)| top.sections(key, title, if key == "room" { room::KEYS } else { account::KEYS }));
        let (account, room) = (account?, room?);
        let policy = top.section("policy", "[policy]", &["short_tags", "exception"])?;
        let (short_tags, exceptions) = match policy {
            None => (false, Vec::new()),
            Some(mut policy) => (
                policy.boolean("short_tags")?.unwrap_or(false),
                policy.sections("exception", "[[policy.exception]]", exception::KEYS)?,
            ),
        };
        let mut accounts = account::read(account, short_tags, files)?;
        if accounts.is_empty() {
            return Err(source.error(0, "there is no [[account]]", "Add one with address and password_file"));
        }
        exception::read(exceptions, &mut accounts, today)?;
        let rooms = room::read(room, &file, &accounts, files)?;
        // a call needs the higher of what its account and its room demand
        for account in &mut accounts {
            let of_room =
                rooms.iter().filter(|room| room.account == account.address).filter_map(|room| room.media_minimum);
            account.rules.room_minimum = of_room.max().unwrap_or(MediaLevel::Clear);
            account.rules.media_minimum = account.rules.media_minimum.max(account.rules.room_minimum);
        }
        let dns = service::dns(top.section("dns", "[dns]", service::DNS_KEYS)?)?;
        let media = service::media(top.section("media", "[media]", service::MEDIA_KEYS)?)?;
        let store_directory = match top.section("store", "[store]", &["directory"])? {
            Some(mut store) => store.path("directory")?,
            None => None,
        };
        let store_directory = store_directory.unwrap_or_else(|| source.relative("galene-sips-store"));
        let admin_socket = match top.section("admin", "[admin]", &["socket"])? {
            Some(mut admin) => admin.path("socket")?,
            None => None,
        };
        let admin_socket = admin_socket.unwrap_or_else(|| store_directory.join("admin.socket"));
        let log = service::log(top.section("log", "[log]", service::LOG_KEYS)?)?;
        Ok(Config { accounts, rooms, dns, media, store_directory, admin_socket, log })
    }
}

/// Reads the secret behind `key`, whose value is a path.
fn secret_file(
    section: &mut Section<'_>,
    key: &'static str,
    files: &dyn Files,
) -> Result<Option<Secret<String>>, ConfigError> {
    let Some((at, content)) = secret_text(section, key, files)? else { return Ok(None) };
    one_line(section, key, at, &content).map(Some)
}

/// The whole of such a file, and where `key` stands.
fn secret_text(
    section: &mut Section<'_>,
    key: &'static str,
    files: &dyn Files,
) -> Result<Option<(usize, Secret<String>)>, ConfigError> {
    let Some(name) = section.text(key)? else { return Ok(None) };
    let path = section.source().relative(&name.value);
    let content = files.secret(&path).map_err(|error| {
        let remedy = match error {
            FileError::ReadableByOthers => format!("Run: chmod 600 {}", path.display()),
            _ => format!("Check {key}; relative paths are relative to this file"),
        };
        section.source().error(name.at, format!("{} {error}", path.display()), remedy)
    })?;
    Ok(Some((name.at, content)))
}

/// A secret is the first line of its file; there must be no other.
fn one_line(
    section: &Section<'_>,
    key: &str,
    at: usize,
    content: &Secret<String>,
) -> Result<Secret<String>, ConfigError> {
    let text = content.expose();
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains(['\n', '\r', '\0']) {
        let what = format!("what {key} names does not hold exactly one line");
        return Err(section.source().error(at, what, "Write the secret into it, alone and on one line"));
    }
    Ok(Secret::from(line))
}

#[cfg(test)]
mod tests;
