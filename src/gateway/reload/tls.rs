//! The part of a reload that what ends TLS has. New addresses are bound and new rules made before there is no way back; what
//! follows cannot fail.

use super::Reload;
use crate::gateway::terminators;
use crate::tls::terminator::Terminator;

impl Reload<'_> {
    /// Starts what is new, and makes what changes take. What is made goes with the reload if it fails.
    pub(super) fn make_terminators(&mut self) -> Result<(), String> {
        if !self.plan.tls.added.is_empty() {
            terminators::raise_limit();
        }
        for name in &self.plan.tls.added {
            let made = Terminator::start(name, &self.new.tls[name])?;
            self.made_terminators.insert(name.clone(), made);
        }
        for name in &self.plan.tls.changed {
            if let Some(running) = self.gateway.terminators.get(name) {
                let next = running.prepare(&self.gateway.config.tls[name], &self.new.tls[name])?;
                self.next_rules.insert(name.clone(), next);
            }
        }
        Ok(())
    }

    /// Swaps rules, and lets go of what is not wanted.
    pub(super) fn commit_terminators(&mut self) {
        for (name, next) in std::mem::take(&mut self.next_rules) {
            if let Some(running) = self.gateway.terminators.get_mut(&name) {
                running.commit(next, &self.new.tls[&name]);
            }
        }
        // Whoever rotates logs has moved the files away, and asks for a reload.
        self.gateway.terminators.values().for_each(Terminator::reopen_log);
        for name in &self.plan.tls.removed {
            let gone = self.gateway.terminators.remove(name);
            self.gateway.leaving.extend(gone.map(|mut gone| {
                gone.drain(None);
                gone
            }));
        }
        self.gateway.terminators.append(&mut self.made_terminators);
    }
}
