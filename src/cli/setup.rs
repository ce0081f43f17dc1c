//! `setup`: three questions, a try of everything that the answers name, and a configuration of a few lines.
//!
//! Nothing is written before everything worked, and nothing is ever overwritten. The password is not shown while it is typed;
//! neither it nor the invitation is printed, logged, or passed to anybody but the servers that they are for.

use super::{CONFIG, FAILED, fail, show};
use crate::audit::facts::{Login, Tested};
use crate::audit::report::{Report, Verdict};
use crate::audit::target::Target;
use crate::config::{Address, ConfigError, OutboundProxy};
use crate::galene::{Credentials as GroupCredentials, GroupAddress};
use crate::io::audit::{self, Credentials, Plan};
use crate::io::dns::Dns;
use crate::io::files::{self, today};
use crate::io::{trial, unix_time};
use crate::secret::Secret;
use crate::units::UnixTime;
use clap::Args;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::watch;

/// The name under which the group is tried.
const NAME: &str = "Phone gateway";

/// How often a question is asked before it is given up.
const TRIES: usize = 3;

#[derive(Args)]
pub(super) struct Arguments {
    /// The configuration to be written; it must not exist yet
    #[arg(long, value_name = "FILE", default_value = "galene-sips.toml")]
    config: PathBuf,
    /// The provider's server, if DNS does not lead to it
    #[arg(long, value_name = "sips:HOST[:PORT]")]
    server: Option<String>,
    /// The provider's own authority in PEM form, instead of the public ones
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The Galène server's own authority in PEM form, instead of the public ones
    #[arg(long, value_name = "FILE")]
    group_ca_file: Option<PathBuf>,
    /// Ask this DNS server instead of the system's
    #[arg(long, value_name = "ADDRESS:PORT")]
    dns_server: Vec<SocketAddr>,
    /// Trust this key of DNSSEC instead of the root's
    #[arg(long, value_name = "FILE")]
    trust_anchor: Option<PathBuf>,
}

/// What the three questions brought.
struct Answers {
    address: Address,
    password: Secret<String>,
    group: GroupAddress,
    /// The invitation as it was given, token included.
    invitation: Secret<String>,
}

pub(super) async fn execute(arguments: Arguments) -> ExitCode {
    match set_up(&arguments).await {
        Ok(done) => {
            show::print(&done);
            ExitCode::SUCCESS
        }
        Err((code, why)) => fail(code, &why),
    }
}

type Failure = (u8, String);

async fn set_up(arguments: &Arguments) -> Result<String, Failure> {
    let password_file = password_file(&arguments.config);
    for file in [&arguments.config, &password_file] {
        if file.exists() {
            let what = format!("{} exists already and is not touched; name another file with --config", file.display());
            return Err((FAILED, what));
        }
    }
    let of_config = |error: ConfigError| (CONFIG, error.to_string());
    let trust = files::authorities(arguments.ca_file.as_deref()).map_err(of_config)?;
    let group_trust = files::authorities(arguments.group_ca_file.as_deref()).map_err(of_config)?;
    let server =
        match &arguments.server {
            None => None,
            Some(text) => Some(OutboundProxy::parse(text).ok_or_else(|| {
                (super::USAGE, "--server takes an address such as sips:sip.example.org:5061".to_owned())
            })?),
        };
    let dns = audit::resolver(&arguments.dns_server, arguments.trust_anchor.as_deref()).map_err(|why| (CONFIG, why))?;
    let answers = ask()?;

    say(&format!("\nLooking at {} (DNS, TLS, certificate, login) …", answers.address.domain));
    let report = look_at_provider(&answers, server.as_ref(), &trust, &dns).await;
    judge(&report, &answers)?;
    say(&format!("Joining the group {} …", answers.group));
    let token = files::token(&answers.group, &answers.address).map_err(of_config)?.duplicate();
    let admitted = trial::group(&answers.group, GroupCredentials::Token(token), NAME, &dns, &group_trust).await;
    let admitted = admitted.map_err(|why| {
        let remedy = "Ask whoever made the invitation for a new one, or check the address";
        (FAILED, format!("{why}. {remedy}. Nothing was written."))
    })?;
    say(&format!("  we are \"{}\" there", admitted.username));
    if !admitted.may("present") {
        let what =
            "the invitation does not let its guests speak (no permission \"present\"), so nobody would hear a phone";
        return Err((FAILED, format!("{what}. Ask for one that does. Nothing was written.")));
    }
    if !admitted.may("message") {
        say("  the gateway may not write into the chat, so nobody can compare ZRTP codes there");
    }
    say(&format!("  {}", expiry(&answers, unix_time())));
    write(arguments, &answers, server.as_ref(), &password_file)
}

fn password_file(config: &Path) -> PathBuf {
    config.with_extension("password")
}

// ---- questions

fn ask() -> Result<Answers, Failure> {
    let address = question("SIP address of the account (user@domain): ", false, |text| {
        Address::parse(text).ok_or_else(|| "that is no address; write it as user@domain".to_owned())
    })?;
    let password = question(&format!("Password of {address} (not shown): "), true, |text| {
        if text.is_empty() { Err("a password is needed".to_owned()) } else { Ok(Secret::new(text.to_owned())) }
    })?;
    // the token is a secret too, but a link that nobody sees cannot be checked by whoever pastes it; so only its token is hidden
    let (group, invitation) =
        question("Galène invitation (https://…/group/NAME/?token=…, not shown): ", true, |text| {
            let group = GroupAddress::parse(text).map_err(|error| error.to_string())?;
            match group.token() {
                Some(_) => Ok((group, Secret::new(text.to_owned()))),
                None => Err("the link has no token; copy the whole invitation from Galène".to_owned()),
            }
        })?;
    Ok(Answers { address, password, group, invitation })
}

/// Asks until the answer is good; a program that answers gets one try.
fn question<T>(prompt: &str, hidden: bool, read: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
    let terminal = std::io::stdin().is_terminal();
    let tries = if terminal { TRIES } else { 1 };
    let mut why = String::new();
    for _ in 0..tries {
        let _ = write!(std::io::stderr(), "{prompt}"); // without a terminal nobody reads it
        let _ = std::io::stderr().flush();
        let line = match hidden && terminal {
            true => rpassword::read_password(),
            false => {
                let mut line = String::new();
                std::io::stdin().lock().read_line(&mut line).map(|_| line)
            }
        };
        let line = Secret::new(line.map_err(|error| (FAILED, format!("the answer cannot be read: {error}")))?);
        if !terminal {
            say("");
        }
        match read(line.expose().trim()) {
            Ok(answer) => return Ok(answer),
            Err(error) => {
                why = error;
                if terminal {
                    say(&format!("  {why}"));
                }
            }
        }
    }
    Err((FAILED, format!("{why}. Nothing was written.")))
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}"); // progress only
}

// ---- trials

async fn look_at_provider(
    answers: &Answers,
    server: Option<&OutboundProxy>,
    trust: &crate::io::tls::Trust,
    dns: &Dns,
) -> Report {
    let Address { user, domain } = &answers.address;
    let target = match server {
        None => Target { host: domain.clone(), port: None, server: false, user: Some(user.clone()) },
        Some(proxy) => Target { host: proxy.host.clone(), port: proxy.port, server: true, user: None },
    };
    let plan = Plan {
        target,
        expected_name: domain.clone(),
        trust: trust.clone(),
        dns: dns.clone(),
        credentials: Some(Credentials::new(user.clone(), domain.clone(), user.clone(), answers.password.duplicate())),
    };
    let (_never, stop) = watch::channel(false);
    let steps = Arc::new(|step: &audit::Step| say(&format!("  {}", step.doing)));
    crate::audit::report(audit::run(plan, steps, stop).await, unix_time())
}

fn judge(report: &Report, answers: &Answers) -> Result<(), Failure> {
    let more = format!("`galene-sips audit {}` shows everything", answers.address.domain);
    match &report.verdict {
        Verdict::Accepted => {
            let grade = report.grade.as_ref().map_or("no grade", |grade| grade.letter.as_str());
            let login = match report.facts.account.known().map(|account| &account.login) {
                Some(Tested::Known(Login::Accepted { algorithm })) => format!(", login with {algorithm}"),
                _ => String::new(),
            };
            say(&format!("  accepted, grade {grade}{login} (media not tested; {more})"));
            Ok(())
        }
        Verdict::Refused { rule, reason, hint } => {
            Err((FAILED, format!("{reason} [{rule}]. {hint}. Nothing was written; {more}.")))
        }
        Verdict::Inconclusive { reason } => {
            let remedy =
                "Check the address and the network; if the provider's server has another name, name it with --server";
            Err((FAILED, format!("the provider could not be tried: {reason}. {remedy}. Nothing was written.")))
        }
    }
}

/// When the invitation ends, as far as it says so itself: a signed token (RFC 7519) does, one of Galène's own does not.
fn expiry(answers: &Answers, now: UnixTime) -> String {
    let token = answers.group.token().map(|token| token.expose().as_str()).unwrap_or_default();
    match expires_at(token) {
        None => "when the invitation expires cannot be seen from here; ask whoever made it".to_owned(),
        Some(at) => {
            let days = at.saturating_sub(now.0) / 86_400;
            let date = crate::io::utc(UnixTime(at));
            format!("the invitation expires on {date}, in {days} days; put a new one into the configuration before")
        }
    }
}

/// The claim `exp` of a JSON Web Token, in seconds since 1970. Nothing is believed on its account.
fn expires_at(token: &str) -> Option<u64> {
    use base64::Engine as _;
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    claims["exp"].as_u64()
}

// ---- the files

fn write(
    arguments: &Arguments,
    answers: &Answers,
    server: Option<&OutboundProxy>,
    password_file: &Path,
) -> Result<String, Failure> {
    let text = Secret::new(configuration(arguments, answers, server, password_file));
    let password = Secret::new(format!("{}\n", answers.password.expose()));
    let failed = |file: &Path, error: std::io::Error| {
        (FAILED, format!("{} cannot be written: {error}; name another place with --config", file.display()))
    };
    files::create_secret(password_file, password.expose().as_bytes()).map_err(|error| failed(password_file, error))?;
    let written = files::create_secret(&arguments.config, text.expose().as_bytes())
        .map_err(|error| failed(&arguments.config, error))
        .and_then(|()| files::load(Some(&arguments.config)).map_err(|error| (CONFIG, error.to_string())));
    if let Err(failure) = written {
        // what is not whole is not left behind; both files are ours, made a moment ago
        let _ = std::fs::remove_file(password_file);
        if failure.0 == CONFIG {
            let _ = std::fs::remove_file(&arguments.config);
        }
        return Err(failure);
    }
    let name = arguments.config.display();
    Ok(format!(
        "Written: {name} and {}, for your eyes only (mode 600).\n\nStart the gateway: galene-sips run --config {name}\nThen call {}.",
        password_file.display(),
        answers.address
    ))
}

fn configuration(
    arguments: &Arguments,
    answers: &Answers,
    server: Option<&OutboundProxy>,
    password_file: &Path,
) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let path = |path: &Path| quoted(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy());
    let mut text = format!("# written by galene-sips setup on {}; `galene-sips example` shows every key\n", today());
    let mut line = |key: &str, value: String| text += &format!("{key} = {value}\n");
    line("[[account]]\naddress", quoted(&format!("sips:{}", answers.address)));
    line("password_file", quoted(&password_file.file_name().unwrap_or_default().to_string_lossy()));
    if let Some(proxy) = server {
        let port = proxy.port.map_or_else(String::new, |port| format!(":{port}"));
        line("outbound_proxy", quoted(&format!("sips:{}{port}", proxy.host)));
    }
    if let Some(file) = &arguments.ca_file {
        line("ca_file", path(file));
    }
    line("[[room]]\ngroup", quoted(answers.invitation.expose()));
    line("account", quoted(&answers.address.to_string()));
    if let Some(file) = &arguments.group_ca_file {
        line("ca_file", path(file));
    }
    if !arguments.dns_server.is_empty() || arguments.trust_anchor.is_some() {
        let servers: Vec<String> = arguments.dns_server.iter().map(|server| quoted(&server.to_string())).collect();
        line("[dns]\nservers", format!("[{}]", servers.join(", ")));
        if let Some(file) = &arguments.trust_anchor {
            line("trust_anchor", path(file));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn a_signed_invitation_says_when_it_expires_and_any_other_does_not() {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let token = |claims: &str| format!("{}.{}.c2ln", encode("{\"alg\":\"HS256\"}"), encode(claims));
        assert_eq!(expires_at(&token("{\"exp\":1795564800}")), Some(1_795_564_800));
        for none in ["", "abc", "a.b", "a.b.c", &token("{}"), &token("{\"exp\":\"soon\"}"), &token("no json")] {
            assert_eq!(expires_at(none), None, "{none}");
        }
    }

    #[test]
    fn the_password_stands_beside_the_configuration() {
        assert_eq!(password_file(Path::new("/etc/x/galene-sips.toml")), Path::new("/etc/x/galene-sips.password"));
    }
}
