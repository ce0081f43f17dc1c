//! Files of the operator: the configuration, and the secrets that it names.
//!
//! A file with a secret must be readable by its owner alone. Secrets come from files and standard input, never from the command line.

use super::dns::Anchors;
use super::tls::{ClientIdentity, Trust};
use crate::config::{Account, Address, Config, ConfigError, Date, File, FileError, Files, GroupCredentials, Room};
use crate::galene::GroupAddress;
use crate::secret::Secret;
use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the configuration is if nobody says otherwise.
const DEFAULT_CONFIG: &str = "/etc/galene-sips/config.toml";

/// The largest file that is read: a configuration is small.
const LARGEST_FILE: u64 = 1024 * 1024;

/// One account and one group, without a configuration file.
pub struct QuickStart {
    /// `user@domain`.
    pub account: String,
    /// The account's password; `-` is standard input.
    pub password_file: PathBuf,
    /// The group's invitation; `-` is standard input.
    pub group_file: PathBuf,
}

/// Where a configuration comes from.
pub enum Source {
    /// A file, or the default one.
    File(Option<PathBuf>),
    /// The command line.
    Quick(QuickStart),
}

impl Source {
    /// Reads it again.
    ///
    /// # Errors
    /// As [`load`]; and what came from standard input cannot be read twice.
    pub fn load(&self) -> Result<Config, ConfigError> {
        match self {
            Source::File(path) => load(path.as_deref()),
            Source::Quick(quick) => {
                let dash = Path::new("-");
                if [&quick.password_file, &quick.group_file].into_iter().any(|file| file == dash) {
                    return Err(ConfigError {
                        file: dash.to_owned(),
                        line: 0,
                        what: "what came from standard input cannot be read again".to_owned(),
                        remedy: "Start the program with files, or restart it".to_owned(),
                    });
                }
                quick_start(quick)
            }
        }
    }
}

/// Reads the configuration, or the default one.
pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
    let path = path.unwrap_or(Path::new(DEFAULT_CONFIG));
    let (text, mode) = read(path).map_err(|why| ConfigError {
        file: path.to_owned(),
        line: 0,
        what: format!("the configuration cannot be read: {why}"),
        remedy: "Name it with --config; `galene-sips example` prints one".to_owned(),
    })?;
    let file = File { path, text: text.expose(), readable_by_others: mode & 0o077 != 0 };
    checked(Config::parse(file, today(), &Disk)?)
}

/// The group of a room, without its token in anything that is shown.
pub fn group(room: &Room) -> Result<GroupAddress, ConfigError> {
    GroupAddress::parse(room.group.expose()).map_err(|error| ConfigError {
        file: format!("[[room]] of {}", room.account).into(),
        line: 0,
        what: error.to_string(),
        remedy: "Copy the invitation from Galène again".to_owned(),
    })
}

/// The token of an invitation.
pub fn token<'a>(group: &'a GroupAddress, account: &Address) -> Result<&'a Secret<String>, ConfigError> {
    group.token().ok_or_else(|| ConfigError {
        file: format!("[[room]] of {account}").into(),
        line: 0,
        what: "the invitation has no token".to_owned(),
        remedy: "Copy the invitation from Galène again".to_owned(),
    })
}

/// The authorities that count: those of a `ca_file` alone, or the public ones.
pub fn authorities(ca_file: Option<&Path>) -> Result<Trust, ConfigError> {
    let Some(file) = ca_file else { return Ok(Trust::public()) };
    Trust::only(file).map_err(|error| ConfigError {
        file: file.to_owned(),
        line: 0,
        what: format!("ca_file cannot be used: {error}"),
        remedy: "Name a file with the authority's certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned(),
    })
}

/// What an account shows to a provider that asks for a certificate.
pub fn client_identity(account: &Account) -> Result<Option<ClientIdentity>, ConfigError> {
    let Some(client) = &account.client else { return Ok(None) };
    ClientIdentity::read(&client.certificate, &client.key).map(Some).map_err(|error| ConfigError {
        file: client.certificate.clone(),
        line: 0,
        what: error.to_string(),
        remedy: "Name a certificate and its own private key, both in PEM form (-----BEGIN …-----)".to_owned(),
    })
}

/// Whom DNSSEC begins with: the keys of a file alone, or those of the root.
pub fn trust_anchors(file: Option<&Path>) -> Result<Anchors, ConfigError> {
    let Some(file) = file else { return Ok(Anchors::iana()) };
    let text = read(file).map(|(text, _)| text).map_err(|error| error.to_string());
    text.and_then(|text| Anchors::parse(text.expose())).map_err(|why| ConfigError {
        file: file.to_owned(),
        line: 0,
        what: format!("trust_anchor cannot be used: {why}"),
        remedy:
            "Name a file with DS or DNSKEY records, such as /usr/share/dns/root.key; without the key, IANA's keys count"
                .to_owned(),
    })
}

/// What the configuration cannot check itself, since it knows nothing of Galène, TLS and DNS.
fn checked(config: Config) -> Result<Config, ConfigError> {
    for room in &config.rooms {
        let address = group(room)?;
        if matches!(room.credentials, GroupCredentials::Invitation) {
            token(&address, &room.account)?;
        }
        authorities(room.ca_file.as_deref())?;
    }
    for account in &config.accounts {
        authorities(account.ca_file.as_deref())?;
        client_identity(account)?;
    }
    trust_anchors(config.dns.trust_anchor.as_deref())?;
    Ok(config)
}

/// Makes a configuration of the three things that a first try needs.
pub fn quick_start(quick: &QuickStart) -> Result<Config, ConfigError> {
    let fail = |file: &Path, what: String, remedy: &str| ConfigError {
        file: file.to_owned(),
        line: 0,
        what,
        remedy: remedy.to_owned(),
    };
    let dash = Path::new("-");
    if quick.password_file == dash && quick.group_file == dash {
        return Err(fail(
            dash,
            "standard input cannot give both the password and the invitation".to_owned(),
            "Put one of them into a file",
        ));
    }
    let given = |file: &Path, holds: &str| {
        secret(file)
            .map_err(|error| fail(file, format!("it {error}"), &format!("It holds {holds}, one line; chmod 600")))
    };
    let password = given(&quick.password_file, "the account's password")?;
    let invitation = given(&quick.group_file, "the group's invitation")?;
    let text = format!(
        "[[account]]\naddress = {account}\npassword_file = \"-\"\n[[room]]\ngroup = {group}\naccount = {account}\n[store]\ndirectory = {store}\n",
        account = quoted(&quick.account),
        group = quoted(invitation.expose().trim()),
        store = quoted(&state_directory().to_string_lossy()),
    );
    let (text, path) = (Secret::new(text), Path::new("command line"));
    let file = File { path, text: text.expose(), readable_by_others: false };
    let config = Config::parse(file, today(), &Given { password }).map_err(|error| ConfigError { line: 0, ..error })?;
    checked(config)
}

/// The admin socket of this configuration.
pub fn admin_socket(config: &Config) -> PathBuf {
    config.admin_socket.clone()
}

/// The admin socket of the default configuration, or of a program started without one.
pub fn default_admin_socket() -> PathBuf {
    match load(None) {
        Ok(config) => admin_socket(&config),
        Err(_) => state_directory().join("admin.socket"),
    }
}

/// systemd's, or the user's own.
fn state_directory() -> PathBuf {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("STATE_DIRECTORY")
        .or_else(|| named("XDG_STATE_HOME").map(|state| state.join("galene-sips")))
        .or_else(|| named("HOME").map(|home| home.join(".local/state/galene-sips")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/galene-sips"))
}

/// A password of a file that only its owner may read; `-` is standard input.
///
/// # Errors
/// When it cannot be read, or others can read it.
pub fn password(path: &Path) -> Result<Secret<String>, ConfigError> {
    let text = secret(path).map_err(|error| ConfigError {
        file: path.to_owned(),
        line: 0,
        what: format!("it {error}"),
        remedy: "It holds the account's password, one line; chmod 600".to_owned(),
    })?;
    Ok(Secret::new(text.expose().trim_end_matches(['\n', '\r']).to_owned()))
}

/// Writes a file as a whole or not at all.
///
/// # Errors
/// When the directory or the disk does not let it.
pub fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = fs::write(&new, content).and_then(|()| fs::rename(&new, path));
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Makes a file that only its owner may read, and never replaces one.
///
/// # Errors
/// When it exists, or the directory or the disk does not let it.
pub fn create_secret(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(fs::remove_file(path)))
}

/// The date of today in UTC.
pub fn today() -> Date {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
    Date::from_unix_days(u32::try_from(days).unwrap_or(u32::MAX))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A file's text, which may be a secret, and its mode.
fn read(path: &Path) -> std::io::Result<(Secret<String>, u32)> {
    let file = fs::File::open(path)?;
    let metadata = file.metadata()?;
    // large enough at once, so that growing leaves no copy behind
    let size = metadata.len().min(LARGEST_FILE);
    let mut text = String::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    let result = file.take(LARGEST_FILE).read_to_string(&mut text);
    let text = Secret::new(text);
    result.map(|_| (text, metadata.mode()))
}

fn secret(path: &Path) -> Result<Secret<String>, FileError> {
    let unreadable = |error: std::io::Error| FileError::Unreadable(error.to_string());
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().take(LARGEST_FILE).read_to_string(&mut text).map_err(unreadable)?;
        return Ok(Secret::new(text));
    }
    match read(path).map_err(unreadable)? {
        (_, mode) if mode & 0o077 != 0 => Err(FileError::ReadableByOthers),
        (text, _) => Ok(text),
    }
}

/// The files of this machine.
struct Disk;

impl Files for Disk {
    fn secret(&self, path: &Path) -> Result<Secret<String>, FileError> {
        secret(path)
    }

    fn credential(&self, name: &str) -> Result<Secret<String>, FileError> {
        let directory = env::var_os("CREDENTIALS_DIRECTORY").ok_or(FileError::NoCredentials)?;
        // systemd makes these readable by the service alone, by means that the mode does not always show
        let unreadable = |error: std::io::Error| FileError::Unreadable(error.to_string());
        read(&Path::new(&directory).join(name)).map(|(text, _)| text).map_err(unreadable)
    }
}

/// What the command line gave in place of files.
struct Given {
    password: Secret<String>,
}

impl Files for Given {
    fn secret(&self, _path: &Path) -> Result<Secret<String>, FileError> {
        Ok(self.password.duplicate())
    }

    fn credential(&self, _name: &str) -> Result<Secret<String>, FileError> {
        Err(FileError::NoCredentials)
    }
}
