//! How it stands in the file. A table never changes its type: one that has to be otherwise gets another name, and the schema
//! another number.

use adit_noise::{PresharedKey, PublicKey};
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::{Identity, Lease, Wall};

/// The schema of these tables. In 1 a certificate was known by its serial number alone, which no revocation list can be asked
/// about: leases of that kind would never be found revoked.
pub(super) const SCHEMA: u32 = 2;

type Bytes = &'static [u8; 32];
type ClientRow = (Bytes, Bytes, u32, u64, u64, Bytes, Bytes, Option<u32>, Option<u128>, &'static [u8]);

/// Facts about the file itself.
pub(super) const META: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");
/// Identities by name, with their leases.
pub(super) const CLIENTS: TableDefinition<'_, &str, ClientRow> = TableDefinition::new("clients");
/// Whose a public key is.
pub(super) const KEYS: TableDefinition<'_, Bytes, &str> = TableDefinition::new("keys");
/// Leases in the order of their ends.
pub(super) const ENDS: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("ends");
/// Invitations by the digest of their token: until when, when used (0: not yet), for whom.
pub(super) const TOKENS: TableDefinition<'_, Bytes, (u64, u64, &str)> = TableDefinition::new("tokens");
/// Invitations in the order of their ends.
pub(super) const TOKEN_ENDS: TableDefinition<'_, (u64, Bytes), ()> = TableDefinition::new("token_ends");
/// The audit trail: when, what, about whom, details.
pub(super) const AUDIT: TableDefinition<'_, u64, (u64, u8, &str, &str)> = TableDefinition::new("audit");

/// All tables, open for a change.
pub(super) struct Tables<'t> {
    pub(super) clients: Table<'t, &'static str, ClientRow>,
    pub(super) keys: Table<'t, Bytes, &'static str>,
    pub(super) ends: Table<'t, (u64, &'static str), ()>,
    pub(super) tokens: Table<'t, Bytes, (u64, u64, &'static str)>,
    pub(super) token_ends: Table<'t, (u64, Bytes), ()>,
    pub(super) audit: Table<'t, u64, (u64, u8, &'static str, &'static str)>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            clients: transaction.open_table(CLIENTS)?,
            keys: transaction.open_table(KEYS)?,
            ends: transaction.open_table(ENDS)?,
            tokens: transaction.open_table(TOKENS)?,
            token_ends: transaction.open_table(TOKEN_ENDS)?,
            audit: transaction.open_table(AUDIT)?,
        })
    }

    pub(super) fn client(&self, name: &str) -> Result<Option<Client>, redb::StorageError> {
        Ok(self.clients.get(name)?.map(|row| Client::from_row(row.value())))
    }
}

/// An identity as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) key: [u8; 32],
    pub(super) preshared: PresharedKey,
    /// What its addresses are, or were last.
    pub(super) number: u32,
    pub(super) since: Wall,
    /// 0 if it has no lease.
    pub(super) until: Wall,
    /// The digest of what it renews its lease with, and of what it did so with before: an answer may have been lost.
    pub(super) renewal: [u8; 32],
    pub(super) former: [u8; 32],
    pub(super) v4: Option<u32>,
    pub(super) v6: Option<u128>,
    pub(super) certificate: Vec<u8>,
}

impl Client {
    pub(super) fn from_row(row: <ClientRow as redb::Value>::SelfType<'_>) -> Self {
        let (key, preshared, number, since, until, renewal, former, v4, v6, certificate) = row;
        Self {
            key: *key,
            preshared: PresharedKey::from_bytes(*preshared),
            number,
            since,
            until,
            renewal: *renewal,
            former: *former,
            v4,
            v6,
            certificate: certificate.to_vec(),
        }
    }

    pub(super) fn write(
        &self,
        clients: &mut Table<'_, &'static str, ClientRow>,
        name: &str,
    ) -> Result<(), redb::StorageError> {
        let row = (
            &self.key,
            self.preshared.as_bytes(),
            self.number,
            self.since,
            self.until,
            &self.renewal,
            &self.former,
            self.v4,
            self.v6,
            &*self.certificate,
        );
        clients.insert(name, row).map(|_| ())
    }

    /// Its lease, if it has one.
    pub(super) fn lease(&self, name: &str) -> Option<Lease> {
        // Names were checked before they were written.
        let identity: Identity = name.parse().ok()?;
        (self.until != 0).then(|| Lease {
            identity,
            key: PublicKey::from_bytes(self.key),
            preshared: self.preshared.clone(),
            v4: self.v4.map(From::from),
            v6: self.v6.map(From::from),
            since: self.since,
            until: self.until,
            certificate: self.certificate.clone(),
        })
    }
}
