//! `peers`: what is remembered of ZRTP phones, and an administrator's word on it.

use super::{FAILED, Query, ask, fail, result, show};
use crate::io::admin::{PeerAnswer, PeerOrder, PeerOutcome, Peers, Question};
use crate::peers::PeerQuery;
use clap::{Args, Subcommand};
use std::process::ExitCode;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    query: Query,
}

#[derive(Subcommand)]
enum Command {
    /// Show every phone (the same as `peers` alone)
    List(Query),
    /// Vouch for a phone: recorded as "by administrator, not by voice"
    Verify(Which),
    /// Take back that a phone is verified; it stays known
    Unverify(Which),
    /// Forget a phone and its secret: it is a stranger again, and shows its code again
    Forget(Which),
}

#[derive(Args)]
struct Which {
    /// The phone: its ZID or the first digits of it (at least 4), or the address that it calls from ("anonymous" for none)
    peer: String,
    /// Only a phone that calls this account
    #[arg(long, value_name = "USER@DOMAIN")]
    account: Option<String>,
    /// Only a phone that calls from this address
    #[arg(long, value_name = "ADDRESS")]
    caller: Option<String>,
    #[command(flatten)]
    query: Query,
}

pub(super) async fn execute(arguments: Arguments) -> ExitCode {
    match arguments.command {
        None => list(&arguments.query).await,
        Some(Command::List(query)) => list(&query).await,
        Some(Command::Verify(which)) => order(PeerOrder::Verify, which).await,
        Some(Command::Unverify(which)) => order(PeerOrder::Unverify, which).await,
        Some(Command::Forget(which)) => order(PeerOrder::Forget, which).await,
    }
}

async fn list(query: &Query) -> ExitCode {
    result(ask::<Peers>(query, &Question::Peers).await, query.json, show::peers)
}

async fn order(order: PeerOrder, which: Which) -> ExitCode {
    let query = PeerQuery { peer: which.peer, account: which.account, caller: which.caller };
    let answer = match ask::<PeerAnswer>(&which.query, &Question::Peer { order, query: query.clone() }).await {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let outcome = answer.outcome;
    let complaint = complaint(order, outcome, &answer, &query);
    if which.query.json || complaint.is_none() {
        result(Ok(answer), which.query.json, |answer| show::order(order, answer));
    }
    match complaint {
        Some(complaint) => fail(FAILED, &complaint),
        None => ExitCode::SUCCESS,
    }
}

/// What happened, why, and what to do.
fn complaint(order: PeerOrder, outcome: PeerOutcome, answer: &PeerAnswer, query: &PeerQuery) -> Option<String> {
    let peer = crate::sip::printable(&query.peer);
    Some(match outcome {
        PeerOutcome::Done => return None,
        PeerOutcome::NotWritten => {
            let then = match order {
                PeerOrder::Verify => "verified",
                PeerOrder::Unverify => "unverified",
                PeerOrder::Forget => "forgotten",
            };
            format!(
                "the phone is {then}, but only until the program ends: its store cannot be written. Make room on the disk and let the program \
                 write to its store; it tries again every minute, and `galene-sips peers` shows what is still not remembered"
            )
        }
        PeerOutcome::Unknown => format!("no phone is known by \"{peer}\"; `galene-sips peers` lists them"),
        PeerOutcome::Ambiguous => {
            let names = answer.peers.iter().take(4);
            let names = names.map(|peer| format!("{} from {} to {}", peer.zid, show::caller(peer), peer.account));
            format!(
                "\"{peer}\" can mean {} phones, so nothing was done: {}{}. Give the whole ZID, or --caller or --account as well",
                answer.peers.len(),
                names.collect::<Vec<_>>().join("; "),
                if answer.peers.len() > 4 { "; …" } else { "" }
            )
        }
        PeerOutcome::Busy => "the phone is just agreeing on keys with the gateway, which would undo it; try again in ten seconds".to_owned(),
        PeerOutcome::NoSecret => {
            "the phone cannot be verified: no secret is kept by which it could be recognised (it has expired). Verify it after its next call".to_owned()
        }
    })
}
