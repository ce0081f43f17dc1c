//! The command line: what each command is called, what it prints, and its exit code.
//!
//! 0 done · 1 refused or failed · 2 usage · 78 bad configuration. Results go to standard output, everything else to standard error.
//! An error says what happened, why, and what to do.

mod audit;
mod peers;
mod ratchet;
mod setup;
mod show;

use crate::io::admin::{self, AdminError, Calls, HungUp, Question, ReloadOutcome, Reloaded, Status};
use crate::io::files::{self, QuickStart, Source};
use crate::io::run::{self, RunError};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A refused or failed command.
const FAILED: u8 = 1;

/// A command line that makes no sense.
const USAGE: u8 = 2;

/// A bad configuration (`EX_CONFIG` of sysexits).
const CONFIG: u8 = 78;

const INVITATION_IN_ARGUMENTS: &str = "an invitation does not belong on the command line: every user of this machine can read it there, and whoever has it \
     can enter the group. Write it into a file (chmod 600) and name that with --group-file FILE, or pass it to --group-file -";

/// Brings SIP phones into Galène video conferences, encrypted or not at all.
///
/// Exit codes: 0 done, 1 refused or failed, 2 usage, 78 bad configuration.
#[derive(Parser)]
#[command(name = "galene-sips", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Register the accounts and take calls, until SIGTERM
    Run(Run),
    /// Make a configuration: three questions, a try of everything, a file of a few lines
    Setup(Box<setup::Arguments>),
    /// Read a configuration and tell what is wrong with it, or what it means
    Check {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print an example of a configuration, with every key
    Example,
    /// Show the accounts of the running program
    Status(Query),
    /// Show its calls: who, how encrypted, how well the sound arrives
    Calls(Query),
    /// End a call
    Hangup {
        /// The call's number, as `calls` shows it
        call: u32,
        #[command(flatten)]
        query: Query,
    },
    /// What encryption a provider really supports, and whether this gateway would trust it
    Audit(Box<audit::Arguments>),
    /// Have the running program read its configuration again; calls go on (the same as SIGHUP)
    Reload(Query),
    /// What is remembered of ZRTP phones: which are there, which are verified
    Peers(peers::Arguments),
    /// What each account is held to because it was so often before, and an administrator's word that it may be less
    Ratchet(ratchet::Arguments),
}

#[derive(Args)]
struct Run {
    /// The configuration
    #[arg(long, value_name = "FILE", conflicts_with_all = ["account", "password_file", "group_file"])]
    config: Option<PathBuf>,
    /// Without a configuration: the SIP account, as user@domain
    #[arg(long, value_name = "USER@DOMAIN", requires = "password_file", requires = "group_file")]
    account: Option<String>,
    /// A file with the account's password; - for standard input
    #[arg(long, value_name = "FILE", requires = "account")]
    password_file: Option<PathBuf>,
    /// A file with the group's invitation (it holds a token, so it does not belong on the command line); - for standard input
    #[arg(long, value_name = "FILE", requires = "account")]
    group_file: Option<PathBuf>,
}

#[derive(Args, Default)]
struct Query {
    /// For programs; the schema is in docs/schema
    #[arg(long)]
    json: bool,
    /// Which running program: its socket
    #[arg(long, value_name = "PATH")]
    admin_socket: Option<PathBuf>,
    /// Which running program: its configuration
    #[arg(long, value_name = "FILE", conflicts_with = "admin_socket")]
    config: Option<PathBuf>,
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    if std::env::args_os().skip(1).any(|argument| is_invitation(&argument.to_string_lossy())) {
        return fail(USAGE, INVITATION_IN_ARGUMENTS);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let help = !error.use_stderr();
            let _ = error.print();
            return ExitCode::from(if help { 0 } else { USAGE });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return fail(FAILED, &format!("cannot start: {error}; look at the limits of this user and machine"));
        }
    };
    let code = runtime.block_on(execute(arguments.command));
    runtime.shutdown_timeout(std::time::Duration::from_millis(300));
    code
}

/// Whether an argument is a link, or shows a token. It is not repeated in any error then.
fn is_invitation(argument: &str) -> bool {
    let lower = argument.to_ascii_lowercase();
    lower.contains("https://") || lower.contains("http://") || lower.contains("token=")
}

async fn execute(command: Command) -> ExitCode {
    match command {
        Command::Run(arguments) => match run(arguments).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(RunError::Config(error)) => fail(CONFIG, &error.to_string()),
            Err(error) => fail(FAILED, &error.to_string()),
        },
        Command::Check { config } => match files::load(config.as_deref()) {
            Ok(config) => {
                show::print(&show::configuration(&config, files::today()));
                ExitCode::SUCCESS
            }
            Err(error) => fail(CONFIG, &error.to_string()),
        },
        Command::Example => {
            show::print(crate::config::EXAMPLE);
            ExitCode::SUCCESS
        }
        Command::Status(query) => result(ask::<Status>(&query, &Question::Status).await, query.json, show::status),
        Command::Calls(query) => result(ask::<Calls>(&query, &Question::Calls).await, query.json, show::calls),
        Command::Hangup { call, query } => match ask::<HungUp>(&query, &Question::Hangup { call }).await {
            Ok(HungUp { found: true }) => ExitCode::SUCCESS,
            Ok(HungUp { found: false }) => {
                fail(FAILED, &format!("there is no call {call}; `galene-sips calls` lists them"))
            }
            Err(code) => code,
        },
        Command::Setup(arguments) => setup::execute(*arguments).await,
        Command::Audit(arguments) => audit::execute(*arguments).await,
        Command::Reload(query) => reload(&query).await,
        Command::Peers(arguments) => peers::execute(arguments).await,
        Command::Ratchet(arguments) => ratchet::execute(arguments).await,
    }
}

async fn run(arguments: Run) -> Result<(), RunError> {
    let (config, source) = match (arguments.account, arguments.password_file, arguments.group_file) {
        (Some(account), Some(password_file), Some(group_file)) => {
            let quick = QuickStart { account, password_file, group_file };
            (files::quick_start(&quick)?, Source::Quick(quick))
        }
        _ => (files::load(arguments.config.as_deref())?, Source::File(arguments.config)),
    };
    run::run(config, source).await
}

async fn reload(query: &Query) -> ExitCode {
    // a bad configuration is for the running program to complain of, unless even its socket cannot be read from it
    let answer = match ask::<Reloaded>(query, &Question::Reload).await {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    let code = match answer.outcome {
        ReloadOutcome::Done => None,
        ReloadOutcome::BadConfiguration => Some(CONFIG),
        ReloadOutcome::NeedsRestart | ReloadOutcome::Failed => Some(FAILED),
    };
    let message = answer.message.clone();
    if query.json || code.is_none() {
        result(Ok(answer), query.json, |answer| answer.message.clone());
    }
    code.map_or(ExitCode::SUCCESS, |code| fail(code, &message))
}

async fn ask<A: for<'a> serde::Deserialize<'a>>(query: &Query, question: &Question) -> Result<A, ExitCode> {
    let socket = match (&query.admin_socket, &query.config) {
        (Some(socket), _) => socket.clone(),
        (None, Some(file)) => match files::load(Some(file)) {
            Ok(config) => files::admin_socket(&config),
            Err(error) => return Err(fail(CONFIG, &error.to_string())),
        },
        (None, None) => files::default_admin_socket(),
    };
    admin::ask(&socket, question).await.map_err(|error: AdminError| fail(FAILED, &error.to_string()))
}

fn result<A: serde::Serialize>(answer: Result<A, ExitCode>, json: bool, text: impl Fn(&A) -> String) -> ExitCode {
    match answer {
        Ok(answer) if json => match serde_json::to_string_pretty(&answer) {
            Ok(text) => {
                show::print(&text);
                ExitCode::SUCCESS
            }
            Err(error) => fail(FAILED, &error.to_string()),
        },
        Ok(answer) => {
            show::print(&text(&answer));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    show::complain(message);
    ExitCode::from(code)
}
