//! A group for a test of calls: on a real Galène when `GALENE_BIN` names one, else on the laboratory's group server.

use std::net::SocketAddr;

use super::galene::{Galene, INVITATION, OPERATOR, open_group};
use super::rig::{GROUP_HOST, Rig};
use super::{Context, Result};
use crate::certificates::Tls;
use crate::group_peer::{GroupPeer, JoinOptions};
use crate::group_server::{GroupDescription, GroupServer, GroupServerOptions, OP, PRESENT};

/// The name of the group.
const NAME: &str = "meeting";

/// A group to which everybody has the same invitation.
pub enum Meeting {
    /// On a real Galène.
    Real(Galene),
    /// On the laboratory's server.
    Laboratory(GroupServer, SocketAddr),
}

impl Meeting {
    /// Starts the server.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(rig: &Rig) -> Result<Self> {
        Self::start_with(rig, PRESENT).await
    }

    /// Starts the server; the invitation gives these permissions.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_with(rig: &Rig, permissions: &'static [&'static str]) -> Result<Self> {
        if std::env::var_os("GALENE_BIN").is_some() {
            return rig.galene_with(&[(NAME, open_group())], permissions).map(Self::Real);
        }
        let identity = rig.identity(GROUP_HOST)?;
        let mut options = GroupServerOptions::new(identity.server_config(Tls::Both).context("TLS")?);
        options.bind = SocketAddr::new(rig.net().outside(), 0);
        let group = GroupDescription::open("A conference").with_user(OPERATOR.0, OPERATOR.1, OP);
        let options = options.with_group(NAME, group.with_token(INVITATION, permissions));
        let server = GroupServer::start(options).await.context("group server")?;
        let address = server.address();
        Ok(Self::Laboratory(server, address))
    }

    /// Starts it on a real Galène, or fails.
    ///
    /// # Errors
    /// Without `GALENE_BIN`.
    pub fn start_real(rig: &Rig) -> Result<Self> {
        rig.galene(&[(NAME, open_group())]).map(Self::Real)
    }

    /// The invitation, for programs inside the namespace.
    pub fn invitation(&self) -> String {
        format!("{}?token={INVITATION}", self.url())
    }

    /// The invitation, for the test itself; the server's certificate is for another name.
    pub fn invitation_from_outside(&self) -> String {
        format!("{}?token={INVITATION}", self.address_url())
    }

    /// The page of the group, for programs inside the namespace.
    pub fn url(&self) -> String {
        match self {
            Self::Real(galene) => galene.group_url(NAME),
            Self::Laboratory(server, _) => server.url(GROUP_HOST, NAME),
        }
    }

    /// Joins from the test itself, as anybody.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn join(&self, name: &str) -> Result<GroupPeer> {
        GroupPeer::join(JoinOptions::new(self.address_url(), name)).await.context(name)
    }

    /// Joins from the test itself, as the operator.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn join_as_operator(&self) -> Result<GroupPeer> {
        let options = JoinOptions::new(self.address_url(), OPERATOR.0).password(OPERATOR.1);
        GroupPeer::join(options).await.context(OPERATOR.0)
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Real(galene) => galene.address(),
            Self::Laboratory(_, address) => *address,
        }
    }

    fn address_url(&self) -> String {
        format!("https://{}/group/{NAME}/", self.address())
    }
}
