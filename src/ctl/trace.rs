//! `aditctl trace drops`

use anyhow::{Context, Result, anyhow, bail};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::client::{Client, Role};
use super::command::Drops;
use super::explain::explain;
use super::output;
use super::paint::escape;
use crate::admin::trace::{Line, Missed, Packet};

/// The longest line of the daemon's, in bytes.
const LINE: usize = 64 << 10;

/// Prints dropped packets until one of the limits is reached, or the daemon ends.
///
/// # Errors
/// In words for the operator.
pub(super) async fn run(client: &Client, arguments: &Drops) -> Result<()> {
    let body = client.stream(Role::Write, &path(arguments.tunnel.as_deref())).await?;
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
            left -= u64::from(matches!(line, Line::Packet(_)));
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

/// A name that would mean something else in a path is not sent: then all is watched, and the others' lines are left out.
fn path(tunnel: Option<&str>) -> String {
    let is_plain =
        |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~@+=".contains(&byte));
    tunnel.filter(is_plain).map_or("/v1/trace".into(), |name| format!("/v1/trace?tunnel={name}"))
}

/// Whether the operator asked for it.
fn wanted(line: &Line, tunnel: Option<&str>) -> bool {
    let (Line::Packet(Packet { tunnel: its, .. }) | Line::Missed(Missed { tunnel: its, .. })) = line;
    tunnel.is_none_or(|wanted| wanted == its)
}

fn person(line: &Line) -> String {
    match line {
        Line::Packet(dropped) => packet(dropped),
        Line::Missed(Missed { missed, tunnel }) => {
            format!("{}: {missed} more were dropped than can be shown\n", escape(tunnel))
        }
    }
}

/// `12:03:04.123Z wg0 source 10.9.0.2 > 10.1.0.1 tcp 443 (a packet from an address that its peer may not use)`
fn packet(packet: &Packet) -> String {
    let mut words = vec![escape(time_of_day(&packet.time)), escape(&packet.tunnel), escape(&packet.reason)];
    if let Some(frame) = &packet.frame {
        let [source, destination, kind] =
            [&frame.source, &frame.destination, &frame.ether_type].map(|text| escape(text));
        words.push(format!("{source} > {destination} {kind}").into());
    }
    if let Some(ip) = &packet.ip {
        words.push(format!("{} > {} {}", ip.source, ip.destination, escape(&ip.protocol)).into());
        words.extend(ip.destination_port.map(|port| port.to_string().into()));
    }
    words.extend(packet.message.as_deref().map(escape));
    if packet.length > 0 {
        words.push(format!("{} bytes", packet.length).into());
    }
    if packet.packets > 1 {
        words.push(format!("x{}", packet.packets).into());
    }
    words.extend(explain(&packet.reason).map(|explanation| format!("({explanation})").into()));
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
    fn the_daemon_is_asked_for_one_tunnel_if_its_name_can_be_sent() {
        assert_eq!(path(None), "/v1/trace");
        assert_eq!(path(Some("wg-0.a")), "/v1/trace?tunnel=wg-0.a");
        assert_eq!(path(Some("wg0#1")), "/v1/trace");
        let line = |tunnel: &str| Line::Missed(Missed { missed: 1, tunnel: tunnel.into() });
        assert!(wanted(&line("wg0#1"), Some("wg0#1")) && !wanted(&line("wg0"), Some("wg0#1")));
    }

    #[test]
    fn no_text_of_a_line_reaches_the_terminal_as_a_command() {
        let told = told(
            r#"{"time":"\u001b[2J","tunnel":"\u001b","reason":"\u0007","packets":1,"length":0,"message":"\u009b1m",
            "ip":{"version":6,"source":"::1","destination":"::2","protocol":"\u001b"}}"#,
        );
        let bad = told.trim_end().chars().find(|char| char.is_control());
        assert_eq!(bad, None, "{told:?}");
        assert!(told.contains("::1 > ::2 \\u{1b}"), "{told}");
    }
}
