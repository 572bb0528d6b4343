//! A TAP device and a packet socket, and frames between them as they are: what an encrypted link is compared with.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread::spawn;

use adit::net::link::{self, Settings};
use adit::net::offload::Offloads;
use adit::net::tap::Tap;
use adit_bench::forward::{carrier, inward, outward};
use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;

/// Carries the frames of a new TAP device over an Ethernet link, in clear. Needs root.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The Ethernet link.
    link: String,
    /// The TAP device to make.
    tap: String,
    /// MTU of the TAP device in bytes, 2 less than that of the link at most.
    #[arg(long, default_value_t = 1_498)]
    mtu: u16,
    /// Offloads of the TAP device, with commas between them; "none" for frame by frame.
    #[arg(long, default_value_t = Offloads::default())]
    offloads: Offloads,
    /// Frames leave past the link's queue, by AF_XDP.
    #[arg(long)]
    direct: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forwarder: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: &Arguments) -> Result<()> {
    let socket = carrier(&wanted.link, wanted.direct).with_context(|| wanted.link.clone())?;
    ensure!(socket.bypasses_queue() == wanted.direct, "{}: no AF_XDP, or its MTU is too large", wanted.link);
    let mut tap = Tap::create(&wanted.tap, 1, &wanted.offloads).with_context(|| wanted.tap.clone())?;
    let index = link::find(&wanted.tap)?.index;
    link::set(index, &Settings { mtu: Some(wanted.mtu.into()), up: Some(true), ..Settings::default() })?;
    let queue = Arc::new(tap.queues.pop().ok_or_else(|| anyhow!("the device has no queue"))?);
    let socket = Arc::new(socket);
    println!("ready");
    let there = spawn({
        let (queue, socket) = (queue.clone(), socket.clone());
        move || outward(&queue, &socket)
    });
    inward(&socket, &queue, wanted.mtu.into(), &tap.offloads)?;
    there.join().map_err(|_| anyhow!("a thread panicked"))??;
    Ok(())
}
