//! What a group is and who may join it: the part of Galène's group file that a gateway can meet.

use crate::real::galene::invitation;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// The permissions of someone who runs the group.
pub const OP: &[&str] = &["op", "present", "message", "caption", "token"];
/// The permissions of someone who speaks.
pub const PRESENT: &[&str] = &["present", "message"];
/// The permissions of someone who may only chat.
pub const MESSAGE: &[&str] = &["message"];
/// The permissions of someone who may only listen and watch.
pub const OBSERVE: &[&str] = &[];

/// The audio codec of a group. Galène's default is Opus.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GroupCodec {
    /// opus/48000/2, payload type 111.
    #[default]
    Opus,
    /// PCMU/8000, payload type 0.
    Pcmu,
    /// PCMA/8000, payload type 8.
    Pcma,
}

/// A group as its administrator wrote it down.
#[derive(Clone, Default, Debug)]
pub struct GroupDescription {
    /// The longer name that people see.
    pub display_name: String,
    /// User name → (password, permissions).
    pub users: HashMap<String, (String, &'static [&'static str])>,
    /// Permissions of anyone with any other name and any password; `None`: nobody else may join.
    pub wildcard: Option<&'static [&'static str]>,
    /// Invitations.
    pub tokens: HashMap<String, TokenDescription>,
    /// The codec that streams of this group must have.
    pub codec: GroupCodec,
    /// Where the group went.
    pub redirect: Option<String>,
    /// An authorisation server's URL, shown in `.status`.
    pub auth_server: Option<String>,
    /// A login portal's URL, shown in `.status`.
    pub auth_portal: Option<String>,
    /// The group is locked with this message ("" has a default).
    pub locked: Option<String>,
    /// More than this many cannot join, operators excepted; 0: no limit.
    pub max_clients: usize,
    /// `.status` tells everybody how many members there are.
    pub public: bool,
}

/// An invitation (Galène's "stateful token").
#[derive(Clone, Default, Debug)]
pub struct TokenDescription {
    /// The name that its bearer gets; `None`: the bearer names himself.
    pub username: Option<String>,
    /// What its bearer may do.
    pub permissions: &'static [&'static str],
    /// It is over.
    pub expired: bool,
}

/// What a `join` message shows.
pub(crate) struct Credentials<'a> {
    pub(crate) username: Option<&'a str>,
    pub(crate) password: &'a str,
    pub(crate) token: &'a str,
}

/// Why someone may not join.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JoinError {
    UsernameRequired,
    DuplicateUsername,
    /// Galène answers this one after 200 ms only.
    NotAuthorised,
    NoSuchGroup,
    /// Said to the user as it is.
    User(String),
    /// Said as "internal server error".
    Internal,
}

impl JoinError {
    /// The fields `error` and `value` of the `fail` message.
    pub(crate) fn texts(&self) -> (&'static str, &str) {
        match self {
            JoinError::UsernameRequired => ("need-username", "username required"),
            JoinError::DuplicateUsername => ("duplicate-username", "not authorised: this username is taken"),
            JoinError::NotAuthorised => ("", "not authorised"),
            JoinError::NoSuchGroup => ("", "group does not exist"),
            JoinError::User(text) => ("", text),
            JoinError::Internal => ("", "internal server error"),
        }
    }
}

impl GroupDescription {
    /// A group where everybody may speak and `op`/`operator` runs things: what most tests want.
    pub fn open(display_name: &str) -> GroupDescription {
        GroupDescription { display_name: display_name.into(), wildcard: Some(PRESENT), ..Default::default() }
            .with_user("op", "operator", OP)
    }

    /// Adds a user.
    pub fn with_user(mut self, name: &str, password: &str, permissions: &'static [&'static str]) -> GroupDescription {
        self.users.insert(name.into(), (password.into(), permissions));
        self
    }

    /// Adds an invitation whose bearer names himself.
    pub fn with_token(mut self, token: &str, permissions: &'static [&'static str]) -> GroupDescription {
        self.tokens.insert(token.into(), TokenDescription { username: None, permissions, expired: false });
        self
    }

    /// Galène's own file of this group, without the tokens, which it keeps elsewhere.
    pub(crate) fn file(&self) -> Value {
        let user = |password: Value, permissions| json!({ "password": password, "permissions": role(permissions) });
        let named = self.users.iter().map(|(name, (password, may))| (name.clone(), user(json!(password), may)));
        let mut file = json!({ "users": named.collect::<Map<_, _>>() });
        if let Some(permissions) = self.wildcard {
            file["wildcard-user"] = user(json!({ "type": "wildcard" }), permissions);
        }
        if !self.display_name.is_empty() {
            file["displayName"] = json!(self.display_name);
        }
        match self.codec {
            GroupCodec::Opus => {}
            GroupCodec::Pcmu => file["codecs"] = json!(["vp8", "pcmu"]),
            GroupCodec::Pcma => file["codecs"] = json!(["vp8", "pcma"]),
        }
        for (key, value) in
            [("redirect", &self.redirect), ("authServer", &self.auth_server), ("authPortal", &self.auth_portal)]
        {
            if let Some(value) = value {
                file[key] = json!(value);
            }
        }
        if self.max_clients > 0 {
            file["max-clients"] = json!(self.max_clients);
        }
        if self.public {
            file["public"] = json!(true);
        }
        file
    }

    /// The lines of this group in Galène's file of invitations.
    pub(crate) fn invitations(&self, group: &str) -> Vec<Value> {
        self.tokens.iter().map(|(token, description)| invitation(token, group, description.permissions)).collect()
    }

    /// The name and the permissions of whoever shows `credentials`.
    pub(crate) fn authorise(
        &self,
        credentials: &Credentials<'_>,
    ) -> Result<(String, &'static [&'static str]), JoinError> {
        let (name, permissions) = if !credentials.token.is_empty() {
            let token = self.tokens.get(credentials.token).ok_or(JoinError::NotAuthorised)?;
            match (&token.username, credentials.username) {
                (None, None) => return Err(JoinError::UsernameRequired),
                _ if token.expired => return Err(JoinError::NotAuthorised),
                (None, Some(name)) if self.users.contains_key(name) => return Err(JoinError::DuplicateUsername),
                // A token's own name wins over what its bearer asks for.
                (Some(name), _) => (name.as_str(), token.permissions),
                (None, Some(name)) => (name, token.permissions),
            }
        } else {
            let name = credentials.username.ok_or(JoinError::Internal)?;
            match (self.users.get(name), self.wildcard) {
                (Some((password, permissions)), _) if password == credentials.password => (name, *permissions),
                (Some(_), _) | (None, None) => return Err(JoinError::NotAuthorised),
                (None, Some(permissions)) => (name, permissions),
            }
        };
        if !(name.is_empty() || valid_name(name)) {
            return Err(JoinError::NotAuthorised);
        }
        Ok((name.to_owned(), permissions))
    }
}

/// Galène's name for a set of permissions.
fn role(permissions: &[&str]) -> &'static str {
    match permissions {
        ["op", ..] => "op",
        ["present", ..] => "present",
        [] => "observe",
        _ => "message",
    }
}

/// The rule for names of groups and users: a clean relative path.
pub(crate) fn valid_name(name: &str) -> bool {
    !name.contains('\\') && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    fn join(username: Option<&str>, password: &str, token: &str) -> Result<String, JoinError> {
        let mut description = GroupDescription::open("Lab").with_token("free", PRESENT);
        description.tokens.insert(
            "named".into(),
            TokenDescription { username: Some("Ann".into()), permissions: PRESENT, expired: false },
        );
        description.authorise(&Credentials { username, password, token }).map(|(name, _)| name)
    }

    // The outcomes below were measured against Galène itself.
    #[test]
    fn joining_fails_as_in_galene() {
        assert_eq!(join(None, "", "free"), Err(JoinError::UsernameRequired));
        assert_eq!(join(Some("op"), "", "free"), Err(JoinError::DuplicateUsername));
        assert_eq!(join(Some("x"), "", "bad"), Err(JoinError::NotAuthorised));
        assert_eq!(join(Some("op"), "wrong", ""), Err(JoinError::NotAuthorised));
        assert_eq!(join(Some("/x"), "", "free"), Err(JoinError::NotAuthorised));
        assert_eq!(join(Some("a/./b"), "", "free"), Err(JoinError::NotAuthorised));
        assert_eq!(join(None, "", ""), Err(JoinError::Internal));
        let closed = GroupDescription::default();
        let nobody = Credentials { username: Some("x"), password: "", token: "" };
        assert_eq!(closed.authorise(&nobody).unwrap_err(), JoinError::NotAuthorised);
    }

    #[test]
    fn joining_succeeds_as_in_galene() {
        assert_eq!(join(Some("Alice c/o Bob"), "", "free").unwrap(), "Alice c/o Bob");
        assert_eq!(join(Some("Bob"), "", "named").unwrap(), "Ann", "the token's own name wins");
        assert_eq!(join(Some("anyone"), "any", "").unwrap(), "anyone");
        assert_eq!(join(Some("op"), "operator", "").unwrap(), "op");
    }
}
