//! Clients of what ends TLS, for measurements; the answer is one JSON object.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use adit_bench::tls::{Tally, Target, handshakes, hold, requests, roots};
use anyhow::Result;
use clap::{Parser, Subcommand};
use serde_json::json;

/// Many connections on one thread: TLS 1.3, AES-128-GCM, X25519.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to connect to.
    address: SocketAddr,
    /// The name to ask for.
    #[arg(long, default_value = "www.example.com")]
    name: String,
    /// Certificates to trust.
    #[arg(long)]
    ca: String,
    /// X25519MLKEM768 in place of X25519.
    #[arg(long)]
    hybrid: bool,
    /// Connections at once.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Subcommand)]
enum Command {
    /// Whole connections, one after the other.
    Handshakes {
        /// With the tickets of those before.
        #[arg(long)]
        resume: bool,
    },
    /// Requests over connections that stay.
    Requests {
        /// What to ask for.
        path: String,
        /// Requests a second, all connections together; else as many as can be.
        #[arg(long)]
        rate: Option<f64>,
    },
    /// Connections that say nothing, until the end of the input.
    Hold,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tlsload: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: Arguments) -> Result<()> {
    let target = Target {
        address: wanted.address,
        name: wanted.name.try_into()?,
        roots: roots(&wanted.ca)?,
        hybrid: wanted.hybrid,
    };
    let (count, length, begun) =
        (wanted.connections, Duration::from_secs_f64(wanted.seconds), Instant::now());
    match wanted.command {
        Command::Handshakes { resume } => tell(handshakes(&target, count, length, resume)?, begun),
        Command::Requests { path, rate } => tell(requests(&target, count, length, &path, rate)?, begun),
        Command::Hold => hold(&target, count, || {
            println!("there");
            let _ = std::io::stdout().flush();
            // Whatever comes is the end.
            let _ = std::io::stdin().read(&mut [0]);
        }),
    }
}

fn tell(mut tally: Tally, begun: Instant) -> Result<()> {
    let told = json!({
        "done": tally.done, "resumed": tally.resumed, "failed": tally.failed, "bytes": tally.bytes,
        "seconds": begun.elapsed().as_secs_f64(), "p50_us": tally.percentile(50), "p99_us": tally.percentile(99),
    });
    println!("{told}");
    Ok(())
}
