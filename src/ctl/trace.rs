//! `aditctl trace drops`

use std::net::IpAddr;

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

use super::client::{Client, Role};
use super::command::Drops;
use super::explain::explain;
use super::output;
use super::paint::escape;

/// The longest line of the daemon's, in bytes.
const LINE: usize = 64 << 10;

/// A line of the daemon's, as `crate::admin` writes it: a packet, or how many more there were than it could keep.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    time: String,
    tunnel: String,
    reason: String,
    packets: u64,
    length: u64,
    ip: Option<Ip>,
    message: Option<String>,
    missed: u64,
}

/// What an IP packet's headers say.
#[derive(Debug, Deserialize)]
struct Ip {
    source: IpAddr,
    destination: IpAddr,
    protocol: String,
    destination_port: Option<u16>,
}

/// Prints dropped packets until one of the limits is reached, or the daemon ends.
///
/// # Errors
/// In words for the operator.
pub(super) async fn run(client: &Client, arguments: &Drops) -> Result<()> {
    let body = client.stream(Role::Write, "/v1/trace").await?;
    let printing = print(body, arguments);
    match arguments.seconds {
        Some(seconds) => tokio::time::timeout(seconds, printing).await.unwrap_or(Ok(())),
        None => printing.await,
    }
}

async fn print(mut body: Incoming, arguments: &Drops) -> Result<()> {
    let mut left = arguments.count.unwrap_or(u64::MAX);
    let mut waiting = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| anyhow!("the daemon went away: {error}"))?;
        waiting.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let raw: Vec<u8> = waiting.drain(..=end).collect();
            let line: Line = serde_json::from_slice(&raw).context("the daemon's line is not as expected")?;
            if !wanted(&line, arguments.tunnel.as_deref()) {
                continue;
            }
            let text = if arguments.json { raw } else { person(&line).into_bytes() };
            output::write(&text)?;
            left -= u64::from(line.missed == 0);
            if left == 0 {
                return Ok(());
            }
        }
        if waiting.len() > LINE {
            bail!("the daemon's line is longer than {LINE} bytes");
        }
    }
    bail!("the daemon ended the trace")
}

/// Whether the operator asked for it.
fn wanted(line: &Line, tunnel: Option<&str>) -> bool {
    tunnel.is_none_or(|wanted| line.tunnel == wanted)
}

/// `12:03:04.123Z wg0 source 10.9.0.2 > 10.1.0.1 tcp 443 (a packet from an address that its peer may not use)`
fn person(line: &Line) -> String {
    let tunnel = escape(&line.tunnel);
    if line.missed > 0 {
        return format!("{tunnel}: {} more were dropped than can be shown\n", line.missed);
    }
    let mut words = vec![escape(time_of_day(&line.time)), tunnel, escape(&line.reason)];
    if let Some(ip) = &line.ip {
        words.push(format!("{} > {} {}", ip.source, ip.destination, escape(&ip.protocol)).into());
        words.extend(ip.destination_port.map(|port| port.to_string().into()));
    }
    words.extend(line.message.as_deref().map(escape));
    if line.length > 0 {
        words.push(format!("{} bytes", line.length).into());
    }
    if line.packets > 1 {
        words.push(format!("x{}", line.packets).into());
    }
    words.extend(explain(&line.reason).map(|explanation| format!("({explanation})").into()));
    format!("{}\n", words.join(" "))
}

/// What stands after the day in RFC 3339.
fn time_of_day(time: &str) -> &str {
    time.split_once('T').map_or(time, |(_, time)| time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str) -> String {
        person(&serde_json::from_str(json).expect(json))
    }

    #[test]
    fn a_packet_is_told_with_its_headers_and_why_it_was_dropped() {
        let whole = r#"{"time":"2026-11-22T12:03:04.123Z","tunnel":"wg0","reason":"source","packets":1,"length":60,
            "ip":{"version":4,"source":"10.9.0.2","destination":"10.1.0.1","protocol":"tcp","source_port":40000,
            "destination_port":443}}"#;
        assert_eq!(
            told(whole),
            "12:03:04.123Z wg0 source 10.9.0.2 > 10.1.0.1 tcp 443 60 bytes \
             (a packet from an address that its peer may not use)\n"
        );
    }

    #[test]
    fn a_datagram_is_told_by_its_kind_and_several_packets_by_their_number() {
        let datagram = r#"{"time":"2026-11-22T12:03:04.123Z","tunnel":"wg0","reason":"of a newer daemon","packets":3,
            "length":0,"message":"initiation"}"#;
        assert_eq!(told(datagram), "12:03:04.123Z wg0 of a newer daemon initiation x3\n");
        let missed = r#"{"missed":17,"tunnel":"wg0"}"#;
        assert_eq!(told(missed), "wg0: 17 more were dropped than can be shown\n");
    }

    #[test]
    fn no_text_of_a_line_reaches_the_terminal_as_a_command() {
        let told = told(
            r#"{"time":"\u001b[2J","tunnel":"\u001b","reason":"\u0007","message":"\u009b1m",
            "ip":{"source":"::1","destination":"::2","protocol":"\u001b"}}"#,
        );
        let bad = told.trim_end().chars().find(|char| char.is_control());
        assert_eq!(bad, None, "{told:?}");
        assert!(told.contains("::1 > ::2 \\u{1b}"), "{told}");
    }
}
