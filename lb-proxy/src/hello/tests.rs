mod build;
mod malformed;
mod mangled;
mod real;
mod segments;

use super::*;

fn hello(bytes: &[u8]) -> ClientHello {
    match inspect(bytes, DEFAULT_LIMIT) {
        Ok(Inspection::Hello(hello)) => hello,
        other => panic!("no hello: {other:?}"),
    }
}

fn name(text: &str) -> ServerName {
    ServerName::Dns(text.into())
}

fn protocols(hello: &ClientHello) -> Vec<&[u8]> {
    hello.alpn.iter().collect()
}
