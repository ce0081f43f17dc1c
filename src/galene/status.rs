//! A group's `.status`: where its WebSocket is, and what stands in the way.
//!
//! In: the body of the GET of [`GroupAddress::status_path`]. Out: the WebSocket endpoint, on the configured host and
//! over TLS or not at all, because the token goes there. Never follows a redirect.

use super::address::{GroupAddress, Url};
use serde::Deserialize;

/// Longest status that is read, in bytes.
const STATUS_LIMIT: usize = 64 * 1024;

/// Where to open the WebSocket, and the name to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or IP address without brackets: the configured one.
    pub host: String,
    /// Port of the TLS connection.
    pub port: u16,
    /// Path for the request line of the WebSocket handshake.
    pub path: String,
    /// Value of the Host header.
    pub authority: String,
    /// The group's name for the `join` message.
    pub group: String,
}

/// Why a group cannot be joined, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// Not the JSON of a group.
    #[error("the server's answer is not the status of a Galène group: {0}")]
    NotAStatus(String),
    /// The group has moved.
    #[error("the group has moved to {0}; if you trust that address, get an invitation to it and configure that one")]
    Redirect(String),
    /// The WebSocket would be on another host.
    #[error(
        "the group's WebSocket is on another host ({0}); the token goes only to the configured host, so use the address under which that host itself shows the group"
    )]
    OtherHost(String),
    /// The WebSocket would not be encrypted.
    #[error("the group's WebSocket address ({0}) is not a wss address; the server needs HTTPS (Galène's proxyURL)")]
    NotWss(String),
    /// The group asks another server whether a password is right.
    #[error("the group checks passwords with an authorisation server; use an invitation with a token instead")]
    AuthServer,
    /// The group sends people to a web page to log in.
    #[error("the group has people log in on a web page; use an invitation with a token instead")]
    AuthPortal,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Status {
    name: String,
    endpoint: Option<String>,
    redirect: Option<String>,
    auth_server: Option<String>,
    auth_portal: Option<String>,
}

impl GroupAddress {
    /// Reads the group's status.
    pub fn endpoint(&self, body: &[u8]) -> Result<Endpoint, StatusError> {
        if body.len() > STATUS_LIMIT {
            return Err(StatusError::NotAStatus("it is too long".to_owned()));
        }
        let status: Status =
            serde_json::from_slice(body).map_err(|error| StatusError::NotAStatus(error.to_string()))?;
        let given = |field: Option<String>| field.filter(|value| !value.is_empty());
        if let Some(target) = given(status.redirect) {
            return Err(StatusError::Redirect(shown(&target)));
        }
        // with a token neither is needed: they only replace the check of a password
        if self.token().is_none() {
            if given(status.auth_portal).is_some() {
                return Err(StatusError::AuthPortal);
            }
            if given(status.auth_server).is_some() {
                return Err(StatusError::AuthServer);
            }
        }
        let endpoint =
            given(status.endpoint).ok_or_else(|| StatusError::NotAStatus("it names no endpoint".to_owned()))?;
        let (url, query) = Url::parse(&endpoint, "wss://").map_err(|_| StatusError::NotWss(shown(&endpoint)))?;
        if url.host != self.host() {
            return Err(StatusError::OtherHost(shown(&url.host)));
        }
        let mut path = if url.path.is_empty() { "/".to_owned() } else { url.path.clone() };
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        let group = if status.name.is_empty() { self.name().to_owned() } else { status.name };
        Ok(Endpoint { authority: url.authority(), host: url.host, port: url.port, path, group })
    }
}

/// A foreign text, fit for one line of an error message: no control characters, no query that may hold a token.
fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    fn read(query: &str, body: &str) -> Result<Endpoint, StatusError> {
        GroupAddress::parse(&format!("https://galene.example.org:8443/group/g/{query}"))
            .unwrap()
            .endpoint(body.as_bytes())
    }

    #[test]
    fn a_status_of_galene_gives_the_endpoint() {
        let body = r#"{"name":"g","location":"https://galene.example.org:8443/group/g/",
            "endpoint":"wss://galene.example.org:8443/ws","displayName":"x","clientCount":3,"new":{"field":[1]}}"#;
        let endpoint = read("?token=T", body).unwrap();
        assert_eq!(
            (endpoint.host.as_str(), endpoint.port, endpoint.path.as_str()),
            ("galene.example.org", 8443, "/ws")
        );
        assert_eq!((endpoint.authority.as_str(), endpoint.group.as_str()), ("galene.example.org:8443", "g"));
    }

    #[test]
    fn the_token_goes_nowhere_but_to_the_configured_host_over_tls() {
        let status = |endpoint: &str| read("?token=T", &format!(r#"{{"name":"g","endpoint":"{endpoint}"}}"#));
        assert_eq!(status("wss://evil.example/ws"), Err(StatusError::OtherHost("evil.example".to_owned())));
        assert_eq!(
            status("wss://galene.example.org.evil.example/ws"),
            Err(StatusError::OtherHost("galene.example.org.evil.example".to_owned()))
        );
        for endpoint in
            ["ws://galene.example.org:8443/ws", "https://galene.example.org/ws", "wss://u@galene.example.org/ws"]
        {
            assert_eq!(status(endpoint), Err(StatusError::NotWss(endpoint.to_owned())), "{endpoint}");
        }
        assert!(status("WSS://GALENE.example.org:8443/ws").is_ok());
    }

    #[test]
    fn detours_are_refused_with_a_remedy_unless_a_token_makes_them_needless() {
        let redirect = r#"{"name":"g","redirect":"https://other.example/group/g/?token=SECRET"}"#;
        let error = read("?token=T", redirect).unwrap_err();
        assert_eq!(error, StatusError::Redirect("https://other.example/group/g/".to_owned()));
        for (field, error) in [("authServer", StatusError::AuthServer), ("authPortal", StatusError::AuthPortal)] {
            let body =
                format!(r#"{{"name":"g","endpoint":"wss://galene.example.org/ws","{field}":"https://a.example/"}}"#);
            assert_eq!(read("", &body), Err(error));
            assert!(read("?token=T", &body).is_ok());
        }
    }

    #[test]
    fn what_is_no_status_is_an_error() {
        let deep = "[".repeat(10_000);
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(STATUS_LIMIT));
        for body in ["", "<html>", "null", "[]", "{}", r#"{"name":1}"#, r#"{"name":"g","endpoint":""}"#, &deep, &long] {
            assert!(matches!(read("", body), Err(StatusError::NotAStatus(_))), "{}", &body[..body.len().min(40)]);
        }
    }
}
