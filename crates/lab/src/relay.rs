//! A bad network between two UDP endpoints: loss, delay, jitter, reordering and duplication, from one seed.
//!
//! A relay stands before one fixed address (`to`). Whoever sends to the relay is a client and gets a socket of its own
//! towards `to`; answers go back the same way. Each direction has its own [`Weather`] and its own dice, so that a run
//! with the same seed and the same packets loses the same ones.

use crate::Outcome;
use crate::sound::Dice;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// What happens to the packets of one direction. The default: nothing.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Weather {
    /// The share that is lost, 0 to 1.
    pub loss: f64,
    /// The share that comes twice.
    pub duplication: f64,
    /// The share that is held back by `reorder_by`, so that later ones overtake it.
    pub reordering: f64,
    /// How long those are held back.
    pub reorder_by: Duration,
    /// How long every packet takes.
    pub delay: Duration,
    /// Up to so much more, evenly spread.
    pub jitter: Duration,
}

/// Which way a packet went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From a client to the fixed address.
    There,
    /// Back.
    Back,
}

/// A packet that came to the relay, lost ones included.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// Which way.
    pub way: Way,
    /// Whether it was lost.
    pub lost: bool,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// A running relay. It ends when this is dropped.
pub struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

struct State {
    to: SocketAddr,
    weather: [Weather; 2],
    dice: [Dice; 2],
    seen: Vec<Seen>,
}

impl Relay {
    /// A relay on a free port of the same address family's loopback address, before `to`.
    pub async fn start(to: SocketAddr, weather: Weather, seed: u64) -> Outcome<Relay> {
        let socket = Arc::new(UdpSocket::bind(loopback(to)).await?);
        let address = socket.local_addr()?;
        let dice = [Dice(seed), Dice(seed ^ 0x9e37_79b9_7f4a_7c15)];
        let state = Arc::new(Mutex::new(State { to, weather: [weather; 2], dice, seen: Vec::new() }));
        let mut tasks = JoinSet::new();
        tasks.spawn(run(socket, state.clone()));
        Ok(Relay { address, state, _tasks: tasks })
    }

    /// Where clients send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather of one direction.
    pub fn set_weather(&self, way: Way, weather: Weather) {
        lock(&self.state).weather[index(way)] = weather;
    }

    /// Stands before another address from now on.
    pub fn set_destination(&self, to: SocketAddr) {
        lock(&self.state).to = to;
    }

    /// Every packet until now.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }

    /// How many packets came to the relay, and how many of them were lost.
    pub fn counts(&self, way: Way) -> (usize, usize) {
        let state = lock(&self.state);
        let mut packets = state.seen.iter().filter(|seen| seen.way == way).map(|seen| seen.lost);
        packets.by_ref().fold((0, 0), |(all, lost), is_lost| (all + 1, lost + usize::from(is_lost)))
    }
}

fn index(way: Way) -> usize {
    usize::from(way == Way::Back)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn loopback(to: SocketAddr) -> SocketAddr {
    if to.is_ipv4() { SocketAddr::from(([127, 0, 0, 1], 0)) } else { SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)) }
}

impl State {
    /// Records a packet; how long each of its copies takes, none if it is lost.
    fn judge(&mut self, way: Way, bytes: &[u8]) -> Vec<Duration> {
        let (weather, dice) = (self.weather[index(way)], &mut self.dice[index(way)]);
        // Each packet rolls the same dice whatever becomes of it, so that one setting does not shift another.
        let [lost, twice, late] =
            [weather.loss, weather.duplication, weather.reordering].map(|p| dice.between(0.0, 1.0) < p);
        let mut delay = || {
            let held = if late { weather.reorder_by } else { Duration::ZERO };
            weather.delay + held + weather.jitter.mul_f64(dice.between(0.0, 1.0))
        };
        let copies = [delay(), delay()];
        self.seen.push(Seen { at: Instant::now(), way, lost, bytes: bytes.to_vec() });
        let count = if lost { 0 } else { 1 + usize::from(twice) };
        copies[..count].to_vec()
    }
}

async fn run(socket: Arc<UdpSocket>, state: Arc<Mutex<State>>) {
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        while tasks.try_join_next().is_some() {}
        let to = lock(&state).to;
        let out = match clients.get(&client) {
            Some(out) => out.clone(),
            None => {
                let Ok(out) = UdpSocket::bind(loopback(to)).await else { return };
                let out = Arc::new(out);
                clients.insert(client, out.clone());
                tasks.spawn(come_back(out.clone(), socket.clone(), client, state.clone()));
                out
            }
        };
        let copies = lock(&state).judge(Way::There, &buffer[..length]);
        for delay in copies {
            tasks.spawn(deliver(out.clone(), to, buffer[..length].to_vec(), delay));
        }
    }
}

async fn come_back(from: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr, state: Arc<Mutex<State>>) {
    let mut tasks = JoinSet::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((length, _)) = from.recv_from(&mut buffer).await else { continue };
        while tasks.try_join_next().is_some() {}
        let copies = lock(&state).judge(Way::Back, &buffer[..length]);
        for delay in copies {
            tasks.spawn(deliver(socket.clone(), client, buffer[..length].to_vec(), delay));
        }
    }
}

async fn deliver(socket: Arc<UdpSocket>, to: SocketAddr, bytes: Vec<u8>, delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let _ = socket.send_to(&bytes, to).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    async fn echo() -> (SocketAddr, JoinSet<()>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                socket.send_to(&buffer[..length], from).await.unwrap();
            }
        });
        (address, tasks)
    }

    /// Sends 0, 1, 2 … through a relay and back; what returned, in order.
    async fn through(weather: Weather, seed: u64, count: u32) -> Vec<u32> {
        let (address, _echo) = echo().await;
        let relay = Relay::start(address, weather, seed).await.unwrap();
        relay.set_weather(Way::Back, Weather::default());
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut came = Vec::new();
        let mut buffer = [0; 2048];
        for number in 0..count {
            socket.send_to(&number.to_be_bytes(), relay.address()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        while let Ok(received) = tokio::time::timeout(Duration::from_millis(200), socket.recv_from(&mut buffer)).await {
            received.unwrap();
            came.push(u32::from_be_bytes(buffer[..4].try_into().unwrap()));
        }
        assert_eq!(relay.counts(Way::There).0, count as usize);
        assert_eq!(relay.counts(Way::Back).0, came.len());
        came
    }

    #[tokio::test]
    async fn fair_weather_changes_nothing() {
        assert_eq!(through(Weather::default(), 1, 50).await, (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn one_seed_loses_and_doubles_the_same_packets_again() {
        let weather = Weather { loss: 0.2, duplication: 0.1, ..Weather::default() };
        let first = through(weather, 7, 100).await;
        let lost = (0..100).filter(|number| !first.contains(number)).count();
        assert!((8..35).contains(&lost), "{lost}");
        let doubled = first.len() - (100 - lost);
        assert!((1..25).contains(&doubled), "{doubled}");
        assert_eq!(through(weather, 7, 100).await, first);
        assert_ne!(through(weather, 8, 100).await, first);
    }

    #[tokio::test]
    async fn held_back_packets_are_overtaken() {
        let weather = Weather { reordering: 0.2, reorder_by: Duration::from_millis(20), ..Weather::default() };
        let came = through(weather, 3, 60).await;
        assert_eq!(came.len(), 60);
        assert!(came.windows(2).any(|pair| pair[1] < pair[0]));
    }
}
