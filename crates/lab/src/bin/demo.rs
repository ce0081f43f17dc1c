//! `./demo`: the real program between a laboratory's provider, phone and conference, on loopback, in under a minute.
//!
//! A phone calls with ZRTP and shows the same code as the gateway; it speaks a sentence, a participant of the group hears it
//! and answers; what was heard is measured from the received samples. Exit code 1 if the codes differ, either sentence did not
//! arrive or any packet was not encrypted.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a demonstration prints")]

use galene_sips::galene::Chat;
use galene_sips::io::admin;
use galene_sips_lab::group_peer::GroupPeer;
use galene_sips_lab::measure::correlate_in_pieces;
use galene_sips_lab::phone::{Call, MediaOptions, ZrtpMemory};
use galene_sips_lab::real::speech::speak;
use galene_sips_lab::scene::{DOMAIN, GATEWAY, Scene};
use galene_sips_lab::wav::Wav;
use galene_sips_lab::{Failure, Outcome};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const RATE: u32 = 48_000;
const ENOUGH: f64 = 0.8;

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
    println!("A SIP provider, a conference server and the gateway start on loopback, with certificates made just now.");
    println!("The gateway is the real program; its configuration has an account and a room.");
    let scene = Scene::start(&program()?, "warn").await?;
    let status = scene.status().await?;
    if let Some(signalling) = status.accounts.first().and_then(|account| account.signalling.as_ref()) {
        println!(
            "  registered as {GATEWAY}@{DOMAIN} over TLS {} ({}), certificate of {} {}",
            signalling.tls, signalling.cipher, signalling.peer_name, signalling.level
        );
    }

    // the operator of the laboratory's group: only an operator's word on a code counts
    let listener = scene.group.operator().await?;
    let phone = scene.phone(0, |options| options.media = MediaOptions::zrtp(&ZrtpMemory::default())).await?;
    println!(
        "Alice's phone calls {GATEWAY}@{DOMAIN} with ZRTP. Bob is in the group as its operator op, in a browser's place."
    );
    let call = phone.call(&format!("sip:{GATEWAY}@{DOMAIN}")).await?;
    let shown = secure(&scene, &call).await?;
    println!(
        "  call #{}: {} with {}, keys by {} ({}); \"{}\" is in the group",
        shown.id,
        shown.codec,
        shown.media.suite,
        shown.media.method.to_uppercase(),
        shown.media.key_agreement.as_deref().unwrap_or_default(),
        shown.galene.participant
    );
    println!("  phone to gateway: encrypted end to end to this gateway, with keys that the SIP provider never sees");
    println!("  gateway to conference: DTLS-SRTP, up to the conference server");
    let same_code = show_codes(&call, &shown);

    let (to_bob, to_alice) = talk(&scene, &call, &listener, &shown.galene.participant).await?;

    say_that_codes_are_equal(&scene, &listener, &call, shown.id).await?;

    // what is still on its way arrives before it is counted
    call.set_sending(false);
    sleep(Duration::from_millis(300)).await;
    let statistics = call.statistics();
    let rtp = scene.calls().await?.pop().map(|call| call.rtp).unwrap_or_default();
    call.bye().await;
    scene.calls_become(<[_]>::is_empty).await?;
    listener.leave().await;
    let (_, log) = scene.stop().await?;
    print!("{log}");

    // a clear packet authenticates nowhere, so every packet sent must be among the authentic ones
    let unproven = statistics.sent.saturating_sub(rtp.received + rtp.lost);
    let bad = rtp.auth_failures + statistics.rejected + unproven;
    println!("What was heard, computed from the received samples:");
    println!("  Bob heard Alice:   correlation {to_bob:.2}");
    println!("  Alice heard Bob:   correlation {to_alice:.2}");
    println!(
        "  packets: {} from the phone, {} to it; not encrypted or not authentic: {bad}",
        rtp.received, statistics.received
    );
    println!("  heard-by-bob.wav, heard-by-alice.wav");
    let all_encrypted = bad == 0 && rtp.received > 0 && statistics.received > 0;
    let good = to_bob >= ENOUGH && to_alice >= ENOUGH && all_encrypted && same_code;
    println!(
        "{}",
        if good { "Everything arrived, everything was encrypted." } else { "Something is wrong, see above." }
    );
    Ok(good)
}

/// The call as the gateway shows it once both sides have the keys.
async fn secure(scene: &Scene, call: &Call) -> Outcome<admin::Call> {
    if call.secured(Duration::from_secs(10)).await.is_none() {
        return Err(Failure::from(format!("ZRTP did not become secure\n{}", scene.log())));
    }
    let calls = scene.calls_become(|calls| calls.first().is_some_and(|call| call.media.sas.is_some())).await?;
    calls.into_iter().next().ok_or_else(|| "the gateway shows no call".into())
}

/// The short authentication string of each side. Whether it is the same.
fn show_codes(call: &Call, shown: &admin::Call) -> bool {
    let (phone, gateway) = (call.sas().unwrap_or_default(), shown.media.sas.clone().unwrap_or_default());
    let same = phone == gateway && !phone.is_empty();
    println!("The code, which is the same on both sides only if nobody sits in between:");
    println!(
        "  Alice's phone shows {phone}, the gateway shows {gateway}: {}",
        if same { "equal" } else { "NOT EQUAL" }
    );
    println!("  Two people compare it by voice: those in the group say its first two characters, Alice the last two.");
    println!(
        "  Who knows her voice, as an operator of the group, then types `!sas {} ok` into its chat, or `bad`.",
        shown.id
    );
    same
}

/// What two people do who have compared the code: Alice on her phone, Bob as an operator in the chat of the group.
async fn say_that_codes_are_equal(scene: &Scene, bob: &GroupPeer, call: &Call, number: u32) -> Outcome<()> {
    let of_others = |chat: &Chat| chat.source.as_deref() != Some(bob.id());
    let seen = bob.chats();
    println!("The chat of the group:");
    seen.iter().filter(|chat| of_others(chat)).for_each(show_line);
    call.compare_sas(true).await;
    println!("  Bob: !sas {number} ok");
    bob.chat(format!("!sas {number} ok"));
    let answer = async {
        loop {
            if let Some(answer) = bob.chats().into_iter().skip(seen.len()).find(of_others) {
                return answer;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let answer = timeout(Duration::from_secs(5), answer).await;
    show_line(&answer.map_err(|_| Failure::from("the gateway did not answer in the chat"))?);
    scene.calls_become(|calls| calls.first().is_some_and(|call| call.media.sas_verified)).await?;
    println!("  call #{number} counts as compared; the phone is known from its next call on");
    Ok(())
}

fn show_line(chat: &Chat) {
    println!("  {}: {}", chat.username.as_deref().unwrap_or("the server"), chat.text);
}

/// Alice speaks, then Bob answers. Returns how well each was heard.
async fn talk(scene: &Scene, call: &Call, listener: &GroupPeer, participant: &str) -> Outcome<(f64, f64)> {
    let question =
        speak(&scene.file(""), "en", "Hello Bob, this is Alice, calling from my desk phone. Can you hear me well?")?;
    let answer = speak(&scene.file(""), "en+m3", "Yes Alice, I can hear you perfectly. Welcome to the conference.")?;
    let pause = Duration::from_millis(1500);

    println!("Alice speaks …");
    listener.clear_heard();
    call.speak(question.samples.clone()).await;
    sleep(pause).await;
    let by_bob = listener.heard().remove(participant).unwrap_or_default();

    println!("Bob answers …");
    call.clear_heard();
    // as in a browser the microphone is open before anybody speaks: a new stream's first 250 ms reach nobody
    let mut microphone = vec![0; RATE as usize];
    microphone.extend_from_slice(&answer.samples);
    listener.publish(microphone).await;
    sleep(pause).await;
    let by_alice = call.heard();

    // a jitter buffer that shortens its delay leaves out a pitch period, after which all that follows lies earlier:
    // each half second is looked for within this much of its place
    let drift = RATE as usize / 20;
    let measure = |said: &[i16], heard: &[i16]| correlate_in_pieces(said, heard, RATE, heard.len(), drift).value;
    let to_bob = measure(&question.samples, &by_bob);
    let to_alice = measure(&answer.samples, &by_alice);
    Wav { rate: RATE, samples: by_bob }.write(Path::new("heard-by-bob.wav"))?;
    Wav { rate: RATE, samples: by_alice }.write(Path::new("heard-by-alice.wav"))?;
    Ok((to_bob, to_alice))
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
