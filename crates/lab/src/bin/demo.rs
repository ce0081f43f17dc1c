//! `./demo`: the real program between a laboratory's provider, phone and conference, on loopback, in under a minute.
//!
//! A phone calls, speaks a sentence, a participant of the group hears it and answers; what was heard is measured from
//! the received samples. Exit code 1 if either sentence did not arrive or any packet was not encrypted.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a demonstration prints")]

use galene_sips::io::admin::{self, Calls, Question, Status};
use galene_sips_lab::Outcome;
use galene_sips_lab::certificates::{Authority, Kind, Tls};
use galene_sips_lab::group_peer::{GroupPeer, JoinOptions};
use galene_sips_lab::group_server::{GroupDescription, GroupServer, GroupServerOptions, PRESENT};
use galene_sips_lab::measure::correlate;
use galene_sips_lab::phone::{Call, Phone, PhoneOptions};
use galene_sips_lab::real::speech::speak;
use galene_sips_lab::registrar::{Registrar, RegistrarOptions};
use galene_sips_lab::wav::Wav;
use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const DOMAIN: &str = "sip.lab.test";
const RATE: u32 = 48_000;
const ENOUGH: f64 = 0.8;

/// What the laboratory's people use; nothing of it is worth hiding, and the gateway hides it all the same.
const GATEWAY_PASSWORD: &str = "a demonstration";
const PHONE_PASSWORD: &str = "another one";
const TOKEN: &str = "invitation-to-the-demonstration";

#[tokio::main]
async fn main() -> ExitCode {
    match timeout(Duration::from_secs(55), demonstrate()).await {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            eprintln!("The demonstration failed: {error}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("The demonstration did not end in time.");
            ExitCode::FAILURE
        }
    }
}

async fn demonstrate() -> Outcome<bool> {
    let directory = std::env::temp_dir().join(format!("galene-sips-demo-{}", std::process::id()));
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    let result = scene(&directory).await;
    let _ = fs::remove_dir_all(&directory);
    result
}

async fn scene(directory: &Path) -> Outcome<bool> {
    println!("A SIP provider, a conference server and a phone start on loopback, with certificates made just now.");
    let authority = Authority::new("Laboratory CA")?;
    let ca_file = directory.join("ca.pem");
    fs::write(&ca_file, authority.pem())?;
    let provider_tls = authority.issue(Kind::Good, DOMAIN)?.server_config(Tls::Both)?;
    let provider = RegistrarOptions::new(provider_tls, DOMAIN)
        .with_user("conference", GATEWAY_PASSWORD)
        .with_user("alice", PHONE_PASSWORD);
    let provider = Registrar::start(provider).await?;
    let group_tls = authority.issue_for_address([127, 0, 0, 1].into())?.server_config(Tls::Both)?;
    let group = GroupDescription::open("Demonstration").with_token(TOKEN, PRESENT);
    let group_server = GroupServer::start(GroupServerOptions::new(group_tls).with_group("demo", group)).await?;
    let group_url = group_server.url("127.0.0.1", "demo");

    println!("The gateway starts: the real program, with an account and a room in its configuration.");
    let socket = directory.join("admin.socket");
    let mut gateway = start_gateway(directory, &provider, &group_url)?;
    if !provider.registered("conference", Duration::from_secs(15)).await {
        return Err("the gateway did not register; its log is above".into());
    }
    let status: Status = admin::ask(&socket, &Question::Status).await?;
    if let Some(signalling) = status.accounts.first().and_then(|account| account.signalling.as_ref()) {
        println!(
            "  registered as conference@{DOMAIN} over TLS {} ({}), certificate of {} {}",
            signalling.tls, signalling.cipher, signalling.peer_name, signalling.level
        );
    }

    let listener = GroupPeer::join(JoinOptions::new(&group_url, "Bob").password("").ca_file(&ca_file)).await?;
    let options = PhoneOptions::new(provider.address(), authority.client_config()?, "alice", DOMAIN, PHONE_PASSWORD);
    let phone = Phone::start(PhoneOptions { display_name: Some("Alice".to_owned()), ..options }).await?;
    if !phone.registered(Duration::from_secs(10)).await {
        return Err("the phone did not register".into());
    }
    println!("Alice's phone calls conference@{DOMAIN}. Bob is in the group, in a browser's place.");
    let call = phone.call(&format!("sip:conference@{DOMAIN}")).await?;
    let calls: Calls = admin::ask(&socket, &Question::Calls).await?;
    let shown = calls.calls.first().ok_or("the gateway shows no call")?;
    println!(
        "  call #{}: {} with {} over {}; \"{}\" is in the group",
        shown.id,
        shown.codec,
        shown.media.suite,
        shown.media.method.to_uppercase(),
        shown.galene.participant
    );
    println!("  phone to gateway: encrypted up to the provider, who could listen (SDES keys pass through it)");
    println!("  gateway to conference: DTLS-SRTP, up to the conference server");

    let participant = shown.galene.participant.clone();
    let (to_bob, to_alice) = talk(directory, &call, &listener, &participant).await?;

    let calls: Calls = admin::ask(&socket, &Question::Calls).await?;
    let rtp = calls.calls.first().map(|call| call.rtp.clone()).unwrap_or_default();
    let statistics = call.statistics();
    call.bye().await;
    sleep(Duration::from_millis(500)).await;
    listener.leave().await;
    let clean = stop(&mut gateway).await?;

    println!("What was heard, computed from the received samples:");
    println!("  Bob heard Alice:   correlation {to_bob:.2}");
    println!("  Alice heard Bob:   correlation {to_alice:.2}");
    println!(
        "  packets: {} from the phone, {} to it; not encrypted or not authentic: {}",
        rtp.received,
        statistics.received,
        rtp.auth_failures + statistics.rejected
    );
    println!("  heard-by-bob.wav, heard-by-alice.wav");
    let all_encrypted = rtp.auth_failures + statistics.rejected == 0 && rtp.received > 0 && statistics.received > 0;
    let good = to_bob >= ENOUGH && to_alice >= ENOUGH && all_encrypted && clean;
    println!(
        "{}",
        if good { "Everything arrived, everything was encrypted." } else { "Something is wrong, see above." }
    );
    Ok(good)
}

/// Alice speaks, then Bob answers. Returns how well each was heard.
async fn talk(directory: &Path, call: &Call, listener: &GroupPeer, participant: &str) -> Outcome<(f64, f64)> {
    let question =
        speak(directory, "en", "Hello Bob, this is Alice, calling from my desk phone. Can you hear me well?")?;
    let answer = speak(directory, "en+m3", "Yes Alice, I can hear you perfectly. Welcome to the conference.")?;
    let pause = Duration::from_millis(1500);

    println!("Alice speaks …");
    listener.clear_heard();
    call.speak(question.samples.clone()).await;
    sleep(pause).await;
    let by_bob = listener.heard().remove(participant).unwrap_or_default();

    println!("Bob answers …");
    call.clear_heard();
    listener.publish(answer.samples.clone()).await;
    sleep(pause).await;
    let by_alice = call.heard();

    let to_bob = correlate(&question.samples, &by_bob, by_bob.len()).value;
    let to_alice = correlate(&answer.samples, &by_alice, by_alice.len()).value;
    Wav { rate: RATE, samples: by_bob }.write(Path::new("heard-by-bob.wav"))?;
    Wav { rate: RATE, samples: by_alice }.write(Path::new("heard-by-alice.wav"))?;
    Ok((to_bob, to_alice))
}

fn start_gateway(directory: &Path, provider: &Registrar, group_url: &str) -> Outcome<Child> {
    secret_file(&directory.join("sip.password"), GATEWAY_PASSWORD)?;
    let config = format!(
        "[[account]]\naddress = \"conference@{DOMAIN}\"\npassword_file = \"sip.password\"\n\
         outbound_proxy = \"sips:{}\"\nca_file = \"ca.pem\"\n\
         [[room]]\ngroup = \"{group_url}?token={TOKEN}\"\naccount = \"conference@{DOMAIN}\"\nca_file = \"ca.pem\"\n\
         [store]\ndirectory = \"store\"\n[admin]\nsocket = \"admin.socket\"\n[log]\nlevel = \"warn\"\n",
        provider.address()
    );
    let file = directory.join("galene-sips.toml");
    secret_file(&file, &config)?;
    Ok(Command::new(program()?).arg("run").arg("--config").arg(file).kill_on_drop(true).spawn()?)
}

/// The program stands beside this one.
fn program() -> Outcome<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("galene-sips");
    match program.exists() {
        true => Ok(program),
        false => {
            Err(format!("{} is missing: build the whole workspace first, as ./demo does", program.display()).into())
        }
    }
}

/// SIGTERM; the program leaves the group, ends its registration, and goes.
async fn stop(gateway: &mut Child) -> Outcome<bool> {
    let pid = gateway.id().ok_or("the gateway ended early")?;
    Command::new("kill").arg(pid.to_string()).status().await?;
    let status = timeout(Duration::from_secs(6), gateway.wait()).await.map_err(|_| "the gateway did not end")??;
    Ok(status.success())
}

fn secret_file(path: &Path, text: &str) -> Outcome<()> {
    use std::io::Write as _;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())?;
    Ok(())
}
