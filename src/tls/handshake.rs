//! The handshake of one connection, over rustls' unbuffered interface: bytes in, bytes out, no I/O.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData};
use rustls::{Error, HandshakeKind, ProtocolVersion, ServerConfig};

use super::channel::Channel;
use super::choice::Secured;
use super::hello::ClientHello;
use super::record::record_length;

/// A handshake that is going on.
pub(super) struct Handshake {
    connection: UnbufferedServerConnection,
}

impl Handshake {
    /// One that waits for its first message.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self { connection: UnbufferedServerConnection::new(config)? })
    }

    /// Takes whole records from the front of `received`, and appends what is to be sent to `answer`, even if it fails: then it
    /// is an alert. Whether the handshake is done. What is left of `received` then is data, sealed.
    ///
    /// # Errors
    /// Why rustls refuses it.
    pub(super) fn advance(&mut self, received: &mut Vec<u8>, answer: &mut Vec<u8>) -> Result<bool, Error> {
        let mut taken = 0;
        let done = self.records(received, &mut taken, answer);
        if done.is_err() {
            self.last_words(answer);
        }
        received.drain(..taken.min(received.len()));
        done
    }

    /// One record at a time, so that no data is opened here that comes close behind the handshake.
    fn records(
        &mut self,
        received: &mut [u8],
        taken: &mut usize,
        answer: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let mut shown = *taken;
        loop {
            let bytes = received.get_mut(*taken..shown).unwrap_or_default();
            let status = self.connection.process_tls_records(bytes);
            let discard = status.discard;
            let blocked = match status.state? {
                ConnectionState::EncodeTlsData(data) => encode(data, answer).map(|()| false)?,
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    false
                }
                ConnectionState::BlockedHandshake => true,
                ConnectionState::WriteTraffic(_) => {
                    *taken += discard;
                    return Ok(true);
                }
                // An end before the beginning; data before it, which nobody was offered.
                ConnectionState::PeerClosed
                | ConnectionState::Closed
                | ConnectionState::ReadTraffic(_)
                | ConnectionState::ReadEarlyData(_)
                | _ => return Err(Error::HandshakeNotComplete),
            };
            *taken += discard;
            if blocked {
                let next = received.get(shown..).unwrap_or_default();
                match record_length(next) {
                    Ok(Some(length)) if length <= next.len() => shown += length,
                    Ok(_) => return Ok(false),
                    // rustls says what is wrong with it.
                    Err(_) if shown < received.len() => shown = received.len(),
                    Err(_) => return Err(Error::HandshakeNotComplete),
                }
            }
        }
    }

    /// The alert that rustls leaves when it refuses.
    fn last_words(&mut self, answer: &mut Vec<u8>) {
        // An alert and its transmission; bounded, whatever rustls says.
        for _ in 0..4 {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(data)) => drop(encode(data, answer)),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Whether a ticket spared it the signature.
    pub(super) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether TLS 1.3 was agreed on, under which the last that we send are tickets.
    pub(super) fn is_tls13(&self) -> bool {
        self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// What was agreed.
    pub(super) fn secured<'a>(
        &'a self,
        hello: ClientHello<'a>,
        client: SocketAddr,
        local: Option<SocketAddr>,
    ) -> Secured<'a> {
        Secured {
            client,
            local,
            hello,
            alpn: self.connection.alpn_protocol(),
            version: self.connection.protocol_version(),
            suite: self.connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            group: self.connection.negotiated_key_exchange_group().map(|group| group.name()),
            resumed: self.is_resumed(),
            certificates: self.connection.peer_certificates().unwrap_or_default(),
        }
    }

    /// The keys, once it is done.
    ///
    /// # Errors
    /// It is not done, or the configuration does not give keys away.
    pub(super) fn finish(self) -> Result<Channel, Error> {
        Channel::new(self.connection).ok_or(Error::HandshakeNotComplete)
    }
}

/// Appends what rustls has to say.
fn encode<T>(mut data: EncodeTlsData<'_, T>, answer: &mut Vec<u8>) -> Result<(), Error> {
    let start = answer.len();
    let refused = |_| Error::General("a handshake message that cannot be encoded".into());
    let written = match data.encode(&mut []) {
        Ok(written) => written,
        Err(EncodeError::InsufficientSize(needs)) => {
            answer.resize(start + needs.required_size, 0);
            data.encode(answer.get_mut(start..).unwrap_or_default()).map_err(refused)?
        }
        Err(error @ EncodeError::AlreadyEncoded) => return Err(refused(error)),
    };
    answer.truncate(start + written);
    Ok(())
}
