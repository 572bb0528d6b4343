//! The two messages of IKpsk2, from either side.

use core::fmt;

use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use crate::resolver::Resolver;
use crate::{Error, PresharedKey, PrivateKey, Protocol, PublicKey};

/// What message 1 carries encrypted, in bytes: a [`Tai64n`](crate::Tai64n) stamp.
pub const PAYLOAD: usize = 12;
/// Length of Noise message 1 of WireGuard in bytes.
pub const MESSAGE_1: usize = message_1(PAYLOAD);
/// Length of Noise message 2 of WireGuard in bytes: its payload is empty.
pub const MESSAGE_2: usize = message_2(0);

/// Length of Noise message 1 with so long a payload, in bytes: ephemeral key, encrypted static key, encrypted payload.
#[must_use]
pub const fn message_1(payload: usize) -> usize {
    32 + (32 + 16) + (payload + 16)
}

/// Length of Noise message 2 with so long a payload, in bytes: ephemeral key, encrypted payload.
#[must_use]
pub const fn message_2(payload: usize) -> usize {
    32 + (payload + 16)
}

/// Where the `psk` token of IKpsk2 stands: at the end of the second message.
const PSK: usize = 2;

/// The keys that a handshake ends in, seen from the party that holds them.
pub struct Split {
    /// For what this party sends.
    pub send: Zeroizing<[u8; 32]>,
    /// For what this party receives.
    pub receive: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Split(..)")
    }
}

/// A handshake that we began, waiting for its answer.
///
/// # Residue
/// Private keys, cipher keys and results of key agreements are wiped, and the preshared key is
/// overwritten. The Noise library underneath does not wipe its chaining key and hash, nor what it
/// copies to the stack; nor does AWS-LC wipe the hashes of SHA-256 that it hands over there. Until
/// that memory is used again, the keys of this one session can be derived from it. Drop a handshake
/// as soon as it is over.
pub struct Initiator {
    state: Box<HandshakeState>,
}

impl Initiator {
    /// Begins a handshake with `remote` and writes message 1, [`MESSAGE_1`] bytes, to `out`.
    ///
    /// # Errors
    /// [`Error::BadLength`] if `out` has another length, [`Error::LowOrder`] if `remote` is no
    /// usable key, [`Error::Unsupported`] if `protocol` names something that is not built in,
    /// [`Error::Random`] if the system has no random bytes.
    pub fn start(
        protocol: &Protocol,
        private: &PrivateKey,
        remote: &PublicKey,
        preshared: &PresharedKey,
        payload: &[u8; PAYLOAD],
        out: &mut [u8],
    ) -> Result<Self, Error> {
        Self::start_with(protocol, private, remote, preshared, payload, out)
    }

    /// The same with a payload of any length; message 1 has [`message_1`] bytes.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(
        protocol: &Protocol,
        private: &PrivateKey,
        remote: &PublicKey,
        preshared: &PresharedKey,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<Self, Error> {
        Self::write(builder(protocol, private)?, remote, preshared, payload, out)
    }

    fn write(
        builder: Builder<'_>,
        remote: &PublicKey,
        preshared: &PresharedKey,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<Self, Error> {
        exactly(out.len(), message_1(payload.len()))?;
        let state = builder.remote_public_key(remote.as_bytes())?.build_initiator()?;
        let mut state = Box::new(state);
        state.set_psk(PSK, preshared.as_bytes())?;
        exactly(state.write_message(payload, out)?, out.len())?;
        Ok(Self { state })
    }

    /// Reads message 2, [`MESSAGE_2`] bytes, and derives the keys.
    ///
    /// # Errors
    /// With any error the handshake comes back as it was, so that a forged or corrupted answer does
    /// not keep the true one from completing it. [`Error::BadLength`] if the message has another
    /// length, [`Error::LowOrder`] if its ephemeral key is no usable key, [`Error::Decrypt`] if it
    /// is not the answer to our message from the owner of the remote key with the same preshared
    /// key.
    pub fn finish(self, message_2: &[u8]) -> Result<Split, (Self, Error)> {
        self.finish_with(message_2, &mut [])
    }

    /// The same where message 2 carries a payload: it fills `payload`. Message 2 has [`message_2`] bytes.
    ///
    /// # Errors
    /// As [`Self::finish`]; what is in `payload` then means nothing.
    pub fn finish_with(mut self, message_2: &[u8], payload: &mut [u8]) -> Result<Split, (Self, Error)> {
        match self.read(message_2, payload) {
            Ok(()) => {
                let (send, receive) = split(&mut self.state);
                Ok(Split { send, receive })
            }
            Err(error) => Err((self, error)),
        }
    }

    fn read(&mut self, message: &[u8], payload: &mut [u8]) -> Result<(), Error> {
        exactly(message.len(), message_2(payload.len()))?;
        self.state.read_message(message, payload)?;
        Ok(())
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initiator(..)")
    }
}

/// A handshake that another party began, to be answered. What [`Initiator`] says of residue holds
/// here too.
pub struct Responder {
    state: Box<HandshakeState>,
}

impl Responder {
    /// Reads message 1, [`MESSAGE_1`] bytes: also returns who sent it, and its payload.
    ///
    /// The sender is proven to hold the private key of that name, but the message may be a replay
    /// until the payload was found to be new.
    ///
    /// # Errors
    /// [`Error::BadLength`] if the message has another length, [`Error::LowOrder`] if a key in it
    /// is no usable key, [`Error::Decrypt`] if it was not made for us under this protocol,
    /// [`Error::Unsupported`] if `protocol` names something that is not built in.
    pub fn receive(
        protocol: &Protocol,
        private: &PrivateKey,
        message_1: &[u8],
    ) -> Result<(Self, PublicKey, [u8; PAYLOAD]), Error> {
        let mut payload = [0; PAYLOAD];
        let (responder, remote) = Self::read(builder(protocol, private)?, message_1, &mut payload)?;
        Ok((responder, remote, payload))
    }

    /// The same with a payload of another length, which fills `payload`. Message 1 has [`message_1`] bytes.
    ///
    /// # Errors
    /// As [`Self::receive`]; what is in `payload` then means nothing.
    pub fn receive_with(
        protocol: &Protocol,
        private: &PrivateKey,
        message_1: &[u8],
        payload: &mut [u8],
    ) -> Result<(Self, PublicKey), Error> {
        Self::read(builder(protocol, private)?, message_1, payload)
    }

    fn read(builder: Builder<'_>, message: &[u8], payload: &mut [u8]) -> Result<(Self, PublicKey), Error> {
        exactly(message.len(), message_1(payload.len()))?;
        let mut state = Box::new(builder.build_responder()?);
        exactly(state.read_message(message, payload)?, payload.len())?;
        let remote = state.get_remote_static().and_then(|key| key.first_chunk());
        let remote = PublicKey::from_bytes(*remote.ok_or(Error::Unsupported)?);
        Ok((Self { state }, remote))
    }

    /// Writes message 2, [`MESSAGE_2`] bytes, to `out` and derives the keys. They may be used for
    /// sending only once something arrived under them: until then the initiator has proven nothing
    /// about this handshake.
    ///
    /// # Errors
    /// [`Error::BadLength`] if `out` has another length, [`Error::Random`] if the system has no
    /// random bytes.
    pub fn respond(self, preshared: &PresharedKey, out: &mut [u8]) -> Result<Split, Error> {
        self.respond_with(preshared, &[], out)
    }

    /// The same with a payload; message 2 has [`message_2`] bytes.
    ///
    /// # Errors
    /// As [`Self::respond`].
    pub fn respond_with(
        mut self,
        preshared: &PresharedKey,
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<Split, Error> {
        exactly(out.len(), message_2(payload.len()))?;
        self.state.set_psk(PSK, preshared.as_bytes())?;
        exactly(self.state.write_message(payload, out)?, out.len())?;
        let (receive, send) = split(&mut self.state);
        Ok(Split { send, receive })
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder(..)")
    }
}

impl Drop for Initiator {
    fn drop(&mut self) {
        forget_psk(&mut self.state);
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        forget_psk(&mut self.state);
    }
}

/// snow keeps a copy of the preshared key and does not wipe it.
fn forget_psk(state: &mut HandshakeState) {
    // The only errors are a wrong length and a wrong position, and both are right.
    let _ = state.set_psk(PSK, PresharedKey::default().as_bytes());
    // Otherwise the compiler may drop a write to memory that is about to be freed.
    core::hint::black_box(state);
}

fn builder<'a>(protocol: &Protocol, private: &'a PrivateKey) -> Result<Builder<'a>, Error> {
    Ok(Builder::with_resolver(protocol.noise.parse()?, Box::new(Resolver))
        .prologue(protocol.prologue)?
        .local_private_key(private.as_bytes())?)
}

/// The two keys: from the initiator to the responder, and back (Noise revision 34, section 5.2).
/// Only for a state whose second message was written or read; snow does not check that.
fn split(state: &mut HandshakeState) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    let (forth, back) = state.dangerously_get_raw_split();
    (Zeroizing::new(forth), Zeroizing::new(back))
}

fn exactly(length: usize, expected: usize) -> Result<(), Error> {
    if length == expected { Ok(()) } else { Err(Error::BadLength) }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
