//! Many calls at once through the running program: each is answered or refused, each is heard, and nothing of any of
//! them stays behind.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]
#![allow(clippy::print_stdout, reason = "and tell what it measured")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use galene_sips::io::admin::Call;
use galene_sips::sdp::Codec;
use galene_sips::sip::{Message, Method, Response};
use galene_sips_lab::group_peer::GroupPeer;
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::phone::{MediaOptions, PhoneOptions};
use galene_sips_lab::scene::{DOMAIN, GATEWAY, Scene};
use galene_sips_lab::sound::sine;
use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::sleep;

/// Everybody here needs the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());

const SOON: Duration = Duration::from_secs(15);
const LATER: Duration = Duration::from_secs(60);
const MANY: usize = 100;

async fn scene() -> Scene {
    Scene::start(Path::new(env!("CARGO_BIN_EXE_galene-sips")), "info").await.unwrap()
}

/// The process of the gateway, as the system sees it.
struct Process(u32);

impl Process {
    fn file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0)).unwrap()
    }

    /// How many UDP sockets it has open.
    fn udp_sockets(&self) -> usize {
        let tables = self.file("net/udp") + &self.file("net/udp6");
        let inodes: Vec<&str> = tables.lines().filter_map(|line| line.split_whitespace().nth(9)).collect();
        let open = fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap();
        let links = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        links
            .filter(|link| {
                let inode = link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
                inode.is_some_and(|inode| inodes.contains(&inode))
            })
            .count()
    }

    /// Time on a processor until now.
    fn processor_time(&self) -> Duration {
        let stat = self.file("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // fields 14 and 15, in hundredths of a second
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    fn memory_mib(&self) -> f64 {
        let status = self.file("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

/// A caller who writes his own SIP, straight into the gateway's connection.
struct Callers<'a> {
    scene: &'a Scene,
    /// Takes the gateway's sound and does nothing with it.
    sink: UdpSocket,
    /// How much of the provider's log was looked at.
    seen: usize,
}

/// A response of the gateway to one of the callers.
struct Answer {
    caller: usize,
    method: Method,
    response: Response,
}

impl<'a> Callers<'a> {
    fn new(scene: &'a Scene) -> Self {
        let seen = scene.provider.log().len();
        Callers { scene, sink: UdpSocket::bind("127.0.0.1:0").unwrap(), seen }
    }

    fn request(&self, caller: usize, method: &str, cseq: u32, branch: &str, to_tag: &str, body: &str) -> Vec<u8> {
        let (content, tag) = match (body, to_tag) {
            ("", "") => ("", String::new()),
            ("", tag) => ("", format!(";tag={tag}")),
            _ => ("Content-Type: application/sdp\r\n", String::new()),
        };
        format!(
            "{method} sip:{GATEWAY}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK{branch}{caller}\r\n\
             Max-Forwards: 70\r\nFrom: \"Caller {caller}\" <sip:caller{caller}@sip.lab.test>;tag=from{caller}\r\n\
             To: <sip:{GATEWAY}@sip.lab.test>{tag}\r\nCall-ID: many-{caller}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:caller{caller}@127.0.0.1:5061;transport=tls>\r\n{content}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn invite(&self, caller: usize) -> Vec<u8> {
        let key = STANDARD.encode([caller as u8; 30]);
        let port = self.sink.local_addr().unwrap().port();
        let body = format!(
            "v=0\r\no=- {caller} 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/SAVP 0\r\na=rtpmap:0 PCMU/8000\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"
        );
        self.request(caller, "INVITE", 1, "invite", "", &body)
    }

    fn cancel(&self, caller: usize) -> Vec<u8> {
        self.request(caller, "CANCEL", 1, "invite", "", "")
    }

    fn send(&self, bytes: Vec<u8>) {
        assert!(self.scene.provider.inject(GATEWAY, bytes), "the gateway's connection is gone\n{}", log(self.scene));
    }

    fn acknowledge(&self, answer: &Answer) {
        let branch = if answer.response.status < 300 { "ack" } else { "invite" };
        self.send(self.request(answer.caller, "ACK", 1, branch, &tag(&answer.response), ""));
    }

    fn hang_up(&self, caller: usize, tag: &str) {
        self.send(self.request(caller, "BYE", 2, "bye", tag, ""));
    }

    /// What the gateway has answered since the last look, 100 and 180 left out.
    fn answers(&mut self) -> Vec<Answer> {
        let news = self.scene.provider.log().split_off(self.seen);
        self.seen += news.len();
        let responses = news.into_iter().filter(|entry| entry.from_peer).filter_map(|entry| match entry.message {
            Message::Response(response) if response.status >= 200 => Some(response),
            _ => None,
        });
        responses
            .filter_map(|response| {
                let caller = response.headers.call_id().unwrap().strip_prefix("many-")?.parse().unwrap();
                let method = response.headers.cseq().unwrap().method;
                Some(Answer { caller, method, response })
            })
            .collect()
    }
}

fn tag(response: &Response) -> String {
    response.headers.to().unwrap().tag().unwrap().to_owned()
}

/// The last lines of the gateway's log.
fn log(scene: &Scene) -> String {
    let log = scene.log();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

async fn wait(patience: Duration, what: &str, scene: &Scene, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < patience, "{what}: not within {patience:?}\n{}", log(scene));
        sleep(Duration::from_millis(10)).await;
    }
}

/// No call, no participant but the given one, no port.
async fn nothing_is_left(scene: &Scene, process: &Process, watcher: &GroupPeer) {
    scene.calls_become(|calls| calls.is_empty()).await.unwrap();
    wait(SOON, "the group is empty", scene, || watcher.participants().len() == 1).await;
    wait(SOON, "no port is open", scene, || process.udp_sockets() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_invites_at_once_are_each_answered_or_refused_and_leave_nothing_behind() {
    let _alone = ALONE.lock().await;
    let scene = &scene().await;
    let process = Process(scene.gateway_pid().unwrap());
    let watcher = scene.participant("Watcher").await.unwrap();
    let mut memory = vec![process.memory_mib()];
    for round in 0..4 {
        let mut callers = Callers::new(scene);
        let all = MANY * round..MANY * (round + 1);
        callers.send(all.clone().flat_map(|caller| callers.invite(caller)).collect());
        let start = Instant::now();
        let mut finals: BTreeMap<usize, Response> = BTreeMap::new();
        wait(LATER, "each INVITE has its answer", scene, || {
            for answer in callers.answers() {
                callers.acknowledge(&answer);
                let status = answer.response.status;
                let first = finals.entry(answer.caller).or_insert(answer.response);
                assert_eq!(first.status, status, "a second answer to caller {}", answer.caller);
            }
            finals.len() == MANY
        })
        .await;
        let took = start.elapsed();
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        finals.values().for_each(|response| *statuses.entry(response.status).or_default() += 1);
        assert!(statuses.keys().all(|status| [200, 486, 503].contains(status)), "{statuses:?}\n{}", log(scene));
        let talking = statuses.get(&200).copied().unwrap_or_default();
        assert!(talking > 0, "{statuses:?}\n{}", log(scene));
        let up = |calls: &[Call]| calls.len() == talking && calls.iter().all(|call| call.state != "joining");
        scene.calls_become(up).await.unwrap();
        // the callers, the listening client, and the watcher
        wait(SOON, "everybody is in the group", scene, || watcher.participants().len() == talking + 2).await;

        for (caller, response) in finals.iter().filter(|(_, response)| response.status == 200) {
            callers.hang_up(*caller, &tag(response));
        }
        let mut ended = 0;
        wait(SOON, "every BYE is answered", scene, || {
            let byes = callers.answers().into_iter().filter(|answer| answer.method == Method::BYE);
            ended += byes.inspect(|answer| assert_eq!(answer.response.status, 200)).count();
            ended == talking
        })
        .await;
        nothing_is_left(scene, &process, &watcher).await;
        memory.push(process.memory_mib());
        println!("round {round}: {statuses:?} within {took:?}, then {:.0} MiB", process.memory_mib());
    }
    // The allocator keeps some of what the first calls took for the next ones; what a call takes is about 300 KiB.
    let each = (memory[4] - memory[1]) * 1024.0 / (3.0 * MANY as f64);
    assert!(each < 150.0, "each call leaves {each:.0} KiB behind: {memory:?} MiB");
}

/// Calls, and gives up after `patience`. The BYE follows if the call was answered. Returns how the INVITE ended.
async fn change_of_mind(scene: &Scene, caller: usize, patience: Duration) -> u16 {
    let mut callers = Callers::new(scene);
    callers.send(callers.invite(caller));
    sleep(patience).await;
    callers.send(callers.cancel(caller));
    let (mut ending, mut cancelled, mut bye) = (None, None, None);
    wait(SOON, &format!("caller {caller} is rid of his call"), scene, || {
        for answer in callers.answers().into_iter().filter(|answer| answer.caller == caller) {
            let status = answer.response.status;
            match answer.method.as_str() {
                "INVITE" => {
                    callers.acknowledge(&answer);
                    if status == 200 && ending.is_none() {
                        callers.hang_up(caller, &tag(&answer.response));
                    }
                    assert_eq!(*ending.get_or_insert(status), status, "caller {caller} got a second answer");
                }
                "CANCEL" => cancelled = Some(status),
                _ => bye = Some(status),
            }
        }
        ending.is_some() && cancelled.is_some() && (ending != Some(200) || bye.is_some())
    })
    .await;
    assert_eq!(cancelled, Some(200), "the CANCEL of caller {caller}");
    assert_eq!(bye, (ending == Some(200)).then_some(200), "the BYE of caller {caller}");
    ending.unwrap()
}

/// How long a call takes from INVITE to 200.
async fn time_to_answer(scene: &Scene, caller: usize) -> Duration {
    let mut callers = Callers::new(scene);
    let start = Instant::now();
    callers.send(callers.invite(caller));
    let mut answered = None;
    wait(SOON, "the call is answered", scene, || {
        answered = callers.answers().into_iter().find(|answer| answer.caller == caller);
        answered.is_some()
    })
    .await;
    let took = start.elapsed();
    let answer = answered.unwrap();
    callers.acknowledge(&answer);
    callers.hang_up(caller, &tag(&answer.response));
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cancelled_at_any_moment_is_gone() {
    let _alone = ALONE.lock().await;
    let scene = &scene().await;
    let process = Process(scene.gateway_pid().unwrap());
    let watcher = scene.participant("Watcher").await.unwrap();
    time_to_answer(scene, 0).await; // the first one opens the listening client too
    let usual = time_to_answer(scene, 1).await;
    let mut endings: BTreeMap<u16, usize> = BTreeMap::new();
    // Right after the INVITE, and around the moment of the answer; ten at a time.
    let early = (0..MANY).map(|n| Duration::from_micros(n as u64 * 300));
    let late = (0..MANY).map(|n| usual * (50 + n as u32) / 100);
    let patience: Vec<Duration> = early.chain(late).collect();
    for (group, ten) in patience.chunks(10).enumerate() {
        let calls = ten.iter().enumerate().map(|(n, patience)| change_of_mind(scene, 2 + 10 * group + n, *patience));
        for ending in join_all(calls).await {
            assert!(ending == 487 || ending == 200, "an INVITE ended in {ending}\n{}", log(scene));
            *endings.entry(ending).or_default() += 1;
        }
    }
    println!("answered after {usual:?} if nobody cancels; 0 to 30 ms and 50 to 150 % of that: {endings:?}");
    nothing_is_left(scene, &process, &watcher).await;
}

const PHONES: usize = 20;
const RATE: u32 = 48_000;
const GROUP_HZ: f64 = 2_600.0;

/// Far enough from each other, and below what G.711 carries.
fn hz(phone: usize) -> f64 {
    500.0 + 100.0 * phone as f64
}

fn tone(hz: f64, amplitude: f64, seconds: usize) -> Vec<i16> {
    sine(RATE, hz, amplitude, seconds * RATE as usize)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_phones_hear_and_are_heard_each_with_its_own_voice() {
    let _alone = ALONE.lock().await;
    let scene = &scene().await;
    let process = Process(scene.gateway_pid().unwrap());
    let watcher = scene.participant("Watcher").await.unwrap();
    let idle = process.memory_mib();
    let mut phones = Vec::new();
    for number in 0..PHONES {
        let codec = [Codec::Opus, Codec::Opus, Codec::Pcmu, Codec::Pcma][number % 4];
        let name = format!("Phone {number}");
        let adjust = |options: &mut PhoneOptions| {
            options.display_name = Some(name.clone());
            options.media = MediaOptions::default().codec(codec);
        };
        phones.push(scene.phone(number, adjust).await.unwrap());
    }
    let target = format!("sip:{GATEWAY}@{DOMAIN}");
    let calls: Vec<_> = join_all(phones.iter().map(|phone| phone.call(&target))).await;
    let calls: Vec<_> = calls.into_iter().map(|call| call.unwrap()).collect();
    wait(SOON, "everybody is in the group", scene, || watcher.participants().len() == PHONES + 2).await;

    // All speak at once: the group hears each by itself, and each phone all but itself.
    sleep(Duration::from_secs(2)).await;
    let speaking = calls.iter().enumerate().map(|(n, call)| call.speak(tone(hz(n), 0.04, 12)));
    let measuring = async {
        sleep(Duration::from_secs(3)).await;
        watcher.clear_heard();
        calls.iter().for_each(|call| call.clear_heard());
        let (start, before) = (Instant::now(), process.processor_time());
        sleep(Duration::from_secs(6)).await;
        let load = (process.processor_time() - before).as_secs_f64() / start.elapsed().as_secs_f64();
        (load, watcher.heard(), calls.iter().map(|call| call.heard()).collect::<Vec<_>>())
    };
    let (_, (load, by_group, by_phones)) = tokio::join!(join_all(speaking), measuring);
    let busy = process.memory_mib();
    for n in 0..PHONES {
        let named = format!("Phone {n} #");
        let heard = by_group.iter().find(|(name, _)| name.contains(&named)).map(|(_, heard)| heard.as_slice());
        let heard = heard.unwrap_or_default();
        assert!(heard.len() > 5 * RATE as usize, "the group heard {} samples of phone {n}", heard.len());
        let share = tone_share(heard, RATE, hz(n));
        assert!(share >= 0.9, "the group heard phone {n} with {share:.3} of the power");
    }
    let mut least = f64::MAX;
    let mut echo = 0.0f64;
    for (n, heard) in by_phones.iter().enumerate() {
        assert!(heard.len() > 5 * RATE as usize, "phone {n} heard {} samples", heard.len());
        for other in (0..PHONES).filter(|other| *other != n) {
            least = least.min(tone_share(heard, RATE, hz(other)));
        }
        echo = echo.max(tone_share(heard, RATE, hz(n)));
    }
    println!("each of 19 others with at least {least:.4} of the power, itself with at most {echo:.5}");
    assert!(least > 0.5 / PHONES as f64, "a phone heard another with only {least:.4} of the power");
    assert!(echo < 0.01, "a phone heard itself with {echo:.4} of the power");

    // The group speaks: each phone hears it.
    sleep(Duration::from_secs(1)).await;
    let measuring = async {
        sleep(Duration::from_secs(3)).await;
        calls.iter().for_each(|call| call.clear_heard());
        sleep(Duration::from_secs(4)).await;
        calls.iter().map(|call| call.heard()).collect::<Vec<_>>()
    };
    let (_, by_phones) = tokio::join!(watcher.publish(tone(GROUP_HZ, 0.3, 8)), measuring);
    for (n, heard) in by_phones.iter().enumerate() {
        let share = tone_share(heard, RATE, GROUP_HZ);
        assert!(share >= 0.9, "phone {n} heard the group with {share:.3} of the power");
    }

    for call in scene.calls().await.unwrap() {
        assert_eq!(call.rtp.auth_failures, 0, "{call:?}");
    }
    join_all(calls.iter().map(|call| call.bye())).await;
    nothing_is_left(scene, &process, &watcher).await;
    let after = process.memory_mib();
    println!(
        "{PHONES} phones: {:.0} % of one processor; {idle:.0} MiB idle, {busy:.0} busy, {after:.0} after",
        load * 100.0
    );
}
