//! The rules. Each change is looked at as a whole before anything of it is written.

use adit_noise::{PresharedKey, PublicKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use redb::{ReadableTable, StorageError};

use super::audit::{Event, MOST};
use super::pool::Numbers;
use super::tables::{Client, Tables};
use super::{Change, Digest, Done, Enrol, Identity, Lease, Pool, Proof, Refusal, Wall};

/// How long a token that is over can be told from one that never was, in seconds.
const REMEMBERED: u64 = 86_400;

/// What a change came to.
pub(super) type Outcome = Result<Done, Refusal>;

/// The state while changes are being made to it. If a call fails, nothing of the transaction may be kept.
pub(super) struct Applying<'t, 's> {
    pub(super) tables: Tables<'t>,
    pub(super) pool: &'s Pool,
    pub(super) numbers: &'s mut Numbers,
    /// The number of the next entry of the audit trail.
    pub(super) entry: &'s mut u64,
    /// Whether tokens were forgotten, which no entry tells.
    pub(super) forgotten: bool,
}

/// Somebody whose proof is good.
struct Proven {
    identity: Identity,
    certificate: Vec<u8>,
    /// The token that is used up by it.
    token: Option<Digest>,
    /// The secret that it came with, if it is a renewal.
    renewal: bool,
    /// Whether that was the one before the last.
    repeated: bool,
}

impl Applying<'_, '_> {
    /// Does one change.
    pub(super) fn apply(&mut self, change: &Change, now: Wall) -> Result<Outcome, StorageError> {
        match change {
            Change::Invite { token, identity, until } => self.invite(token, identity, *until, now),
            Change::Enrol(enrol) => self.enrol(enrol, now),
            Change::End { identity, key, why } => self.end(identity, key, why, now),
            Change::Remove { identity } => self.remove(identity, now),
            Change::Expire { most } => self.expire(*most, now).map(Ok),
        }
    }

    fn invite(
        &mut self,
        token: &Digest,
        identity: &Identity,
        until: Wall,
        now: Wall,
    ) -> Result<Outcome, StorageError> {
        if until <= now {
            return Ok(Err(Refusal::Over));
        }
        if self.tables.tokens.get(token.as_bytes())?.is_some() {
            return Ok(Err(Refusal::TokenExists));
        }
        self.tables.tokens.insert(token.as_bytes(), (until, 0, identity.as_str()))?;
        self.tables.token_ends.insert((until, token.as_bytes()), ())?;
        self.note(now, Event::Invited, identity.as_str(), "")?;
        Ok(Ok(Done::Invited))
    }

    fn enrol(&mut self, enrol: &Enrol, now: Wall) -> Result<Outcome, StorageError> {
        let proven = match self.prove(&enrol.proof, now)? {
            Ok(proven) => proven,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let name = proven.identity.as_str();
        if enrol.until <= now {
            return Ok(Err(Refusal::Over));
        }
        if enrol.reserved {
            return Ok(Err(Refusal::KeyReserved));
        }
        let holder = self.tables.keys.get(enrol.key.as_bytes())?.map(|holder| holder.value() == name);
        if holder == Some(false) {
            self.note(now, Event::Refused, name, "another client has its key")?;
            return Ok(Err(Refusal::KeyTaken));
        }
        let client = self.tables.client(name)?;
        let Some(number) = self.number(client.as_ref()) else {
            self.note(now, Event::Refused, name, "there is no free address")?;
            return Ok(Err(Refusal::Full));
        };
        self.lease(enrol, &proven, client, number, now).map(Ok)
    }

    /// Who somebody is who may have a lease.
    fn prove(&mut self, proof: &Proof, now: Wall) -> Result<Result<Proven, Refusal>, StorageError> {
        let proven = |identity, certificate, token| {
            Ok(Ok(Proven { identity, certificate, token, renewal: false, repeated: false }))
        };
        match proof {
            Proof::Certificate { identity, marks } => proven(identity.clone(), marks.clone(), None),
            Proof::Token(token) => {
                let found = self.tables.tokens.get(token.as_bytes())?.map(|row| {
                    let (until, used, name) = row.value();
                    (until, used, name.parse::<Identity>())
                });
                let Some((until, used, Ok(identity))) = found else { return Ok(Err(Refusal::UnknownToken)) };
                if used != 0 {
                    self.note(now, Event::Refused, identity.as_str(), "its token came a second time")?;
                    return Ok(Err(Refusal::UsedToken));
                }
                if until <= now {
                    return Ok(Err(Refusal::ExpiredToken));
                }
                proven(identity, Vec::new(), Some(*token))
            }
            Proof::Renewal { identity, secret } => {
                let client = self.tables.client(identity.as_str())?;
                let Some(client) = client.filter(|client| client.until > now) else {
                    return Ok(Err(Refusal::NoLease));
                };
                // Its end is that of the certificate, which only whoever shows it again can tell.
                if !client.certificate.is_empty() {
                    return Ok(Err(Refusal::NeedsCertificate));
                }
                let is = |known: &[u8; 32]| verify_slices_are_equal(secret.as_bytes(), known).is_ok();
                let (last, before) = (is(&client.renewal), is(&client.former));
                if !last && !before {
                    return Ok(Err(Refusal::WrongSecret));
                }
                let (identity, certificate) = (identity.clone(), Vec::new());
                Ok(Ok(Proven { identity, certificate, token: None, renewal: true, repeated: !last }))
            }
        }
    }

    /// The number of its addresses: that which it has, else that which it had, else the next.
    fn number(&mut self, client: Option<&Client>) -> Option<u32> {
        match client {
            Some(client) if client.until != 0 => Some(client.number),
            Some(client) if self.numbers.is_free(client.number) => {
                self.numbers.take(client.number);
                Some(client.number)
            }
            Some(_) | None => self.numbers.take_next(),
        }
    }

    fn lease(
        &mut self,
        enrol: &Enrol,
        proven: &Proven,
        client: Option<Client>,
        number: u32,
        now: Wall,
    ) -> Result<Done, StorageError> {
        let name = proven.identity.as_str();
        let had = client.as_ref().is_some_and(|client| client.until != 0);
        let mut before = None;
        if let Some(client) = &client {
            if client.key != *enrol.key.as_bytes() {
                self.tables.keys.remove(&client.key)?;
                before = had.then(|| PublicKey::from_bytes(client.key));
            }
            if had {
                self.tables.ends.remove((client.until, name))?;
            }
        }
        let (v4, v6) = self.pool.addresses(number);
        let renewal = *enrol.renewal.as_bytes();
        let former = match &client {
            Some(client) if proven.repeated => client.former,
            Some(client) if proven.renewal => client.renewal,
            Some(_) | None => renewal,
        };
        let kept = Client {
            key: *enrol.key.as_bytes(),
            preshared: enrol.preshared.clone(),
            number,
            since: client.filter(|_| had).map_or(now, |client| client.since),
            until: enrol.until,
            renewal,
            former,
            v4: v4.map(|address| address.to_bits()),
            v6: v6.map(|address| address.to_bits()),
            certificate: proven.certificate.clone(),
        };
        kept.write(&mut self.tables.clients, name)?;
        self.tables.keys.insert(enrol.key.as_bytes(), name)?;
        self.tables.ends.insert((enrol.until, name), ())?;
        if let Some(token) = &proven.token {
            let until = self.tables.tokens.get(token.as_bytes())?.map_or(now, |row| row.value().0);
            self.tables.tokens.insert(token.as_bytes(), (until, now.max(1), name))?;
        }
        let event = if had { Event::Renewed } else { Event::Enrolled };
        self.note(now, event, name, &format!("until {}", enrol.until))?;
        let lease = kept.lease(name);
        Ok(lease
            .map_or(Done::Ended { leases: Vec::new(), more: false }, |lease| Done::Leased { lease, before }))
    }

    fn end(
        &mut self,
        identity: &Identity,
        key: &PublicKey,
        why: &str,
        now: Wall,
    ) -> Result<Outcome, StorageError> {
        let name = identity.as_str();
        let Some(client) = self.tables.client(name)? else { return Ok(Err(Refusal::NoIdentity)) };
        if client.key != *key.as_bytes() {
            return Ok(Ok(Done::Ended { leases: Vec::new(), more: false }));
        }
        let leases: Vec<_> = self.release(name, client)?.into_iter().collect();
        if !leases.is_empty() {
            self.note(now, Event::Ended, name, why)?;
        }
        Ok(Ok(Done::Ended { leases, more: false }))
    }

    fn remove(&mut self, identity: &Identity, now: Wall) -> Result<Outcome, StorageError> {
        let name = identity.as_str();
        let mut tokens = Vec::new();
        for row in self.tables.tokens.iter()? {
            let (token, value) = row?;
            let (until, _, whose) = value.value();
            if whose == name {
                tokens.push((until, *token.value()));
            }
        }
        let client = self.tables.client(name)?;
        if client.is_none() && tokens.is_empty() {
            return Ok(Err(Refusal::NoIdentity));
        }
        for (until, token) in &tokens {
            self.tables.tokens.remove(token)?;
            self.tables.token_ends.remove((*until, token))?;
        }
        let mut leases = Vec::new();
        if let Some(client) = client {
            self.tables.keys.remove(&client.key)?;
            leases.extend(self.release(name, client)?);
            self.tables.clients.remove(name)?;
        }
        self.note(now, Event::Removed, name, "")?;
        Ok(Ok(Done::Ended { leases, more: false }))
    }

    pub(super) fn expire(&mut self, most: usize, now: Wall) -> Result<Done, StorageError> {
        let mut names = Vec::new();
        for row in self.tables.ends.range(..(now.saturating_add(1), ""))?.take(most) {
            names.push(row?.0.value().1.to_owned());
        }
        let mut leases = Vec::with_capacity(names.len());
        for name in &names {
            if let Some(client) = self.tables.client(name)? {
                leases.extend(self.release(name, client)?);
                self.note(now, Event::Expired, name, "")?;
            }
        }
        let mut tokens = Vec::new();
        let forgotten = now.saturating_sub(REMEMBERED);
        for row in self.tables.token_ends.range(..(forgotten, &[0; 32]))?.take(most) {
            let row = row?.0;
            tokens.push((row.value().0, *row.value().1));
        }
        self.forgotten |= !tokens.is_empty();
        for (until, token) in &tokens {
            self.tables.tokens.remove(token)?;
            self.tables.token_ends.remove((*until, token))?;
        }
        Ok(Done::Ended { more: names.len() == most || tokens.len() == most, leases })
    }

    /// Takes the lease of an identity back, and what it could be renewed with. Its key stays its own.
    pub(super) fn release(&mut self, name: &str, client: Client) -> Result<Option<Lease>, StorageError> {
        let Some(lease) = client.lease(name) else { return Ok(None) };
        self.tables.ends.remove((client.until, name))?;
        self.numbers.give_back(client.number);
        let none = PresharedKey::from_bytes([0; 32]);
        let kept = Client { until: 0, preshared: none, renewal: [0; 32], former: [0; 32], ..client };
        kept.write(&mut self.tables.clients, name)?;
        Ok(Some(lease))
    }

    pub(super) fn note(
        &mut self,
        now: Wall,
        event: Event,
        name: &str,
        detail: &str,
    ) -> Result<(), StorageError> {
        self.tables.audit.insert(*self.entry, (now, event.number(), name, detail))?;
        if let Some(old) = self.entry.checked_sub(MOST) {
            self.tables.audit.remove(old)?;
        }
        *self.entry += 1;
        Ok(())
    }
}
