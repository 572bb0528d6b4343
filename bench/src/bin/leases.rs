//! Leases of clients, for measurements; answers are JSON, one object a line.

use std::process::ExitCode;

use adit_bench::leases;
use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// What leases cost: to grant them, to keep them, to change one of many.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a store of leases, for a daemon to begin with.
    Fill {
        /// The file, which must not be there.
        path: PathBuf,
        /// How many.
        #[arg(long)]
        count: u32,
        /// How many of them end at --at.
        #[arg(long, default_value_t = 0)]
        soon: u32,
        /// When these end, in seconds since 1970. The others last a day.
        #[arg(long, default_value_t = 0)]
        at: u64,
        /// The first address.
        #[arg(long)]
        first: std::net::Ipv4Addr,
        /// The last address.
        #[arg(long)]
        last: std::net::Ipv4Addr,
    },
    /// Enrolments a second of the store alone, each on the disk before it is answered.
    Store {
        /// A folder on the disk that is meant.
        folder: PathBuf,
        /// How many.
        #[arg(long, default_value_t = 20_000)]
        count: u32,
        /// How many wait at a time.
        #[arg(long, default_value_t = 64)]
        abreast: u32,
    },
    /// Enrolments a second by HTTPS, each on the disk before it is answered.
    Api {
        /// A folder on the disk that is meant.
        folder: PathBuf,
        /// How many.
        #[arg(long, default_value_t = 4_000)]
        count: u32,
        /// How many clients ask at a time.
        #[arg(long, default_value_t = 32)]
        abreast: u32,
        /// Each client asks for all of its leases on one connection.
        #[arg(long)]
        keep_alive: bool,
    },
    /// What a change costs by copying the table of whose each address is.
    Routes {
        /// How many leases, each with an address of both families.
        #[arg(long, default_value_t = 10_000)]
        count: u32,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(found) => {
            println!("{found}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("leases: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<serde_json::Value> {
    match command {
        Command::Fill { path, count, soon, at, first, last } => {
            leases::fill(&path, count, (soon, at), (first, last))
        }
        Command::Store { folder, count, abreast } => leases::store(&folder, count, abreast),
        Command::Api { folder, count, abreast, keep_alive } => {
            leases::api(&folder, count, abreast, keep_alive)
        }
        Command::Routes { count } => leases::routes(count),
    }
}
