//! A generator and a sink of UDP for measurements; answers are JSON, one object a line.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use adit_bench::{HEADER, Load, Ping, Port, Rate, Sizes, highest, sink};
use adit_packet::Ecn;
use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use serde_json::json;

/// Sends numbered datagrams, counts what arrives, and measures round trips.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Counts what arrives at ADDR (address and port) and answers pings, until it is ended.
    Sink { addr: SocketAddr },
    /// Sends datagrams to the sink at ADDR and says what became of them.
    Send {
        addr: SocketAddr,
        /// Bytes of UDP payload; several with commas, or "imix", for datagrams of different sizes, one a system call.
        #[arg(long, default_value = "1392")]
        size: Sizes,
        /// Length of a run in seconds.
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
        /// Datagrams a second; "max" for as many as possible; "search" for the highest with less than 0.1 % lost.
        #[arg(long, default_value = "search")]
        rate: String,
        /// Runs that a search may have.
        #[arg(long, default_value_t = 8)]
        steps: u32,
        /// One datagram a system call.
        #[arg(long)]
        no_gso: bool,
        /// Mark them as able to carry congestion marks: ECT(0).
        #[arg(long)]
        ecn: bool,
    },
    /// Measures round trips of small datagrams to the sink at ADDR.
    Ping {
        addr: SocketAddr,
        /// Bytes of UDP payload.
        #[arg(long, default_value_t = 64)]
        size: usize,
        /// How long, in seconds.
        #[arg(long, default_value_t = 1.0)]
        seconds: f64,
        /// Milliseconds from one to the next.
        #[arg(long, default_value_t = 1.0)]
        interval: f64,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("udpload: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let answer = match command {
        Command::Sink { addr } => {
            return Ok(sink(addr, |port| println!("{}", json!({ "listening": port })))?);
        }
        Command::Send { addr, size, seconds, rate, steps, no_gso, ecn } => {
            let port = Port::bind(0, !no_gso)?.marked(if ecn { Ecn::Ect0 } else { Ecn::NotEct });
            let duration = Duration::try_from_secs_f64(seconds)?;
            let run = |rate| Load { to: addr, sizes: size.clone(), duration, rate }.run(&port);
            if rate == "search" {
                serde_json::to_value(highest(steps, run)?)?
            } else {
                serde_json::to_value(run(rate.parse::<Rate>().map_err(anyhow::Error::msg)?)?)?
            }
        }
        Command::Ping { addr, size, seconds, interval } => {
            ensure!((HEADER..=65_507).contains(&size), "--size: {size} is not from {HEADER} to 65507");
            let port = Port::bind(0, false)?;
            let duration = Duration::try_from_secs_f64(seconds)?;
            let interval = Duration::try_from_secs_f64(interval / 1_000.0)?.max(Duration::from_micros(10));
            serde_json::to_value(Ping { to: addr, size, duration, interval }.run(&port)?)?
        }
    };
    println!("{answer}");
    Ok(())
}
