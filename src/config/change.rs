//! What a configuration that is read again changes: which accounts come and go, and which keys a running program cannot change.
//!
//! Pure over two configurations. Whatever is not named here is taken over by the accounts and rooms that stay.

use super::{Account, AccountSecret, Address, Config, Room};

/// The difference between the configuration that runs and a new one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that need a restart, as people know them. With one of these nothing is changed.
    pub needs_restart: Vec<String>,
    /// Accounts that are new.
    pub added: Vec<Address>,
    /// Accounts that are gone.
    pub removed: Vec<Address>,
}

impl Changes {
    /// What leads from one configuration to the other.
    pub fn between(old: &Config, new: &Config) -> Changes {
        let lists = |config: &Config, address: &Address| config.accounts.iter().any(|other| other.address == *address);
        let only = |here: &Config, there: &Config| {
            let addresses = here.accounts.iter().map(|account| account.address.clone());
            addresses.filter(|address| !lists(there, address)).collect::<Vec<_>>()
        };
        let mut needs_restart = service_keys(old, new);
        for account in &old.accounts {
            let Some(next) = new.accounts.iter().find(|next| next.address == account.address) else { continue };
            let keys = account_keys(account, next).into_iter().chain(room_keys(old, new, &account.address));
            needs_restart.extend(keys.map(|key| format!("{key} of {}", account.address)));
        }
        Changes { needs_restart, added: only(new, old), removed: only(old, new) }
    }
}

fn service_keys(old: &Config, new: &Config) -> Vec<String> {
    let pairs = [
        ("[dns] servers", old.dns.servers == new.dns.servers),
        ("[dns] trust_anchor", old.dns.trust_anchor == new.dns.trust_anchor),
        ("[media] bind", old.media.bind == new.media.bind),
        ("[media] public_address", old.media.public_address == new.media.public_address),
        ("[media] ports", old.media.ports == new.media.ports),
        ("[store] directory", old.store_directory == new.store_directory),
        ("[admin] socket", old.admin_socket == new.admin_socket),
        ("[log] level", old.log.level == new.log.level),
        ("[log] format", old.log.format == new.log.format),
    ];
    pairs.into_iter().filter(|(_, same)| !same).map(|(key, _)| key.to_owned()).collect()
}

fn account_keys(old: &Account, new: &Account) -> Vec<&'static str> {
    let pairs = [
        ("[[account]] display_name", old.display_name == new.display_name),
        ("[[account]] auth_user", old.auth_user == new.auth_user),
        ("[[account]] realm", old.realm == new.realm),
        ("[[account]] expires", old.expires == new.expires),
    ];
    pairs.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}

/// The group itself; another token or password for it is no other group.
fn room_keys(old: &Config, new: &Config, account: &Address) -> Vec<&'static str> {
    let (old, new) = (old.room_of(account), new.room_of(account));
    let pairs = [
        ("[[room]] group", old.map(group_address) == new.map(group_address)),
        ("[[room]] language", old.map(|room| room.language) == new.map(|room| room.language)),
    ];
    pairs.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}

fn group_address(room: &Room) -> String {
    room.group.expose().split(['?', '#']).next().unwrap_or_default().to_owned()
}

impl Config {
    /// The room of an account.
    pub fn room_of(&self, account: &Address) -> Option<&Room> {
        self.rooms.iter().find(|room| room.account == *account)
    }
}

impl AccountSecret {
    /// Whether both are the same, in constant time.
    pub fn is_same(&self, other: &AccountSecret) -> bool {
        match (self, other) {
            (AccountSecret::Password(one), AccountSecret::Password(two)) => one.equals(two.expose().as_bytes()),
            (AccountSecret::Ha1(kind, one), AccountSecret::Ha1(other, two)) => {
                kind == other && one.equals(two.expose().as_bytes())
            }
            _ => false,
        }
    }
}
