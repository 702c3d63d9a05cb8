//! What a header says of the client's TLS: PP2_TYPE_SSL (section 2.2.6).

use super::tlv::{self, SSL_HEAD};

/// The client spoke TLS.
const CLIENT_SSL: u8 = 0x01;
/// It has shown a certificate over this connection.
const CLIENT_CERT_CONN: u8 = 0x02;
/// It has shown one in the session, of which this connection may be a later one.
const CLIENT_CERT_SESS: u8 = 0x04;
const VERSION: u8 = 0x21;
const COMMON_NAME: u8 = 0x22;
const CIPHER: u8 = 0x23;
/// Longest text; a common name has 64 characters at most (RFC 5280, appendix A.1).
const LONGEST: usize = 256;

/// What is known of the client's TLS.
#[derive(Debug, Clone, Copy)]
pub struct ClientTls<'a> {
    /// As OpenSSL writes it: "TLSv1.3".
    pub version: &'a str,
    /// As OpenSSL writes it: "ECDHE-RSA-AES128-GCM-SHA256".
    pub cipher: &'a str,
    pub certificate: Option<ClientCertificate<'a>>,
}

/// A certificate that the client has shown, and that was found good.
#[derive(Debug, Clone, Copy)]
pub struct ClientCertificate<'a> {
    /// In a handshake before, which this connection resumes.
    pub earlier: bool,
    pub common_name: Option<&'a str>,
}

impl ClientTls<'_> {
    /// The value of the entry.
    pub fn encode(&self) -> Vec<u8> {
        let shown = match self.certificate {
            None => 0,
            Some(ClientCertificate { earlier: true, .. }) => CLIENT_CERT_SESS,
            Some(_) => CLIENT_CERT_SESS | CLIENT_CERT_CONN,
        };
        // Zero if a certificate was verified.
        let verify = u32::from(self.certificate.is_none());
        let mut value = vec![CLIENT_SSL | shown];
        value.extend_from_slice(&verify.to_be_bytes());
        let common_name = self.certificate.and_then(|one| one.common_name);
        for (kind, text) in [
            (VERSION, Some(self.version)),
            (COMMON_NAME, common_name),
            (CIPHER, Some(self.cipher)),
        ] {
            let Some(text) = text else { continue };
            let text = &text[..text.floor_char_boundary(LONGEST)];
            let length = u16::try_from(text.len()).expect("it was shortened");
            value.push(kind);
            value.extend_from_slice(&length.to_be_bytes());
            value.extend_from_slice(text.as_bytes());
        }
        value
    }
}

/// The common name of the client's certificate, in the value of an entry that was checked.
pub fn common_name(value: &[u8]) -> Option<&str> {
    let name = tlv::first(value.get(SSL_HEAD..)?, COMMON_NAME)?;
    std::str::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: ClientTls<'_> = ClientTls {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        certificate: None,
    };

    #[test]
    fn an_entry_is_flags_verdict_and_texts() {
        let version = b"\x21\0\x07TLSv1.3".as_slice();
        let cipher = b"\x23\0\x16TLS_AES_128_GCM_SHA256".as_slice();
        let expected = [b"\x01\0\0\0\x01", version, cipher].concat();
        assert_eq!(PLAIN.encode(), expected);
        assert_eq!(common_name(&expected), None);
        for (earlier, flags) in [(false, 7), (true, 5)] {
            let tls = ClientTls {
                certificate: Some(ClientCertificate {
                    earlier,
                    common_name: Some("Zoë"),
                }),
                ..PLAIN
            };
            let name = "\x22\0\x04Zoë".as_bytes();
            let expected = [&[flags, 0, 0, 0, 0], version, name, cipher].concat();
            assert_eq!(tls.encode(), expected);
            assert_eq!(common_name(&expected), Some("Zoë"));
        }
    }

    #[test]
    fn a_name_without_end_is_cut_at_a_character() {
        let name = "é".repeat(40_000);
        let tls = ClientTls {
            certificate: Some(ClientCertificate {
                earlier: false,
                common_name: Some(&name),
            }),
            ..PLAIN
        };
        let value = tls.encode();
        assert_eq!(common_name(&value), Some("é".repeat(128).as_str()));
    }

    #[test]
    fn what_is_no_text_is_no_name() {
        assert_eq!(common_name(b"\x07\0\0\0\0\x22\0\x01\xff"), None);
        assert_eq!(common_name(b"\x07\0"), None);
    }
}
