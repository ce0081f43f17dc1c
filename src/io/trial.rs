//! Tries whether a group lets us in, and leaves again. Nobody hears or sees more of it than a participant who comes and goes.

use super::dns::Dns;
use super::group::{self, FromGroup, ToGroup};
use super::tls::Trust;
use crate::galene::{Client, ClientConfig, Credentials, Event, GroupAddress, Output, Role};
use crate::sip::printable;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a server may take to let us in or not.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// What we are in the group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admitted {
    /// The name that the server gave us.
    pub username: String,
    /// What we may do: `present`, `message`, `op`, …
    pub permissions: Vec<String>,
}

impl Admitted {
    /// Whether this is allowed.
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.iter().any(|known| known == permission)
    }
}

/// Joins and leaves.
///
/// # Errors
/// Why we are not let in, as one sentence.
pub async fn group(
    address: &GroupAddress,
    credentials: Credentials,
    name: &str,
    dns: &Dns,
    trust: &Trust,
) -> Result<Admitted, String> {
    let socket = group::open(address, dns, trust).await.map_err(|error| error.to_string())?;
    let config =
        ClientConfig { group: socket.group.clone(), credentials, username: name.to_owned(), role: Role::Speak };
    let mut client = Client::new(super::now(), config, &mut super::SystemRandomness::default());
    let (to, outgoing) = mpsc::channel(64);
    let (reader, mut incoming) = mpsc::channel(64);
    let carrier = tokio::spawn(async move { group::carry(socket, outgoing, &reader, |from| from).await });
    let admitted = timeout(PATIENCE, join(&mut client, &to, &mut incoming)).await;
    client.leave(super::now());
    while let Some(output) = client.poll() {
        match output {
            Output::Text(text) => drop(to.send(ToGroup::Text(text)).await), // who is gone needs no goodbye
            Output::CloseWebSocket { code } => drop(to.send(ToGroup::Close(code)).await),
            _ => {}
        }
    }
    drop(to);
    drop(incoming);
    let _ = timeout(GOODBYE, carrier).await; // a server that does not say goodbye has lost us all the same
    admitted.unwrap_or_else(|_| Err("the server does not say whether it lets us in".to_owned()))
}

async fn join(
    client: &mut Client,
    to: &mpsc::Sender<ToGroup>,
    incoming: &mut mpsc::Receiver<FromGroup>,
) -> Result<Admitted, String> {
    loop {
        while let Some(output) = client.poll() {
            match output {
                Output::Text(text) => {
                    let gone = |_| "the server closed the connection".to_owned();
                    to.send(ToGroup::Text(text)).await.map_err(gone)?;
                }
                Output::Event(Event::Joined { username, permissions }) => {
                    return Ok(Admitted { username: printable(&username), permissions });
                }
                Output::Event(Event::JoinFailed { message, .. }) => {
                    return Err(format!("the group does not let us in: {}", printable(&message)));
                }
                Output::Event(Event::Gone { reason: why } | Event::Kicked { message: why }) => {
                    return Err(printable(&why));
                }
                _ => {}
            }
        }
        let wake = client.wake().map_or_else(|| Instant::now() + PATIENCE, Instant::from_std);
        tokio::select! {
            text = incoming.recv() => match text {
                Some(FromGroup::Text(text)) => client.handle_text(super::now(), &text),
                Some(FromGroup::Closed(why)) => client.handle_closed(super::now(), &why),
                None => return Err("the server closed the connection".to_owned()),
            },
            () = sleep_until(wake) => client.handle_timeout(super::now()),
        }
    }
}
