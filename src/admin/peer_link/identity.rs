//! Who the two admins are: Ed25519 keys made from the admins' key and the name of a node, shown as raw public keys
//! (RFC 7250). Pure.
//!
//! Both nodes can compute both keys. The name in it keeps somebody in between from leading a node back to itself.

use std::sync::Arc;

use common::config::key::KEY_BYTES;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};

use crate::admin_key::derive;

/// What the derived keys are for (RFC 5869, `info`), followed by the node's name.
const PURPOSE: &[u8] = b"fmc-lb admin of node ";
/// What is spoken inside (RFC 7301).
const PROTOCOL: &[u8] = b"fmc-lb-admin/1";
/// An Ed25519 key in PKCS #8 (RFC 8410, section 7), up to its 32 bytes.
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Keys by id, as a key file has them.
pub(super) type Keys = [(u8, [u8; KEY_BYTES])];

/// TLS as this node speaks it with the other one.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    /// Of connections that it makes.
    pub(super) client: Arc<ClientConfig>,
    /// Of connections that come to it.
    pub(super) server: Arc<ServerConfig>,
}

impl Identity {
    /// Of the node `own`, which shows the first key and accepts any of `peer`'s.
    ///
    /// # Errors
    /// There is no key.
    pub(super) fn new(keys: &Keys, own: &str, peer: &str) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let (_, first) = keys
            .first()
            .ok_or_else(|| Error::General("no key".to_owned()))?;
        let shown = certified(signing_key(first, own)?)?;
        let accepted = keys.iter().map(|(_, key)| {
            let key = signing_key(key, peer)?;
            public_key(&key).map(|public| public.to_vec())
        });
        let verifier = Arc::new(PeerKeys {
            accepted: accepted.collect::<Result<_, Error>>()?,
            algorithms: provider.signature_verification_algorithms,
        });
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as _)
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                Arc::clone(&shown),
            )));
        client.enable_sni = false;
        client.resumption = Resumption::disabled();
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shown)));
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }
}

fn signing_key(secret: &[u8; KEY_BYTES], node: &str) -> Result<Arc<dyn SigningKey>, Error> {
    let mut key = PKCS8.to_vec();
    key.extend_from_slice(&derive(secret, &[PURPOSE, node.as_bytes()]));
    ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(key))
}

fn public_key(key: &Arc<dyn SigningKey>) -> Result<SubjectPublicKeyInfoDer<'_>, Error> {
    key.public_key()
        .ok_or_else(|| Error::General("a key without a public key".to_owned()))
}

/// The key as rustls wants it: where a certificate would be, stands the public key.
fn certified(key: Arc<dyn SigningKey>) -> Result<Arc<CertifiedKey>, Error> {
    let public = CertificateDer::from(public_key(&key)?.to_vec());
    Ok(Arc::new(CertifiedKey::new(vec![public], key)))
}

/// Accepts the keys of the other node.
#[derive(Debug)]
struct PeerKeys {
    accepted: Vec<Vec<u8>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerKeys {
    fn check(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        // Public keys: the time it takes tells nothing.
        if self.accepted.iter().any(|known| known[..] == shown[..]) {
            return Ok(());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn check_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(&key[..]);
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }
}

fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken between admins".to_owned())
}

impl ServerCertVerifier for PeerKeys {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for PeerKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConnection, ServerConnection};

    use super::*;

    const ONE: (u8, [u8; 32]) = (1, [1; 32]);
    const TWO: (u8, [u8; 32]) = (2, [2; 32]);

    /// Whether a connection from one to the other comes about, in memory.
    fn shake(from: &Identity, to: &Identity) -> Result<(), Error> {
        let name = ServerName::IpAddress(std::net::IpAddr::from([10, 0, 0, 1]).into());
        let mut client = ClientConnection::new(Arc::clone(&from.client), name)?;
        let mut server = ServerConnection::new(Arc::clone(&to.server))?;
        for _ in 0..8 {
            // Reading nothing would be the end of the connection.
            let mut wire = Vec::new();
            if client.write_tls(&mut wire).expect("memory") > 0 {
                server.read_tls(&mut wire.as_slice()).expect("memory");
                server.process_new_packets()?;
            }
            wire.clear();
            if server.write_tls(&mut wire).expect("memory") > 0 {
                client.read_tls(&mut wire.as_slice()).expect("memory");
                client.process_new_packets()?;
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        assert_eq!(client.alpn_protocol(), Some(PROTOCOL));
        let nothing = server.reader().read(&mut [0; 1]);
        assert!(nothing.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
        Ok(())
    }

    fn identity(keys: &Keys, own: &str, peer: &str) -> Identity {
        Identity::new(keys, own, peer).expect("there is a key")
    }

    #[test]
    fn two_nodes_with_one_key_know_each_other() {
        let (lb1, lb2) = (
            identity(&[ONE], "lb1", "lb2"),
            identity(&[ONE], "lb2", "lb1"),
        );
        shake(&lb1, &lb2).expect("known");
        shake(&lb2, &lb1).expect("known");
    }

    #[test]
    fn another_key_or_another_name_is_refused() {
        let lb1 = identity(&[ONE], "lb1", "lb2");
        let refused = Error::from(CertificateError::ApplicationVerificationFailure);
        for (whose, other) in [
            ("another key", identity(&[TWO], "lb2", "lb1")),
            ("a third node", identity(&[ONE], "lb3", "lb1")),
            ("itself", identity(&[ONE], "lb1", "lb2")),
        ] {
            assert_eq!(shake(&lb1, &other), Err(refused.clone()), "{whose}");
            assert_eq!(shake(&other, &lb1), Err(refused.clone()), "{whose}");
        }
        assert!(Identity::new(&[], "lb1", "lb2").is_err());
    }

    #[test]
    fn a_key_is_changed_without_a_gap() {
        let old = identity(&[ONE], "lb1", "lb2");
        let between = identity(&[ONE, TWO], "lb2", "lb1");
        shake(&old, &between).expect("both have the old one");
        let new = identity(&[TWO, ONE], "lb1", "lb2");
        shake(&new, &between).expect("both have the new one");
        shake(&between, &new).expect("both have the old one");
    }
}
