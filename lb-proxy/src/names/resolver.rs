//! Asks the DNS, on a thread of its own: whatever it waits for, no heartbeat and no probe is late.
#![expect(
    clippy::disallowed_methods,
    reason = "sends questions to name servers, and reads /etc/resolv.conf"
)]

use std::cmp::Reverse;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::config::{Config, Dns, NamedServers, ServerQuery};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::debug;

use super::resolv_conf::name_servers;
use super::{Answer, Found, Service, Unknown, weights};
use crate::clock;
use crate::spread::jittered;

/// Most records of a service that are looked at: the greatest `max_addresses`.
const MOST_SERVICES: usize = 64;
/// Hosts of a service that are asked for at the same time, each with two questions.
const HOSTS_AT_ONCE: usize = 8;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What was found of a name, by its index over all backends.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The configuration whose name it is.
    pub(crate) config: Arc<Config>,
    pub(crate) name: usize,
    pub(crate) found: Result<Answer, String>,
}

/// What one question brought.
struct Records {
    lookup: Lookup,
    ttl: Duration,
}

/// Why it brought nothing.
enum Nothing {
    /// There is no such record.
    NoRecord(String),
    Failed(String),
}

/// Asks for every name of the configuration that came last, until `stopped`'s sender is dropped.
///
/// # Errors
///
/// One of those who ask has ended unasked.
pub(crate) async fn ask_all(
    mut configs: watch::Receiver<Arc<Config>>,
    outcomes: mpsc::Sender<Outcome>,
    mut stopped: oneshot::Receiver<Infallible>,
) -> Result<(), ()> {
    loop {
        let config = Arc::clone(&configs.borrow_and_update());
        let mut asking = JoinSet::new();
        for name in 0..config.names().count() {
            asking.spawn(ask_for_ever(Arc::clone(&config), name, outcomes.clone()));
        }
        tokio::select! {
            biased;
            _ = &mut stopped => return Ok(()),
            changed = configs.changed() => changed.map_err(|_| ())?,
            Some(_) = asking.join_next() => return Err(()),
        }
    }
}

/// Asks for one name for ever, as often as its records' lifetimes say.
async fn ask_for_ever(config: Arc<Config>, name: usize, outcomes: mpsc::Sender<Outcome>) {
    let Some((_, wanted)) = config.names().nth(name) else {
        return;
    };
    let mut asker = Asker::new(&config.dns);
    let seed = clock::now().as_nanos() ^ name as u64;
    for round in 0_u64.. {
        let (found, ttl) = asker.ask(wanted).await;
        let outcome = Outcome {
            config: Arc::clone(&config),
            name,
            found,
        };
        if outcomes.send(outcome).await.is_err() {
            return;
        }
        // Never later than what was said.
        let pause = ttl.clamp(config.dns.min_ttl, config.dns.max_ttl);
        let pause = jittered(pause * 95 / 100, seed, round);
        sleep(pause.max(config.dns.min_ttl)).await;
    }
}

/// The resolver, and what it was made of.
struct Asker<'a> {
    dns: &'a Dns,
    servers: Vec<SocketAddr>,
    resolver: Option<TokioResolver>,
}

impl<'a> Asker<'a> {
    fn new(dns: &'a Dns) -> Self {
        Self {
            dns,
            servers: Vec::new(),
            resolver: None,
        }
    }

    /// What the DNS says of a name, and how long that holds.
    async fn ask(&mut self, wanted: &NamedServers) -> (Result<Answer, String>, Duration) {
        let none = self.dns.min_ttl;
        let resolver = match self.resolver() {
            Ok(resolver) => resolver,
            Err(why) => return (Err(why), none),
        };
        let found = match &wanted.name {
            ServerQuery::Host { name, port } => hosts(resolver, name, *port).await,
            ServerQuery::Service { name } => services(resolver, name).await,
        };
        match found {
            Ok((answer, _)) if answer.servers.is_empty() => {
                let why = answer.missing.unwrap_or_else(|| "no address".to_owned());
                (Err(why), none)
            }
            Ok((answer, _)) if answer.missing.is_some() => (Ok(answer), none),
            Ok((answer, ttl)) => (Ok(answer), ttl),
            Err(why) => (Err(why), none),
        }
    }

    /// A new one where /etc/resolv.conf has changed.
    fn resolver(&mut self) -> Result<&TokioResolver, String> {
        let servers = if self.dns.servers.is_empty() {
            let text = std::fs::read_to_string(RESOLV_CONF)
                .map_err(|error| format!("{RESOLV_CONF}: {error}"))?;
            name_servers(&text)
        } else {
            self.dns.servers.clone()
        };
        if servers.is_empty() {
            return Err(format!("{RESOLV_CONF} names no name server"));
        }
        if self.resolver.is_none() || servers != self.servers {
            let made = made(self.dns, &servers).map_err(|error| error.to_string())?;
            self.servers = servers;
            self.resolver = Some(made);
        }
        self.resolver
            .as_ref()
            .ok_or_else(|| "no resolver".to_owned())
    }
}

fn made(dns: &Dns, servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let connection = |mut kind: ConnectionConfig, port: u16| {
        kind.port = port;
        kind
    };
    let servers = servers.iter().map(|server| {
        let ways = vec![
            connection(ConnectionConfig::udp(), server.port()),
            connection(ConnectionConfig::tcp(), server.port()),
        ];
        let mut server = NameServerConfig::udp_and_tcp(server.ip());
        server.connections = ways;
        server
    });
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
    let mut options = ResolverOpts::default();
    options.timeout = dns.timeout;
    options.attempts = usize::try_from(dns.attempts.saturating_sub(1)).unwrap_or(0);
    // Lifetimes are kept by who asks, and the machine's own table is for its own programs.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
}

/// The addresses of a host, both kinds.
async fn hosts(
    resolver: &TokioResolver,
    name: &str,
    port: u16,
) -> Result<(Answer, Duration), String> {
    let (v4, v6) = tokio::join!(
        look_up(resolver, name, RecordType::A),
        look_up(resolver, name, RecordType::AAAA)
    );
    let mut answer = Answer::default();
    let mut ttl = Duration::MAX;
    let mut nothing = Vec::new();
    for (records, kind, unknown) in [(v4, "A", Unknown::V4), (v6, "AAAA", Unknown::V6)] {
        match records {
            Ok(records) => {
                ttl = ttl.min(records.ttl);
                let addresses = records.lookup.answers().iter();
                let addresses = addresses.filter_map(|record| address_of(&record.data));
                answer.servers.extend(addresses.map(|ip| Found {
                    address: SocketAddr::new(ip, port),
                    weight: None,
                    backup: false,
                }));
            }
            Err(Nothing::NoRecord(why)) => nothing.push(why),
            Err(Nothing::Failed(why)) => {
                answer.unknown = answer.unknown.and(unknown);
                answer.missing = Some(format!("{name} {kind}: {why}"));
            }
        }
    }
    if answer.servers.is_empty() && answer.missing.is_none() {
        return Err(nothing.pop().unwrap_or_else(|| "no address".to_owned()));
    }
    Ok((answer, ttl))
}

/// The servers of a service: its records, and the addresses of the hosts that these name.
async fn services(resolver: &TokioResolver, name: &str) -> Result<(Answer, Duration), String> {
    let records = match look_up(resolver, name, RecordType::SRV).await {
        Ok(records) => records,
        Err(Nothing::NoRecord(why) | Nothing::Failed(why)) => return Err(why),
    };
    let mut ttl = records.ttl;
    let mut found: Vec<Service> = records
        .lookup
        .answers()
        .iter()
        .filter_map(|record| service_of(&record.data))
        .collect();
    if found.is_empty() {
        return Err("the service is said to be nowhere".to_owned());
    }
    found.sort();
    found.dedup();
    let lowest = found.first().map_or(0, |one| one.priority);
    // The best ones: nobody makes us ask for more hosts than there can be servers.
    found.truncate(MOST_SERVICES);
    let mut answer = Answer::default();
    let of_hosts = hosts_of(resolver, &found).await;
    for ((service, weight), of_host) in found.iter().zip(weights(&found)).zip(of_hosts) {
        match of_host {
            Ok((of_host, lives)) => {
                ttl = ttl.min(lives);
                answer.unknown = answer.unknown.and(of_host.unknown);
                answer.missing = of_host.missing.or(answer.missing);
                answer
                    .servers
                    .extend(of_host.servers.into_iter().map(|one| Found {
                        weight: Some(weight),
                        backup: service.priority > lowest,
                        ..one
                    }));
            }
            Err(why) => {
                answer.unknown = Unknown::All;
                answer.missing = Some(format!("{}: {why}", service.target));
            }
        }
    }
    Ok((answer, ttl))
}

/// The addresses of the hosts of a service, in their order; a few are asked for at a time.
async fn hosts_of(
    resolver: &TokioResolver,
    services: &[Service],
) -> Vec<Result<(Answer, Duration), String>> {
    let never = || Err("it could not be asked for".to_owned());
    let mut found: Vec<_> = services.iter().map(|_| never()).collect();
    let mut next = services.iter().enumerate();
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < HOSTS_AT_ONCE
            && let Some((index, service)) = next.next()
        {
            let (resolver, target, port) = (resolver.clone(), service.target.clone(), service.port);
            asked.spawn(async move { (index, hosts(&resolver, &target, port).await) });
        }
        match asked.join_next().await {
            Some(Ok((index, of_host))) => found[index] = of_host,
            Some(Err(error)) => debug!(%error, "a host could not be asked for"),
            None => return found,
        }
    }
}

async fn look_up(
    resolver: &TokioResolver,
    name: &str,
    kind: RecordType,
) -> Result<Records, Nothing> {
    // With its dot: no search list.
    let whole = Name::from_ascii(format!("{name}."));
    let whole = whole.map_err(|error| Nothing::Failed(error.to_string()))?;
    let lookup = match resolver.lookup(whole, kind).await {
        Ok(lookup) => lookup,
        Err(error) => return Err(nothing(&error)),
    };
    let ttl = lookup.answers().iter().map(|record| record.ttl).min();
    let ttl = Duration::from_secs(ttl.unwrap_or(0).into());
    let ttl = ttl.min(
        lookup
            .valid_until()
            .saturating_duration_since(Instant::now())
            + Duration::from_secs(1),
    );
    Ok(Records { lookup, ttl })
}

fn nothing(error: &NetError) -> Nothing {
    if let NetError::Dns(DnsError::NoRecordsFound(none)) = error {
        return Nothing::NoRecord(if none.response_code == ResponseCode::NXDomain {
            "there is no such name (NXDOMAIN)".to_owned()
        } else {
            "the name has no such record".to_owned()
        });
    }
    Nothing::Failed(if let NetError::Dns(DnsError::ResponseCode(code)) = error {
        format!("the name server answers {code}")
    } else if matches!(error, NetError::Timeout) {
        "no answer in time".to_owned()
    } else {
        error.to_string()
    })
}

fn address_of(data: &RData) -> Option<IpAddr> {
    if let RData::A(address) = data {
        Some(IpAddr::V4(address.0))
    } else if let RData::AAAA(address) = data {
        Some(IpAddr::V6(address.0))
    } else {
        None
    }
}

/// `None` for what is none, and for the record that says that the service is nowhere (RFC 2782).
fn service_of(data: &RData) -> Option<Service> {
    let RData::SRV(record) = data else {
        return None;
    };
    let target = record.target.to_ascii();
    let target = target.trim_end_matches('.');
    (!target.is_empty() && record.port != 0).then(|| Service {
        priority: record.priority,
        weight: Reverse(record.weight),
        target: target.to_owned(),
        port: record.port,
    })
}
