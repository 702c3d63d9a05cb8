//! Servers by name: what is asked of the DNS, and how.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use crate::dns_name;

/// Servers that a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedServers {
    pub name: ServerQuery,
    /// Most servers that it may stand for at a time.
    pub max_addresses: usize,
    /// Of each of them, default 1; `None` = what the DNS says (SRV).
    pub weight: Option<u16>,
    /// They get sessions only while no other server is usable.
    pub backup: bool,
    /// Of each of them; `None` = no limit.
    pub max_sessions: Option<u32>,
}

/// What is asked of the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerQuery {
    /// A and AAAA of a host, for servers at this port.
    Host { name: String, port: u16 },
    /// SRV of a service: hosts, ports and weights.
    Service { name: String },
}

/// What is no [`ServerQuery`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoQuery {
    #[error("it is neither a host with a port nor a service")]
    Shape,
    #[error("the port is no number from 1 to 65535")]
    Port,
    #[error("a service has no port of its own: the DNS says it")]
    ServicePort,
    #[error("{0}")]
    Name(#[from] dns_name::InvalidName),
}

impl ServerQuery {
    /// The name that is asked for, without its port.
    pub fn name(&self) -> &str {
        match self {
            Self::Host { name, .. } | Self::Service { name } => name,
        }
    }

    pub const fn is_service(&self) -> bool {
        match self {
            Self::Host { .. } => false,
            Self::Service { .. } => true,
        }
    }
}

impl FromStr for ServerQuery {
    type Err = NoQuery;

    /// `api.example.org:6443`, or `_api._tcp.example.org`.
    fn from_str(text: &str) -> Result<Self, NoQuery> {
        let normal = |name: &str| dns_name::normalize(name.as_bytes());
        if text.starts_with('_') {
            let mut labels = text.split('.');
            let (_, protocol) = (labels.next(), labels.next());
            if text.contains(':') {
                return Err(NoQuery::ServicePort);
            }
            if protocol.is_none_or(|label| !label.starts_with('_')) || labels.next().is_none() {
                return Err(NoQuery::Shape);
            }
            return Ok(Self::Service {
                name: normal(text)?,
            });
        }
        let (name, port) = text.rsplit_once(':').ok_or(NoQuery::Shape)?;
        let name = normal(name)?;
        match port.parse() {
            Ok(0) | Err(_) => Err(NoQuery::Port),
            Ok(port) => Ok(Self::Host { name, port }),
        }
    }
}

impl fmt::Display for ServerQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { name, port } => write!(f, "{name}:{port}"),
            Self::Service { name } => f.write_str(name),
        }
    }
}

/// How the DNS is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Whom to ask; empty = the name servers of /etc/resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// Limit of one attempt, default 2 s.
    pub timeout: Duration,
    /// Attempts in all, default 2.
    pub attempts: u32,
    /// A name is asked for again no sooner, default 5 s; after a failure just then.
    pub min_ttl: Duration,
    /// A name is asked for again no later, default 5 min.
    pub max_ttl: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_ports_and_services_have_two_labels() {
        let query = |text: &str| text.parse::<ServerQuery>();
        let host = query("API.example.org.:6443").expect("a host");
        assert_eq!(host.to_string(), "api.example.org:6443");
        assert!(!host.is_service());
        let service = query("_api._tcp.Example.org").expect("a service");
        assert_eq!(service.to_string(), "_api._tcp.example.org");
        assert_eq!(
            (service.name(), service.is_service()),
            ("_api._tcp.example.org", true)
        );
        for (wrong, why) in [
            ("api.example.org", NoQuery::Shape),
            ("_api.example.org", NoQuery::Shape),
            ("_api._tcp", NoQuery::Shape),
            ("_api._tcp.example.org:1", NoQuery::ServicePort),
            ("api.example.org:0", NoQuery::Port),
            ("api.example.org:65536", NoQuery::Port),
            ("a b:1", NoQuery::Name(dns_name::InvalidName::Character)),
            ("1.2.3:1", NoQuery::Name(dns_name::InvalidName::NumericTop)),
            ("", NoQuery::Shape),
        ] {
            assert_eq!(query(wrong), Err(why), "{wrong}");
        }
    }
}
