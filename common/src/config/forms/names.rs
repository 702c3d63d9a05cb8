//! Servers by name, and who resolves them.

use std::net::{IpAddr, SocketAddr};

use super::serving::serving;
use super::{Fault, Form, Value, example, host, not_a};
use crate::config::{NoQuery, ServerQuery};

/// The port of DNS.
const DNS: u16 = 53;

/// An address with a port, or a name.
pub(super) fn server_or_name(text: &str) -> Result<Value, Fault> {
    let looks_like_name = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && !text.contains("::")
        && !text.starts_with("vips.");
    if !looks_like_name {
        return serving(text);
    }
    text.parse::<ServerQuery>().map(Value::Name).map_err(|why| {
        let help = match why {
            NoQuery::Shape if !text.starts_with('_') => {
                format!("add the port: \"{text}:6443\"")
            }
            NoQuery::Shape => {
                "a service begins with two labels of its own: \"_api._tcp.example.org\"".to_owned()
            }
            NoQuery::ServicePort => "leave the port out: SRV records say it".to_owned(),
            NoQuery::Port | NoQuery::Name(_) => "for example \"api.example.org:6443\"".to_owned(),
        };
        Fault::new(format!("`{text}` names no servers: {why}"), help)
    })
}

/// A name server: an address, with the usual port or another one.
pub(super) fn name_server(text: &str) -> Result<Value, Fault> {
    if let Ok(address) = text.parse::<IpAddr>() {
        host(address, text)?;
        return Ok(Value::Server(SocketAddr::new(address, DNS)));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => {
            host(address.ip(), text)?;
            Ok(Value::Server(address))
        }
        Ok(_) | Err(_) => Err(not_a(text, Form::NameServer, example(Form::NameServer))),
    }
}
