//! The server of a test of the group protocol: the real Galène when `GALENE_BIN` names one, else the laboratory's own.
//!
//! Both have the same groups and can be frozen, cut off, ended and started again, so one test serves both.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::galene::{Galene, INVITATION};
use super::netns::Netns;
use super::program::Scratch;
use super::{Context, Result};
use crate::certificates::{Authority, Identity, Tls};
use crate::group_peer::{GroupPeer, JoinOptions};
use crate::group_server::{GroupCodec, GroupDescription, GroupServer, GroupServerOptions, OBSERVE, OP, PRESENT};

/// The name in the server's certificate.
pub const HOST: &str = "galene.lab.example";
/// The operator of `conf` and `closed`, and the password.
pub const OPERATOR: (&str, &str) = ("op", "operator");
/// Where the group `moved` went.
pub const ELSEWHERE: &str = "https://elsewhere.example/group/x/";

/// A server with the groups `conf` (everybody may speak), `closed` (only its users), `pcm` (no Opus) and `moved`.
pub struct Server {
    authority: Authority,
    identity: Identity,
    running: Running,
}

/// In the order in which they end.
enum Running {
    Laboratory { server: Option<GroupServer>, address: SocketAddr },
    Real { galene: Galene, net: Netns, scratch: Scratch },
}

impl Server {
    /// Starts the one or the other.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Self> {
        let authority = authority()?;
        if std::env::var_os("GALENE_BIN").is_none() {
            let identity = certificate(&authority, Ipv4Addr::LOCALHOST.into())?;
            let running = Running::of(with_groups(laboratory(&identity)?)).await?;
            return Ok(Self { authority, identity, running });
        }
        let (net, scratch) = (Netns::new(&[HOST], &[])?, Scratch::new()?);
        let identity = certificate(&authority, net.inside())?;
        let galene = start_real(&net, &scratch, &identity)?;
        Ok(Self { authority, identity, running: Running::Real { galene, net, scratch } })
    }

    /// Starts the laboratory's server with other options, for what the real one cannot be told.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_laboratory(change: impl FnOnce(GroupServerOptions) -> GroupServerOptions) -> Result<Self> {
        let authority = authority()?;
        let identity = certificate(&authority, Ipv4Addr::LOCALHOST.into())?;
        let running = Running::of(change(laboratory(&identity)?)).await?;
        Ok(Self { authority, identity, running })
    }

    /// Who vouches for the server.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match &self.running {
            Running::Laboratory { address, .. } => *address,
            Running::Real { galene, .. } => galene.address(),
        }
    }

    /// The page of a group, by address.
    pub fn url(&self, group: &str) -> String {
        format!("https://{}/group/{group}/", self.address())
    }

    /// The invitation to `conf`.
    pub fn invitation(&self) -> String {
        format!("{}?token={INVITATION}", self.url("conf"))
    }

    /// Joins `conf` as anybody.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn peer(&self, name: &str) -> Result<GroupPeer> {
        GroupPeer::join(JoinOptions::new(self.url("conf"), name)).await.context(name)
    }

    /// Joins `conf` as its operator.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn operator(&self) -> Result<GroupPeer> {
        let options = JoinOptions::new(self.url("conf"), OPERATOR.0).password(OPERATOR.1);
        GroupPeer::join(options).await.context(OPERATOR.0)
    }

    /// Stops it as SIGSTOP does, or lets it go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        match &self.running {
            Running::Laboratory { server, .. } => {
                server.iter().for_each(|server| server.freeze(frozen));
                Ok(())
            }
            Running::Real { galene, .. } => galene.signal(if frozen { "STOP" } else { "CONT" }),
        }
    }

    /// From now on no datagram reaches it or leaves it, or all do again.
    ///
    /// # Errors
    /// Without nftables.
    pub fn lose_media(&self, lost: bool) -> Result<()> {
        match &self.running {
            Running::Laboratory { server, .. } => {
                server.iter().for_each(|server| server.lose_media(lost));
                Ok(())
            }
            Running::Real { net, .. } if lost => net.drop_udp(),
            Running::Real { net, .. } => net.drop_nothing(),
        }
    }

    /// Ends it.
    pub fn stop(&mut self) {
        match &mut self.running {
            Running::Laboratory { server, .. } => *server = None,
            Running::Real { galene, .. } => galene.stop(),
        }
    }

    /// Starts it again at the same address after [`Self::stop`].
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        match &mut self.running {
            Running::Real { galene, net, scratch } => *galene = start_real(net, scratch, &self.identity)?,
            Running::Laboratory { server, address } => {
                // the tasks of the old one end a moment after it
                tokio::time::sleep(Duration::from_millis(200)).await;
                let options = GroupServerOptions { bind: *address, ..laboratory(&self.identity)? };
                *server = Some(GroupServer::start(with_groups(options)).await.context("group server")?);
            }
        }
        Ok(())
    }

    /// How many packets of a stream it may lose at an ICE restart. pion (v4.3.0) forgets all pairs in `Agent.Restart`
    /// and sends nothing until the first check succeeds, a few milliseconds later; the laboratory's server goes on.
    pub fn loss_at_restart(&self) -> u64 {
        match &self.running {
            Running::Laboratory { .. } => 0,
            Running::Real { .. } => 1,
        }
    }

    /// What it wrote down about clients that end connections or streams in a way that they should not.
    pub fn complaints(&self) -> Vec<String> {
        match &self.running {
            Running::Laboratory { server, .. } => server.as_ref().map(GroupServer::complaints).unwrap_or_default(),
            Running::Real { galene, .. } => {
                let complains = |line: &&str| line.contains("close 100") || line.contains("Deleting up connection");
                galene.log().lines().filter(complains).map(str::to_owned).collect()
            }
        }
    }
}

impl Running {
    async fn of(options: GroupServerOptions) -> Result<Self> {
        let server = GroupServer::start(options).await.context("group server")?;
        Ok(Self::Laboratory { address: server.address(), server: Some(server) })
    }
}

fn authority() -> Result<Authority> {
    Authority::new("Laboratory CA").context("certificate authority")
}

fn certificate(authority: &Authority, address: IpAddr) -> Result<Identity> {
    authority.issue_for_host_at(HOST, address).context(HOST)
}

fn laboratory(identity: &Identity) -> Result<GroupServerOptions> {
    Ok(GroupServerOptions::new(identity.server_config(Tls::Both).context("TLS")?))
}

fn with_groups(options: GroupServerOptions) -> GroupServerOptions {
    groups().into_iter().fold(options, |options, (name, group)| options.with_group(name, group))
}

fn start_real(net: &Netns, scratch: &Scratch, identity: &Identity) -> Result<Galene> {
    let files = groups().map(|(name, group)| (name, group.file()));
    Galene::start(net, scratch.path(), HOST, identity.pem(), &identity.key_pem(), &files)
}

fn groups() -> [(&'static str, GroupDescription); 4] {
    let users = |group: GroupDescription| {
        group
            .with_user(OPERATOR.0, OPERATOR.1, OP)
            .with_user("alice", "alice's", PRESENT)
            .with_user("watcher", "pw", OBSERVE)
    };
    let open = GroupDescription { display_name: "Lab".into(), wildcard: Some(PRESENT), ..GroupDescription::default() };
    let pcm = GroupDescription { wildcard: Some(PRESENT), codec: GroupCodec::Pcmu, ..GroupDescription::default() };
    let moved = GroupDescription { redirect: Some(ELSEWHERE.into()), ..GroupDescription::default() };
    [
        ("conf", users(open).with_token(INVITATION, PRESENT)),
        ("closed", users(GroupDescription::default())),
        ("pcm", pcm),
        ("moved", moved),
    ]
}
