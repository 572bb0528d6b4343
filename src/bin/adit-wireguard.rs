//! One WireGuard interface, a drop-in for wireguard-go.

use std::process::ExitCode;
use std::thread::spawn;

use adit::control::{Interface, MTU, Options};
use adit::ctl::AditWireguard;
use adit::datapath::default_count;
use adit::{background, log};
use anyhow::{Context, Result};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tracing::level_filters::LevelFilter;

fn main() -> ExitCode {
    let arguments = AditWireguard::parse();
    log::start(arguments.log_level, false);
    match if arguments.foreground { run(&arguments) } else { background::detach(&["--foreground"]) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("adit-wireguard: {}: {error:#}", arguments.name);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &AditWireguard) -> Result<()> {
    let workers = arguments.workers.map_or_else(default_count, usize::from);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1]).context("cannot listen to signals")?;
    let options = Options {
        name: arguments.name.clone(),
        workers,
        offloads: arguments.offloads,
        pin: arguments.pin,
        mtu: MTU,
        cipher: arguments.cipher,
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
