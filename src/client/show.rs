//! `adit status` for people.

use std::fmt::Write as _;

use super::dns::Keeper;
use super::renewal;
use super::status::{State, Tunnel, span};
use crate::store::Wall;

/// A tunnel in lines.
#[must_use]
pub(super) fn tunnel(tunnel: &Tunnel, wall: Wall) -> String {
    let mut text = format!("{}: {}\n", tunnel.profile, tunnel.state.words());
    let mut line = |words: String| {
        // A string takes everything.
        let _ = writeln!(text, "  {words}");
    };
    for problem in &tunnel.problems {
        line(format!("problem: {problem}"));
    }
    if matches!(tunnel.state, State::Down | State::Left) {
        return text;
    }
    let place = tunnel.endpoint.as_deref().unwrap_or("nowhere yet");
    match tunnel.gateway.as_deref().filter(|name| Some(*name) != tunnel.endpoint.as_deref()) {
        Some(name) => line(format!("gateway: {name}, at {place}, {}", tunnel.transport)),
        None => line(format!("gateway: {place}, {}", tunnel.transport)),
    }
    match tunnel.handshake_age {
        Some(age) => line(format!("last handshake: {} ago", span(age))),
        None => line("last handshake: none".into()),
    }
    line(format!("received {}, sent {}", size(tunnel.received_bytes), size(tunnel.sent_bytes)));
    let path = tunnel.path_mtu.map_or("unknown".to_owned(), |mtu| mtu.to_string());
    line(format!("MTU: {} inside, {path} on the path", tunnel.mtu));
    line(format!("addresses: {}", tunnel.addresses.join(", ")));
    let routes = tunnel.routes.join(", ");
    line(format!(
        "through the tunnel: {}",
        if tunnel.full_tunnel { format!("everything ({routes})") } else { routes }
    ));
    line(format!("kill switch: {}", if tunnel.kill_switch { "on" } else { "off" }));
    if !tunnel.dns.is_empty() {
        let keeper = match tunnel.dns_keeper {
            Some(Keeper::Resolved) => "by systemd-resolved",
            Some(Keeper::Resolvconf) => "by resolvconf",
            Some(Keeper::File) => "in /etc/resolv.conf",
            None => "not in use",
        };
        line(format!("DNS: {}, {keeper}", tunnel.dns.join(", ")));
    }
    if let Some(lease) = renewal::words(tunnel, wall) {
        line(format!("lease: {lease}"));
    }
    text
}

/// So many bytes.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = (bytes.max(1).ilog2() as usize / 10).min(UNITS.len() - 1);
    let unit = UNITS.get(step).copied().unwrap_or_default();
    if step == 0 {
        return format!("{bytes} {unit}");
    }
    format!("{:.1} {unit}", bytes as f64 / f64::from(1_u32 << 10).powi(step as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_comes_before_all_else() {
        let shown = tunnel(
            &Tunnel {
                profile: "office".into(),
                state: State::NoRoute,
                problems: vec!["no route".into()],
                gateway: Some("gate.example:51820".into()),
                lease_end: Some(10_000),
                received_bytes: 1_536,
                ..Tunnel::default()
            },
            2_800,
        );
        assert!(
            shown.starts_with("office: not connected\n  problem: no route\n  gateway: gate.example"),
            "{shown}"
        );
        assert!(
            shown.contains("received 1.5 KiB, sent 0 B") && shown.contains("lease: ends in 2 h"),
            "{shown}"
        );
        assert!(!shown.contains("office: connected"));
    }

    #[test]
    fn what_is_down_has_no_more_lines_than_it_needs() {
        let down = Tunnel { profile: "office".into(), ..Tunnel::default() };
        assert_eq!(tunnel(&down, 0), "office: down\n");
    }
}
