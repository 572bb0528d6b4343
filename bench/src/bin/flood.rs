//! A flood of forged initiations: mac1 is right, all else is noise, and every datagram comes from another address.
//!
//! What an attacker can do who knows a gateway's public key and may lie about his own address. The answer is one JSON
//! object with the rate that was reached.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use adit_bench::{Pace, Rate};
use adit_noise::PublicKey;
use adit_noise::mac::MacKey;
use anyhow::{Result, ensure};
use clap::Parser;
use rustix::io::Errno;
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes of an initiation (WireGuard paper, section 5.4.2).
const INITIATION: usize = 148;
/// Bytes of the headers in front of it.
const HEADERS: usize = 20 + 8;
/// Different initiations. The address in front is another one each time.
const MESSAGES: u64 = 4_096;
/// The addresses of the senders: 100.64.0.0/10, four million of them, which nobody else has.
const SOURCES: (u32, u32) = (0x6440_0000, 0x003f_ffff);
/// The sender sleeps this long between bursts.
const TICK: Duration = Duration::from_micros(200);
/// `IPPROTO_RAW`: the header is ours, and the kernel adds its checksum.
const RAW: i32 = 255;

/// Sends forged initiations from spoofed addresses. Needs root.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address and port of the gateway, or of anything else.
    to: SocketAddrV4,
    /// The gateway's public key in base64.
    #[arg(long, value_parser = |text: &str| PublicKey::from_base64(text))]
    key: PublicKey,
    /// Datagrams a second; "max" for as many as possible.
    #[arg(long, default_value = "50000")]
    rate: Rate,
    /// How long, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flood: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.seconds > 0.0, "--seconds: {} is not positive", arguments.seconds);
    let duration = Duration::try_from_secs_f64(arguments.seconds)?;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))?;
    let mut packets = packets(arguments.to, &arguments.key)?;
    let mut pace = Pace::new(arguments.rate, 1);
    let (start, mut refused) = (Instant::now(), 0_u64);
    let elapsed = loop {
        let elapsed = start.elapsed();
        if elapsed >= duration {
            break elapsed;
        }
        // Few enough that the end is not overrun.
        let due = pace.due(elapsed).min(1_000);
        if due == 0 {
            sleep(TICK);
            continue;
        }
        for number in pace.sent()..pace.sent() + due {
            let packet = &mut packets[(number % MESSAGES) as usize];
            packet[12..16].copy_from_slice(&source(number).octets());
            match socket.send_to(packet, &arguments.to.into()) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => refused += 1,
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        pace.note_sent(due);
    };
    let sent = pace.sent() - refused;
    println!("{}", json!({ "sent": sent, "refused": refused, "rate": sent as f64 / elapsed.as_secs_f64() }));
    Ok(())
}

/// The sender of a datagram: no two the same until all had their turn, and neighbours far apart.
fn source(number: u64) -> Ipv4Addr {
    let (base, mask) = SOURCES;
    Ipv4Addr::from_bits(base | (number as u32).wrapping_mul(0x9e37_79b1) & mask)
}

/// IPv4 packets with an initiation each, but for their source.
fn packets(to: SocketAddrV4, key: &PublicKey) -> Result<Vec<Vec<u8>>> {
    let mac = MacKey::new(b"mac1----", key);
    (0..MESSAGES).map(|number| packet(to, &mac, number)).collect()
}

fn packet(to: SocketAddrV4, mac: &MacKey, number: u64) -> Result<Vec<u8>> {
    let mut message = noise(number);
    message[..4].copy_from_slice(&[1, 0, 0, 0]);
    message[INITIATION - 16..].fill(0);
    mac.stamp_mac1(&mut message)?;
    let length = (HEADERS + INITIATION) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0]);
    packet.extend(to.ip().octets());
    packet.extend((1024 + number as u16).to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend((length - 20).to_be_bytes());
    // No checksum (RFC 768).
    packet.extend([0, 0]);
    packet.extend(message);
    Ok(packet)
}

/// Bytes that look random (SplitMix64) and are the same each time.
fn noise(seed: u64) -> [u8; INITIATION] {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::array::from_fn(|_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 56) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mac1_verifies_and_every_message_is_another() {
        let key = PublicKey::from_bytes([7; 32]);
        let mut packets = packets("192.0.2.1:51820".parse().unwrap(), &key).unwrap();
        let mac = MacKey::new(b"mac1----", &key);
        assert!(packets.iter().all(|packet| mac.verify_mac1(&packet[HEADERS..]).is_ok()));
        assert!(packets.iter().all(|packet| packet.len() == HEADERS + INITIATION && packet[HEADERS] == 1));
        packets.sort_unstable();
        packets.dedup();
        assert_eq!(packets.len() as u64, MESSAGES);
    }

    #[test]
    fn no_source_comes_twice_within_a_million() {
        let mut sources: Vec<_> = (0..1_000_000).map(source).collect();
        sources.sort_unstable();
        sources.dedup();
        assert_eq!(sources.len(), 1_000_000);
        assert!(sources.iter().all(|source| source.octets()[0] == 100 && source.octets()[1] & 0xc0 == 64));
    }
}
