//! The status as a person reads it: like `wg show`, with what is wrong before everything else.

use std::collections::BTreeMap;

use crate::status::{Batches, Privileges, State, Status, Wireguard, Worker};

use super::client_list;
use super::explain::explain;
use super::link;
use super::paint::{Paint, escape};
use super::peer;
use super::terminator;
use super::units;

/// So many capabilities are named.
const CAPABILITIES: usize = 8;

/// The status, or one tunnel of it. What the daemon says is escaped.
pub(super) fn render(status: &Status, tunnel: Option<&str>, paint: Paint) -> String {
    let mut text = Text { out: String::new(), paint };
    let wanted = |name: &String| tunnel.is_none_or(|wanted| name == wanted);
    warnings(&mut text, status, &wanted);
    gateway(&mut text, status);
    for (name, wireguard) in status.wireguard.iter().filter(|(name, _)| wanted(name)) {
        text.blank();
        interface(&mut text, name, wireguard);
        for one in &wireguard.peers {
            text.blank();
            peer::show(&mut text, one, status.now);
        }
    }
    for (name, one) in status.macsec.iter().filter(|(name, _)| wanted(name)) {
        text.blank();
        link::show(&mut text, name, one, status.now);
    }
    for (name, one) in status.clients.iter().filter(|(name, _)| wanted(name)) {
        text.blank();
        client_list::show(&mut text, name, one);
    }
    for (name, one) in status.tls.iter().filter(|(name, _)| wanted(name)) {
        text.blank();
        terminator::show(&mut text, name, one);
    }
    text.out
}

/// Text that grows.
pub(super) struct Text {
    pub(super) out: String,
    pub(super) paint: Paint,
}

impl Text {
    pub(super) fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }

    /// A blank line, unless nothing stands before it.
    fn blank(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    /// More lines of something that is wrong.
    fn indented<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        lines.for_each(|line| self.line(&format!("    {}", self.paint.red(&escape(line)))));
    }

    /// `  label: value`
    pub(super) fn field(&mut self, label: &str, value: &str) {
        self.line(&format!("  {}: {value}", self.paint.bold(label)));
    }

    /// How the data threads do.
    pub(super) fn work(&mut self, offloads: &[String], workers: &[Worker]) {
        if !offloads.is_empty() {
            let names: Vec<_> = offloads.iter().map(|name| escape(name)).collect();
            self.field("offloads", &names.join(", "));
        }
        let outward = batch(workers.iter().map(|worker| &worker.outward));
        let inward = batch(workers.iter().map(|worker| &worker.inward));
        let sizes = [
            outward.map(|size| format!("{size:.1} packets a batch out")),
            inward.map(|size| format!("{size:.1} in")),
        ];
        let count = Some(workers.len().to_string());
        let words: Vec<_> = [count].into_iter().chain(sizes).flatten().collect();
        self.field("workers", &words.join(", "));
    }

    pub(super) fn handshakes(&mut self, done: u64, waiting: u64) {
        if done + waiting > 0 {
            self.field("handshakes", &format!("{done} completed, {waiting} messages waiting"));
        }
    }

    pub(super) fn drops(&mut self, all: &BTreeMap<String, u64>) {
        let mut drops: Vec<_> = all.iter().filter(|(_, packets)| **packets > 0).collect();
        if drops.is_empty() {
            return;
        }
        drops.sort_by_key(|(_, packets)| std::cmp::Reverse(**packets));
        let total: u64 = drops.iter().map(|(_, packets)| **packets).sum();
        self.field("dropped packets", &total.to_string());
        for (reason, packets) in drops {
            let words = explain(reason).unwrap_or("a reason that this aditctl does not know");
            self.line(&format!("    {}: {packets} ({words})", self.paint.bold(&escape(reason))));
        }
    }
}

fn warnings(text: &mut Text, status: &Status, wanted: &dyn Fn(&String) -> bool) {
    let mut all: Vec<_> = status.warnings.iter().map(|words| ("gateway".to_owned(), words)).collect();
    for (name, wireguard) in status.wireguard.iter().filter(|(name, _)| wanted(name)) {
        all.extend(wireguard.warnings.iter().map(|words| (name.clone(), words)));
        for peer in &wireguard.peers {
            let place = format!("{name}, peer {}", peer.name.as_deref().unwrap_or(&peer.public_key));
            all.extend(peer.warnings.iter().map(|words| (place.clone(), words)));
        }
    }
    for (name, one) in status.macsec.iter().filter(|(name, _)| wanted(name)) {
        all.extend(one.warnings.iter().map(|words| (name.clone(), words)));
    }
    for (name, one) in status.clients.iter().filter(|(name, _)| wanted(name)) {
        all.extend(one.warnings.iter().map(|words| (format!("{name}, clients"), words)));
    }
    for (name, one) in status.tls.iter().filter(|(name, _)| wanted(name)) {
        all.extend(one.warnings.iter().map(|words| (name.clone(), words)));
    }
    for (place, words) in &all {
        let (label, mut lines) = (text.paint.warning("WARNING"), words.lines());
        let first = text.paint.red(&escape(lines.next().unwrap_or_default()));
        text.line(&format!("{label}: {}: {first}", escape(place)));
        text.indented(lines);
    }
    if !all.is_empty() {
        text.line("");
    }
}

fn gateway(text: &mut Text, status: &Status) {
    let paint = text.paint;
    text.line(&format!("{}: {}", paint.interface("gateway"), paint.green(&escape(&status.name))));
    text.field("version", &format!("{}, process {}", escape(&status.version), status.pid));
    text.field("running for", &units::span((status.now - status.started) as u64, paint));
    privileges(text, &status.privileges);
    configuration(text, status);
}

fn privileges(text: &mut Text, privileges: &Privileges) {
    let held = match privileges.capabilities.as_slice() {
        [] => "no capabilities".into(),
        // Root's: the names would fill a page, and --json has them.
        held if held.len() > CAPABILITIES => format!("{} capabilities", held.len()),
        held => held.iter().map(|name| escape(name)).collect::<Vec<_>>().join(", "),
    };
    text.field("user", &format!("{}, with {held}", escape(&privileges.user)));
}

fn configuration(text: &mut Text, status: &Status) {
    let (paint, configuration) = (text.paint, &status.configuration);
    let loaded = units::ago(status.now - configuration.loaded, paint);
    text.field("configuration", &format!("{}, loaded: {loaded}", escape(&configuration.file)));
    let (done, refused) = (configuration.reloads, configuration.reloads_refused);
    if done + refused > 0 {
        text.field("reloads", &format!("{done} done, {refused} refused"));
    }
    if let Some(error) = &configuration.error {
        text.field("last reload", &paint.red("refused, nothing was changed"));
        // The daemon warns of it too.
        if !status.warnings.iter().any(|warning| warning.contains(error)) {
            text.indented(error.lines());
        }
    }
}

fn interface(text: &mut Text, name: &str, wireguard: &Wireguard) {
    let paint = text.paint;
    text.line(&format!("{}: {}", paint.interface("interface"), paint.green(&escape(name))));
    if let Some(words) = trouble(wireguard.state) {
        text.field("state", &paint.red(words));
    }
    if let Some(key) = &wireguard.public_key {
        text.field("public key", &escape(key));
        text.field("private key", "(hidden)");
    }
    if wireguard.listen_port != 0 {
        text.field("listening port", &wireguard.listen_port.to_string());
    }
    if wireguard.fwmark != 0 {
        text.field("fwmark", &format!("{:#x}", wireguard.fwmark));
    }
    if !wireguard.addresses.is_empty() {
        text.field("addresses", &peer::prefixes(&wireguard.addresses, paint));
    }
    if let Some(cipher) = &wireguard.cipher {
        text.field("cipher", &escape(cipher));
    }
    text.field("mtu", &wireguard.mtu.to_string());
    if !wireguard.fail_closed {
        text.field("fail closed", &paint.red("no: traffic for it leaves in clear while it is gone"));
    }
    text.work(&wireguard.offloads, &wireguard.workers);
    text.handshakes(wireguard.handshakes, wireguard.handshake_queue);
    text.drops(&wireguard.drops);
}

/// What is wrong with a tunnel that carries nothing.
fn trouble(state: State) -> Option<&'static str> {
    match state {
        State::Up => None,
        State::Down => Some("down: somebody set the interface down"),
        State::Gone => {
            Some("gone: somebody took its device or its control socket away; aditctl reload makes it anew")
        }
        State::Stuck => Some("stuck: its control thread does not answer; see the daemon's log"),
    }
}

/// How many packets a batch has on the average, if there were any.
fn batch<'a>(all: impl Iterator<Item = &'a Batches>) -> Option<f64> {
    let (packets, batches) = all.fold((0, 0), |(packets, batches), one| {
        (packets + one.packets, batches + one.sizes.iter().sum::<u64>())
    });
    (batches > 0).then(|| packets as f64 / batches as f64)
}

#[cfg(test)]
mod tests;
