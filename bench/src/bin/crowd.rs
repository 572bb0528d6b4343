//! Many WireGuard peers of one gateway, for measurements; answers are JSON, one object a line.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use adit_bench::crowd::{Crowd, LEAST, MOST, Throng, Whither, inner, public_key};
use adit_bench::{Rate, highest};
use adit_noise::PublicKey;
use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

/// After the handshakes, for whoever looks at what they cost and what sending costs.
const REST: Duration = Duration::from_millis(200);

/// Peers whose keys and addresses follow from their numbers: 198.18.0.1 and up outside, 10.128.0.1 and up inside.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the peers as "wg setconf" reads them.
    Peers {
        /// How many.
        count: u32,
    },
    /// Has all peers handshake with a gateway, and then send through it. The machine must own their outer addresses.
    Run(Run),
}

#[derive(Args)]
struct Run {
    /// Address and port of the gateway.
    addr: SocketAddr,
    /// The gateway's public key in base64.
    #[arg(long, value_parser = |text: &str| PublicKey::from_base64(text))]
    key: PublicKey,
    /// How many peers.
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// Handshakes under way at once.
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// Seconds that the handshakes may take.
    #[arg(long, default_value_t = 60.0)]
    patience: f64,
    /// Seconds of each run of sending; 0 to send nothing.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Packets a second; "max" for as many as possible; "search" for the highest with less than 0.1 % lost.
    #[arg(long, default_value = "search")]
    rate: String,
    /// Runs that a search may have.
    #[arg(long, default_value_t = 8)]
    steps: u32,
    /// Bytes of UDP payload.
    #[arg(long, default_value_t = 1392)]
    size: usize,
    /// Packets that a peer sends before it is the next one's turn.
    #[arg(long, default_value_t = 16)]
    burst: usize,
    /// Flows of each peer.
    #[arg(long, default_value_t = 1)]
    flows: u16,
    /// Send to this address behind the gateway; else each peer to the next one.
    #[arg(long)]
    behind: Option<Ipv4Addr>,
    /// Send in pairs, so that each flow has one the other way.
    #[arg(long, conflicts_with = "behind")]
    pairs: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crowd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Peers { count } => {
            ensure!((1..=MOST).contains(&count), "{count} is not from 1 to {MOST}");
            for number in 0..count {
                let (key, inner) = (public_key(number).to_base64(), inner(number));
                println!("[Peer]\nPublicKey = {key}\nAllowedIPs = {inner}/32");
            }
            Ok(())
        }
        Command::Run(run) => run.all(),
    }
}

impl Run {
    fn all(&self) -> Result<()> {
        let Self { count, size, flows, .. } = *self;
        ensure!((1..=MOST).contains(&count), "--count: {count} is not from 1 to {MOST}");
        ensure!(!self.pairs || count % 2 == 0, "--pairs: {count} is odd");
        ensure!((LEAST..=1_392).contains(&size), "--size: {size} is not from {LEAST} to 1392");
        ensure!((1..=1_024).contains(&flows), "--flows: {flows} is not from 1 to 1024");
        let mut crowd = Crowd::new(count, self.addr, self.key)?;
        let done = crowd.handshake(self.window, Duration::try_from_secs_f64(self.patience)?)?;
        println!("{}", json!({ "handshakes": done }));
        ensure!(done.completed == done.wanted, "{} of {count} handshaked", done.completed);
        let duration = Duration::try_from_secs_f64(self.seconds)?;
        if !duration.is_zero() {
            sleep(REST);
            println!("{}", self.send(&mut crowd, duration)?);
        }
        Ok(())
    }

    fn send(&self, crowd: &mut Crowd, duration: Duration) -> Result<Value> {
        let whither = match self.behind {
            Some(address) => Whither::Behind(address),
            None if self.pairs => Whither::Partner,
            None => Whither::Next,
        };
        let Self { size, burst, flows, .. } = *self;
        let mut send = |rate| crowd.send(&Throng { whither, size, duration, rate, burst, flows });
        if self.rate == "search" {
            ensure!(self.behind.is_none(), "--behind: what arrives there is not known here: give a rate");
            return Ok(serde_json::to_value(highest(self.steps, send)?)?);
        }
        Ok(serde_json::to_value(send(self.rate.parse::<Rate>().map_err(anyhow::Error::msg)?)?)?)
    }
}
