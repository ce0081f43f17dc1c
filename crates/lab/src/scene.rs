//! The usual scene: the laboratory's provider, a group, and the real program between them. All of it is on loopback,
//! but for a real Galène if `GALENE_BIN` names one.
//!
//! The demonstration and the tests of whole calls start from here. What the program logs is kept in a file.

use crate::certificates::{Kind, Tls};
use crate::group_peer::GroupPeer;
use crate::phone::{Phone, PhoneOptions};
use crate::real::galene::INVITATION;
use crate::real::server::Server;
use crate::registrar::{Registrar, RegistrarOptions};
use crate::{Failure, Outcome};
use galene_sips::io::admin::{self, Call, Calls, Question, Status};
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The provider's domain.
pub const DOMAIN: &str = "sip.lab.test";
/// The gateway's user there.
pub const GATEWAY: &str = "conference";
/// The passwords of the gateway and of the phones, and the invitation: what no log may show.
pub const SECRETS: [&str; 3] = ["gateway-pass-Zx81", "phone-pass-Kq42", INVITATION];
/// Where patience ends.
const SOON: Duration = Duration::from_secs(15);

/// A provider, a group and a gateway, all running.
pub struct Scene {
    /// The provider.
    pub provider: Registrar,
    /// The conference server; the gateway's room is its group `conf`.
    pub group: Server,
    directory: PathBuf,
    gateway: Child,
}

impl Scene {
    /// Starts everything; the gateway is registered. `program` is the gateway's binary, `log_level` a key of `[log]`.
    ///
    /// # Errors
    /// When something does not start, with the gateway's log.
    pub async fn start(program: &Path, log_level: &str) -> Outcome<Scene> {
        let group = Server::start().await?;
        let directory = fresh_directory()?;
        fs::write(directory.join("ca.pem"), group.authority().pem())?;
        let tls = group.authority().issue(Kind::Good, DOMAIN)?.server_config(Tls::Both)?;
        let provider = RegistrarOptions::new(tls, DOMAIN).with_user(GATEWAY, SECRETS[0]);
        let provider = (0..32).fold(provider, |provider, n| provider.with_user(&phone_user(n), SECRETS[1]));
        let provider = Registrar::start(provider).await?;
        let gateway = start_gateway(program, &directory, log_level, &provider, &group)?;
        let scene = Scene { provider, group, directory, gateway };
        match scene.provider.registered(GATEWAY, SOON).await {
            true => Ok(scene),
            false => Err(format!("the gateway did not register\n{}", scene.log()).into()),
        }
    }

    /// A file of the scene.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The process of the gateway.
    ///
    /// # Errors
    /// When it has ended.
    pub fn gateway_pid(&self) -> Outcome<u32> {
        self.gateway.id().ok_or_else(|| format!("the gateway has ended\n{}", self.log()).into())
    }

    /// All that the gateway has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("gateway.log")).unwrap_or_default()
    }

    /// A registered phone, number 0 to 31; number 0 is Alice.
    ///
    /// # Errors
    /// When it does not register.
    pub async fn phone(&self, number: usize, adjust: impl FnOnce(&mut PhoneOptions)) -> Outcome<Phone> {
        let tls = self.group.authority().client_config()?;
        let mut options = PhoneOptions::new(self.provider.address(), tls, &phone_user(number), DOMAIN, SECRETS[1]);
        options.display_name = (number == 0).then(|| "Alice".to_owned());
        adjust(&mut options);
        let phone = Phone::start(options).await?;
        if phone.registered(SOON).await { Ok(phone) } else { Err("the phone did not register".into()) }
    }

    /// A participant of the group, in a browser's place.
    ///
    /// # Errors
    /// When the group refuses.
    pub async fn participant(&self, name: &str) -> Outcome<GroupPeer> {
        Ok(self.group.peer(name).await?)
    }

    /// What the gateway says of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Outcome<Status> {
        Ok(admin::ask(&self.file("admin.socket"), &Question::Status).await?)
    }

    /// The gateway's calls.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn calls(&self) -> Outcome<Vec<Call>> {
        let calls: Calls = admin::ask(&self.file("admin.socket"), &Question::Calls).await?;
        Ok(calls.calls)
    }

    /// Waits until the gateway's calls are as wanted.
    ///
    /// # Errors
    /// When they are not so in time.
    pub async fn calls_become(&self, wanted: impl Fn(&[Call]) -> bool) -> Outcome<Vec<Call>> {
        let start = Instant::now();
        loop {
            let calls = self.calls().await?;
            if wanted(&calls) {
                return Ok(calls);
            }
            if start.elapsed() > SOON {
                return Err(format!("the calls are not as expected: {calls:#?}\n{}", self.log()).into());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGTERM. Returns how long the gateway took, and the log.
    ///
    /// # Errors
    /// When it does not end, or not with exit code 0.
    pub async fn stop(mut self) -> Outcome<(Duration, String)> {
        let pid = self.gateway_pid()?;
        let start = Instant::now();
        Command::new("kill").arg(pid.to_string()).status().await?;
        let status =
            timeout(SOON, self.gateway.wait()).await.map_err(|_| Failure::from("the gateway does not end"))??;
        match status.success() {
            true => Ok((start.elapsed(), self.log())),
            false => Err(format!("the gateway ended with {status}\n{}", self.log()).into()),
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.gateway.start_kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn phone_user(number: usize) -> String {
    if number == 0 { "alice".to_owned() } else { format!("phone{number}") }
}

fn fresh_directory() -> Outcome<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("galene-sips-scene-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let directory = std::env::temp_dir().join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    Ok(directory)
}

fn start_gateway(
    program: &Path,
    directory: &Path,
    log_level: &str,
    provider: &Registrar,
    group: &Server,
) -> Outcome<Child> {
    write_private(&directory.join("sip.password"), SECRETS[0])?;
    let config = format!(
        "[[account]]\naddress = \"{GATEWAY}@{DOMAIN}\"\npassword_file = \"sip.password\"\n\
         outbound_proxy = \"sips:{}\"\nca_file = \"ca.pem\"\n\
         [[room]]\ngroup = \"{}\"\naccount = \"{GATEWAY}@{DOMAIN}\"\nca_file = \"ca.pem\"\n\
         [store]\ndirectory = \"store\"\n[admin]\nsocket = \"admin.socket\"\n[log]\nlevel = \"{log_level}\"\n",
        provider.address(),
        group.invitation(),
    );
    let file = directory.join("config.toml");
    write_private(&file, &config)?;
    let log = fs::File::create(directory.join("gateway.log"))?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(file).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command.kill_on_drop(true).spawn()?)
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) -> Outcome<()> {
    use std::io::Write as _;
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())?;
    Ok(())
}
