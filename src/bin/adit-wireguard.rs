//! One WireGuard interface, a drop-in for wireguard-go.

use std::process::ExitCode;
use std::thread::{available_parallelism, spawn};

use adit::control::{Interface, MTU, Options};
use adit::net::offload::Offloads;
use adit::{background, log};
use anyhow::{Context, Result};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tracing::level_filters::LevelFilter;

/// Workers that are started where nobody says how many.
const WORKERS: usize = 4;

/// Makes the WireGuard interface NAME and serves it to `wg` and `wg-quick`.
///
/// It goes to the background when the interface is ready, and ends when the interface is deleted or its socket
/// /var/run/wireguard/NAME.sock is removed. SIGUSR1 writes the counters of dropped packets to the log.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Stay in the foreground.
    #[arg(short, long)]
    foreground: bool,
    /// Worker threads, each with a queue of the device and a UDP socket; by default one a processor, up to 4.
    #[arg(long, env = "ADIT_WORKERS", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// Keep each worker on a processor of its own.
    #[arg(long, env = "ADIT_PIN")]
    pin: bool,
    /// Offloads that may be used, of tun_tso, tun_uso, udp_gso, udp_gro; or "none".
    #[arg(long, env = "ADIT_OFFLOADS", default_value_t)]
    offloads: Offloads,
    /// How much is logged: silent, error, info, or verbose.
    #[arg(long, env = "LOG_LEVEL", default_value = "error", value_parser = log::level)]
    log_level: LevelFilter,
    /// The interface's name, of 1 to 15 bytes.
    #[arg(value_parser = adit::control::interface_name)]
    name: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log::start(arguments.log_level, false);
    match if arguments.foreground { run(&arguments) } else { background::detach(&["--foreground"]) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adit-wireguard: {}: {error:#}", arguments.name);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let processors = available_parallelism().map_or(1, usize::from);
    let workers = arguments.workers.map_or(processors.min(WORKERS), usize::from);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1]).context("cannot listen to signals")?;
    let options = Options {
        name: arguments.name.clone(),
        workers,
        offloads: arguments.offloads,
        pin: arguments.pin,
        mtu: MTU,
    };
    let interface = Interface::start(&options)?;
    let remote = interface.remote();
    spawn(move || {
        signals
            .forever()
            .for_each(|signal| if signal == SIGUSR1 { remote.log_drops() } else { remote.stop() })
    });
    // Who says how much is to be logged wants to see it.
    background::ready(std::env::var_os("LOG_LEVEL").is_some() || arguments.log_level > LevelFilter::ERROR)?;
    // Not within the log line: that is not evaluated unless it is printed.
    let ended = interface.wait();
    tracing::info!("{}: ends: {ended:?}", arguments.name);
    Ok(())
}
