//! Which hello to send next, and what follows from what came back.
//!
//! In: replies, each to a hello on a fresh connection. Out: hellos, at most as many as the budget allows, and in the end
//! [`Found`]. The stages, each of tasks that do not wait for each other:
//!
//!  1. each version with the suites that are no weakness, then with the weak ones: one class less with each answer, so
//!     that six hellos at most find every weak class
//!  2. what the best version ≤ 1.2 makes of compression, heartbeat, no SNI, ALPN, the fallback SCSV
//!  3. the groups, and the suites of TLS 1.3 and 1.2: each left out of the next hello once it was chosen, so that the
//!     server's order shows
//!  4. the suites of older versions, if the budget still allows
//!  5. two suites the other way round
//!
//! `conclude` turns what was seen into facts.
//!
//! "No" is concluded only from a server that said so or closed. Silence, garbage and a connection that was not made
//! leave a question open.

use super::groups;
use super::hello::{ALPN_SIP, Hello};
use super::reply::{End, Key, Reply};
use super::suites::{self, Class, Exchange};
use crate::audit::facts::{Tested, TlsFacts, Version};
use std::collections::{BTreeMap, VecDeque};

/// How many connections a scan may use.
pub const BUDGET: u32 = 60;
/// Kept back for stage 5.
const RESERVE: u32 = 1;

/// RFC 5246 §7.2.
const PROTOCOL_VERSION: u8 = 70;
/// RFC 6066 §3.
const UNRECOGNIZED_NAME: u8 = 112;

const OLDER: [Version; 4] = [Version::Tls12, Version::Tls11, Version::Tls10, Version::Ssl3];

/// Names a hello until its reply is given back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(u32);

/// What the scan wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Send this on a fresh connection.
    Ask(Ticket, Hello),
    /// Give back a reply first.
    Wait,
    /// It is over.
    Done,
}

/// What a scan found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// All that hand-made hellos show.
    pub facts: TlsFacts,
    /// The best handshake that showed a certificate in clear.
    pub in_clear: Option<InClear>,
}

/// What a handshake of TLS ≤ 1.2 shows of the server's identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InClear {
    /// Its version.
    pub version: Version,
    /// The certificates in DER, as sent.
    pub chain: Vec<Vec<u8>>,
    /// A stapled OCSP answer.
    pub staple: Option<Vec<u8>>,
    /// Whether it asks for a certificate of the client's.
    pub certificate_request: bool,
}

/// One question, with what is known of its answer so far.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Task {
    /// Does the server take this version? Asked again with a share where 1.3 was refused without.
    Version { version: Version, share: bool },
    /// Which of these weak suites?
    Weak { version: Version, left: Vec<u16> },
    /// Compression and heartbeat.
    Relics,
    /// The certificate without SNI.
    WithoutName,
    /// ALPN.
    Alpn,
    /// The fallback SCSV.
    Fallback(Version),
    /// The groups, of TLS 1.3 or of older versions.
    Groups { version: Version, left: Vec<u16> },
    /// The suites in the server's order.
    Suites { version: Version, left: Vec<u16> },
    /// Whether the first of these is chosen if it is offered last.
    Order { version: Version, first: u16, second: u16 },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Versions,
    Features,
    Lists,
    OlderLists,
    Order,
}

/// The machine.
pub struct Scan {
    name: Option<String>,
    budget: u32,
    used: u32,
    stage: Stage,
    waiting: VecDeque<Task>,
    asked: BTreeMap<Ticket, Task>,
    seen: Seen,
}

/// What is known.
#[derive(Default)]
pub(super) struct Seen {
    /// Whether a version is taken.
    pub(super) versions: BTreeMap<Version, Tested<bool>>,
    /// The first reply of each version that is taken, and what was offered then.
    pub(super) first: BTreeMap<Version, (Vec<u16>, Reply)>,
    /// One suite of each weak class that is taken.
    pub(super) weak: BTreeMap<Version, Vec<u16>>,
    /// The suites as the server chose them.
    pub(super) suites: BTreeMap<Version, Vec<u16>>,
    pub(super) groups: BTreeMap<Version, Vec<u16>>,
    pub(super) groups_open: Option<String>,
    /// TLS 1.3 is refused unless a share comes with the first hello.
    pub(super) wants_share: bool,
    pub(super) prime: Option<u32>,
    pub(super) cut: Option<String>,
    pub(super) relics: Option<Reply>,
    pub(super) without_name: Option<Reply>,
    pub(super) alpn: Option<Reply>,
    pub(super) fallback: Option<Reply>,
    pub(super) order: Option<Tested<bool>>,
    /// Why one of the others is missing.
    pub(super) features_open: Option<String>,
}

impl Scan {
    /// A scan that names this host, of at most `budget` connections.
    pub fn new(name: Option<String>, budget: u32) -> Self {
        let mut waiting = VecDeque::from([Task::Version { version: Version::Tls13, share: false }]);
        waiting.extend(OLDER.map(|version| Task::Version { version, share: false }));
        let (asked, seen) = (BTreeMap::new(), Seen::default());
        Scan { name, budget, used: 0, stage: Stage::Versions, waiting, asked, seen }
    }

    /// What to do next.
    pub fn poll(&mut self) -> Next {
        while self.waiting.is_empty() && self.asked.is_empty() && self.stage < Stage::Order {
            self.next_stage();
        }
        let reserve = if self.stage < Stage::Order { RESERVE } else { 0 };
        if self.used + reserve >= self.budget {
            while let Some(task) = self.waiting.pop_front() {
                self.seen.leave_open(&task, &format!("the audit stopped at {} connections", self.budget));
            }
        }
        match self.waiting.pop_front() {
            Some(task) => {
                let hello = self.hello(&task);
                let ticket = Ticket(self.used);
                self.used += 1;
                self.asked.insert(ticket, task);
                Next::Ask(ticket, hello)
            }
            None if !self.asked.is_empty() => Next::Wait,
            None if self.stage < Stage::Order => self.poll(),
            None => Next::Done,
        }
    }

    /// What came back to one hello.
    pub fn answer(&mut self, ticket: Ticket, reply: Reply) {
        let Some(task) = self.asked.remove(&ticket) else { return };
        if let Some(next) = self.seen.take(task, reply) {
            self.waiting.push_front(next); // a question is finished before the next one begins
        }
    }

    /// Ends the scan early, for this reason.
    pub fn stop(&mut self, why: &str) {
        if self.stage < Stage::Lists {
            self.seen.groups_open = Some(why.to_owned());
        }
        self.stage = Stage::Order;
        let open = std::mem::take(&mut self.waiting).into_iter().chain(std::mem::take(&mut self.asked).into_values());
        for task in open {
            self.seen.leave_open(&task, why);
        }
        self.seen.cut.get_or_insert_with(|| why.to_owned());
        self.seen.features_open.get_or_insert_with(|| why.to_owned());
    }

    /// What was found.
    pub fn finish(self) -> Found {
        Found { facts: super::conclude::facts(&self.seen), in_clear: super::conclude::in_clear(&self.seen) }
    }

    fn next_stage(&mut self) {
        self.stage = match self.stage {
            Stage::Versions => Stage::Features,
            Stage::Features => Stage::Lists,
            Stage::Lists => Stage::OlderLists,
            Stage::OlderLists | Stage::Order => Stage::Order,
        };
        self.waiting = match self.stage {
            Stage::Versions => VecDeque::new(),
            Stage::Features => self.seen.features(),
            Stage::Lists => {
                let mut tasks = self.seen.group_lists();
                tasks.extend(self.seen.suite_lists(|version| version >= Version::Tls12));
                tasks
            }
            Stage::OlderLists => self.seen.suite_lists(|version| version < Version::Tls12),
            Stage::Order => self.seen.order().into_iter().collect(),
        };
    }

    fn hello(&self, task: &Task) -> Hello {
        let name = self.name.clone();
        let ordinary = |version: Version, suites: Vec<u16>| {
            let groups = if version == Version::Tls13 { groups::for_tls_13() } else { groups::for_older() };
            let share = version == Version::Tls13 && self.seen.wants_share;
            Hello { share, ..Hello::new(version, suites, groups, name.clone()) }
        };
        let best = || match self.seen.best_older() {
            Some((version, (suites, _))) => ordinary(version, suites.clone()),
            None => ordinary(Version::Tls12, suites::offer(Version::Tls12, |_| true)),
        };
        match task {
            Task::Version { version, share } => Hello { share: *share, ..ordinary(*version, everyday(*version)) },
            Task::Weak { version, left } | Task::Suites { version, left } => ordinary(*version, left.clone()),
            Task::Relics => Hello { relics: true, ..best() },
            Task::WithoutName => Hello { name: None, ..best() },
            Task::Alpn => Hello { alpn: Some(ALPN_SIP), ..best() },
            Task::Fallback(version) => {
                let suites =
                    self.seen.first.get(version).map_or_else(|| everyday(*version), |(suites, _)| suites.clone());
                Hello { fallback: true, ..ordinary(*version, suites) }
            }
            Task::Groups { version, left } => {
                Hello { groups: left.clone(), ..ordinary(*version, self.seen.suites_with_groups(*version)) }
            }
            Task::Order { version, first, second } => ordinary(*version, vec![*second, *first]),
        }
    }
}

/// What is offered to find out about a version: all that is no weakness; in TLS 1.3 everything.
fn everyday(version: Version) -> Vec<u16> {
    suites::offer(version, |class| version == Version::Tls13 || !class.is_weak())
}

impl Seen {
    /// Notes a reply; returns what to ask next about the same.
    fn take(&mut self, task: Task, reply: Reply) -> Option<Task> {
        if let Some(Key::Prime(bits)) = reply.key {
            self.prime = Some(self.prime.map_or(bits, |known| known.min(bits)));
        }
        match task {
            Task::Version { version, share } => return self.take_version(version, share, reply),
            Task::Weak { version, left } => return self.take_weak(version, left, reply),
            Task::Groups { version, left } => return self.take_group(version, left, &reply),
            Task::Suites { version, left } => return self.take_suite(version, left, &reply),
            Task::Relics => self.relics = Some(reply),
            Task::WithoutName => self.without_name = Some(reply),
            Task::Alpn => self.alpn = Some(reply),
            Task::Fallback(_) => self.fallback = Some(reply),
            Task::Order { first, .. } => {
                self.order = Some(match &reply.hello {
                    Some(hello) => Tested::Known(hello.suite == first),
                    None => Tested::Unknown(reply.end.words()),
                });
            }
        }
        None
    }

    fn take_version(&mut self, version: Version, share: bool, reply: Reply) -> Option<Task> {
        let weak = || Some(Task::Weak { version, left: suites::offer(version, Class::is_weak) });
        let (answer, next) = match (&reply.hello, &reply.end) {
            (Some(hello), _) if hello.version == version => {
                let next = if version == Version::Tls13 { None } else { weak() };
                self.first.insert(version, (everyday(version), reply));
                self.wants_share |= share;
                (Tested::Known(true), next)
            }
            (Some(_), _) | (None, End::Alert(PROTOCOL_VERSION)) => (Tested::Known(false), None),
            // it refuses the name, which says nothing of the version
            (None, end @ End::Alert(UNRECOGNIZED_NAME)) => (Tested::Unknown(end.words()), None),
            (None, end) if end.is_refusal() => {
                let next = match version {
                    Version::Tls13 if share => None,
                    // some want a share at once
                    Version::Tls13 => Some(Task::Version { version, share: true }),
                    // perhaps it was for want of the suites
                    _ => weak(),
                };
                (Tested::Known(false), next)
            }
            (None, end) => (Tested::Unknown(end.words()), None),
        };
        self.versions.insert(version, answer);
        next
    }

    fn take_weak(&mut self, version: Version, mut left: Vec<u16>, reply: Reply) -> Option<Task> {
        match chosen(version, &reply) {
            Some(suite) => {
                self.versions.insert(version, Tested::Known(true));
                self.weak.entry(version).or_default().push(suite);
                self.first.entry(version).or_insert_with(|| (left.clone(), reply));
                let (class, before) = (suites::class(suite), left.len());
                left.retain(|id| suites::class(*id) != class);
                (left.len() < before && !left.is_empty()).then_some(Task::Weak { version, left })
            }
            None => {
                if reply.hello.is_none() && !reply.end.is_refusal() {
                    self.leave_open(&Task::Weak { version, left }, &reply.end.words());
                }
                None
            }
        }
    }

    fn take_group(&mut self, version: Version, mut left: Vec<u16>, reply: &Reply) -> Option<Task> {
        let group = chosen(version, reply).and_then(|_| group_of(reply));
        let Some(group) = group else {
            if !reply.end.is_refusal() {
                self.leave_open(&Task::Groups { version, left }, &reply.end.words());
            }
            return None;
        };
        let known = self.groups.entry(version).or_default();
        if !known.contains(&group) {
            known.push(group);
        }
        let before = left.len();
        left.retain(|id| *id != group);
        (left.len() < before && !left.is_empty()).then_some(Task::Groups { version, left })
    }

    fn take_suite(&mut self, version: Version, mut left: Vec<u16>, reply: &Reply) -> Option<Task> {
        let Some(suite) = chosen(version, reply) else {
            if reply.hello.is_none() && !reply.end.is_refusal() {
                self.leave_open(&Task::Suites { version, left }, &reply.end.words());
            }
            return None;
        };
        let known = self.suites.entry(version).or_default();
        if !known.contains(&suite) {
            known.push(suite);
        }
        let before = left.len();
        left.retain(|id| *id != suite);
        (left.len() < before && !left.is_empty()).then_some(Task::Suites { version, left })
    }

    /// A question that gets no answer.
    fn leave_open(&mut self, task: &Task, why: &str) {
        match task {
            Task::Version { version, .. } => {
                self.versions.insert(*version, Tested::Unknown(why.to_owned()));
            }
            Task::Weak { version, .. } => {
                if self.versions.get(version) != Some(&Tested::Known(true)) {
                    self.versions.insert(*version, Tested::Unknown(why.to_owned()));
                }
                self.cut.get_or_insert_with(|| why.to_owned());
            }
            Task::Suites { .. } => {
                self.cut.get_or_insert_with(|| why.to_owned());
            }
            Task::Groups { .. } => self.groups_open = Some(why.to_owned()),
            _ => self.features_open = Some(why.to_owned()),
        }
    }

    pub(super) fn takes(&self, version: Version) -> bool {
        self.first.contains_key(&version)
    }

    pub(super) fn best_older(&self) -> Option<(Version, &(Vec<u16>, Reply))> {
        self.first
            .iter()
            .rev()
            .find(|(version, _)| **version < Version::Tls13)
            .map(|(version, first)| (*version, first))
    }

    fn features(&self) -> VecDeque<Task> {
        let mut tasks = VecDeque::new();
        if self.best_older().is_some() {
            tasks.extend([Task::WithoutName, Task::Alpn, Task::Relics]);
        }
        // RFC 7507 §3: the server has to notice that it could do better than the version that is offered
        tasks.extend(self.first.keys().rev().nth(1).map(|version| Task::Fallback(*version)));
        tasks
    }

    /// What was offered when the version was taken, without the suites that need no group.
    fn suites_with_groups(&self, version: Version) -> Vec<u16> {
        let mut offered = self.first.get(&version).map(|(suites, _)| suites.clone()).unwrap_or_default();
        offered.retain(|id| version == Version::Tls13 || suites::exchange(*id) == Exchange::Curve);
        offered
    }

    fn group_lists(&mut self) -> VecDeque<Task> {
        let mut tasks = VecDeque::new();
        if let Some((_, reply)) = self.first.get(&Version::Tls13) {
            match group_of(reply) {
                _ if self.wants_share => self.groups_open = Some("it wants a share with the first hello".to_owned()),
                Some(group) => {
                    self.groups.insert(Version::Tls13, vec![group]);
                    let left = without(groups::for_tls_13(), &[group]);
                    tasks.push_back(Task::Groups { version: Version::Tls13, left });
                }
                None => self.groups_open = Some("its HelloRetryRequest names no group".to_owned()),
            }
        }
        if let Some((version, _)) = self.best_older().filter(|(version, _)| *version > Version::Ssl3) {
            let known = self.groups.get(&Version::Tls13).cloned().unwrap_or_default();
            tasks.push_back(Task::Groups { version, left: without(groups::for_older(), &known) });
        }
        tasks
    }

    fn suite_lists(&mut self, wanted: impl Fn(Version) -> bool) -> VecDeque<Task> {
        let mut tasks = VecDeque::new();
        for (version, (_, reply)) in self.first.iter().rev().filter(|(version, _)| wanted(**version)) {
            let weak = self.weak.get(version).map_or(&[][..], Vec::as_slice);
            let classes: Vec<Option<Class>> = weak.iter().map(|id| suites::class(*id)).collect();
            let mut left = everyday(*version);
            match chosen(*version, reply).filter(|_| weak.is_empty()) {
                // the first hello was the first of the list
                Some(suite) => {
                    left.retain(|id| *id != suite);
                    self.suites.insert(*version, vec![suite]);
                }
                None => left.extend(suites::offer(*version, |class| class.is_weak() && classes.contains(&Some(class)))),
            }
            tasks.push_back(Task::Suites { version: *version, left });
        }
        tasks
    }

    fn order(&self) -> Option<Task> {
        let (version, list) =
            self.suites.iter().rev().find(|(version, list)| **version < Version::Tls13 && list.len() > 1)?;
        Some(Task::Order { version: *version, first: list[0], second: list[1] })
    }
}

fn without(mut list: Vec<u16>, known: &[u16]) -> Vec<u16> {
    list.retain(|id| !known.contains(id));
    list
}

/// The suite that a server chose for this version.
pub(super) fn chosen(version: Version, reply: &Reply) -> Option<u16> {
    reply.hello.as_ref().filter(|hello| hello.version == version).map(|hello| hello.suite)
}

fn group_of(reply: &Reply) -> Option<u16> {
    match reply.key {
        Some(Key::Group(group)) => Some(group),
        _ => reply.hello.as_ref().and_then(|hello| hello.group),
    }
}

#[cfg(test)]
mod tests;
