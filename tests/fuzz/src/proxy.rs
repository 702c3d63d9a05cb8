//! What clients, load balancers and administrators write.

use common::config::{Config, Viewpoint, Who};
use lb_proxy::hello::{self, Inspection};
use lb_proxy::proxy_protocol::{self, Accept, Decoded};

/// Bytes of a hello at most, as the proxy has it.
const LIMIT: usize = 16 * 1024;

/// The beginning of a connection that should be TLS: what more bytes could mean is said the same way in whatever pieces
/// they come.
pub(crate) fn client_hello(data: &[u8]) {
    let whole = hello::inspect(data, LIMIT);
    let half = hello::inspect(&data[..data.len() / 2], LIMIT);
    match (half, &whole) {
        (Ok(Inspection::Incomplete), _) => {}
        // Decided by the first half: the rest changes nothing.
        (Ok(Inspection::Hello(early)), Ok(Inspection::Hello(late))) => assert_eq!(early, *late),
        (Err(early), Err(late)) => assert_eq!(early, *late),
        (early, late) => panic!("{early:?} became {late:?}"),
    }
}

/// The header of the PROXY protocol, in both versions.
pub(crate) fn proxy_header(data: &[u8]) {
    for accept in [Accept::V1, Accept::V2, Accept::Both] {
        if let Ok(Decoded::Header(header)) = proxy_protocol::decode(data, accept) {
            assert!(header.length <= data.len());
            let again = proxy_protocol::decode(&data[..header.length], accept);
            assert!(
                matches!(again, Ok(Decoded::Header(_))),
                "the payload was looked at"
            );
        }
    }
}

/// The configuration file.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let nobody = Viewpoint {
        who: Who::Anybody,
        files: None,
        capacity: None,
    };
    if let Err(report) = Config::parse("fuzz.toml", text, nobody) {
        assert!(!report.to_string().is_empty(), "refused without a word");
    }
}
