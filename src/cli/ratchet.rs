//! `ratchet`: what each account is held to, and an administrator's word that it may be less.

use super::{FAILED, Query, ask, fail, result, show};
use crate::io::admin::{Question, RatchetAnswer, RatchetList, RatchetOutcome};
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
    /// Show what each account is held to (the same as `ratchet` alone)
    List(Query),
    /// Hold an account, and who calls it, to nothing that was shown before
    Clear {
        /// The account
        #[arg(value_name = "USER@DOMAIN")]
        account: String,
        #[command(flatten)]
        query: Query,
    },
}

pub(super) async fn execute(arguments: Arguments) -> ExitCode {
    match arguments.command {
        None => list(&arguments.query).await,
        Some(Command::List(query)) => list(&query).await,
        Some(Command::Clear { account, query }) => clear(&query, account).await,
    }
}

async fn list(query: &Query) -> ExitCode {
    result(ask::<RatchetList>(query, &Question::Ratchet).await, query.json, show::ratchet)
}

async fn clear(query: &Query, account: String) -> ExitCode {
    let name = crate::sip::printable(&account);
    let answer = match ask::<RatchetAnswer>(query, &Question::RatchetClear { account }).await {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let complaint = match answer.outcome {
        RatchetOutcome::Done => None,
        RatchetOutcome::NotWritten => Some(format!(
            "{name} is held to nothing, but only until the program ends: its store cannot be written. Make room on the disk and let the program \
             write to its store; it tries again every minute"
        )),
        RatchetOutcome::Unknown => Some(format!("there is no account {name}; `galene-sips ratchet` lists them")),
    };
    if query.json || complaint.is_none() {
        result(Ok(answer), query.json, |_| format!("{name} is held to nothing that it has shown before"));
    }
    complaint.map_or(ExitCode::SUCCESS, |complaint| fail(FAILED, &complaint))
}
