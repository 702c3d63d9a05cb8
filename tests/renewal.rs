//! A listener's certificate that is renewed on disk while a node runs.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test on the lab opens connections, and rests longer than the files need to"
)]

mod site;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lab::Node;
use lab::backend::Service;
use lab::balancer::{Balancer as _, Part};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::site::{Site, config_at, web};

const LIMIT: Duration = Duration::from_secs(5);
const NAME: &str = "web.example.org";

type Client = StreamOwned<ClientConnection, TcpStream>;

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    clients: Arc<ClientConfig>,
}

/// Certificate and key as PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone())?;
        let mut clients = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A resumed session shows no certificate.
        clients.resumption = Resumption::disabled();
        Ok(Self {
            issuer,
            clients: Arc::new(clients),
        })
    }

    fn pair(&self, last_year: i32) -> Result<Pair> {
        let mut params = CertificateParams::new(vec![NAME.to_owned()])?;
        params.not_after = date_time_ymd(last_year, 12, 31);
        let key = KeyPair::generate()?;
        Ok(Pair {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// A client that has its greeting from a server.
    fn connect(&self, site: &Site) -> Result<Client> {
        let name = ServerName::try_from(NAME)?;
        let tls = ClientConnection::new(Arc::clone(&self.clients), name)?;
        let socket = site
            .lab
            .run_in(Node::Client, || TcpStream::connect_timeout(&web(), LIMIT))?;
        socket.set_read_timeout(Some(LIMIT))?;
        let mut client = StreamOwned::new(tls, socket);
        let read = client.read(&mut [0; 256]).context("greeting")?;
        ensure!(read > 0, "no greeting");
        Ok(client)
    }
}

fn echoes(client: &mut Client) -> Result<()> {
    client.write_all(b"?")?;
    let mut byte = [0];
    client.read_exact(&mut byte).context("the echo")
}

fn shown(client: &Client) -> Vec<u8> {
    let shown = client.conn.peer_certificates().unwrap_or_default();
    shown.first().map(|own| own.to_vec()).unwrap_or_default()
}

/// As a careful writer replaces a file.
fn replace(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let beside = path.with_extension("new");
    fs::write(&beside, text)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    fs::rename(&beside, path).context("rename it over the old one")
}

fn pair(site: &Site) -> Result<Value> {
    let status = site.pair.status(Node::Lb1)?;
    status["files"].get(0).cloned().context("no file in status")
}

/// The day until which the certificate in use is valid.
fn valid_until(site: &Site) -> Result<String> {
    let status = site.pair.status(Node::Lb1)?;
    let listeners = status["listeners"].as_array().context("listeners")?;
    let certificate = listeners.iter().find_map(|one| {
        let end = &one["tls"]["certificates"][0]["not_after"];
        end.as_str().map(str::to_owned)
    });
    certificate.context("no certificate in status")
}

#[test]
fn a_renewed_certificate_is_used_and_a_bad_one_is_not() -> Result<()> {
    let authority = Authority::new()?;
    let folder = tempfile::tempdir()?;
    let [cert, key] = ["web.crt", "web.key"].map(|name| folder.path().join(name));
    let first = authority.pair(2060)?;
    replace(&cert, &first.certificate)?;
    replace(&key, &first.key)?;
    let named = format!(
        "[listeners.http]\ntls = {{ certificates = [{{ cert_file = {cert:?}, key_file = {key:?} }}] }}\n"
    );
    let config = config_at(Duration::from_millis(100)).replace("[listeners.http]\n", &named);
    ensure!(config.contains("certificates"), "{config}");
    Site::start(&config, Service::Echo)?.watched("renewal", |site| {
        let mut old = authority.connect(site)?;
        let before = shown(&old);
        ensure!(valid_until(site)?.starts_with("2060-12-31"));

        // The certificate first, its key a moment later: nothing to be told of.
        let second = authority.pair(2070)?;
        replace(&cert, &second.certificate)?;
        std::thread::sleep(Duration::from_secs(3));
        ensure!(pair(site)?["refusals"] == 0, "{}", pair(site)?);
        ensure!(shown(&authority.connect(site)?) == before);
        replace(&key, &second.key)?;
        site.wait("the new pair is in use", |site| {
            valid_until(site).is_ok_and(|end| end.starts_with("2070-12-31"))
        })?;
        ensure!(pair(site)?["changes"] == 1, "{}", pair(site)?);
        let in_use = shown(&authority.connect(site)?);
        ensure!(in_use != before);
        echoes(&mut old)?;

        // One that expired long ago, and a key of another certificate: after its time to fit.
        let expired = authority.pair(2020)?;
        let changed = Instant::now();
        replace(&cert, &expired.certificate)?;
        replace(&key, &expired.key)?;
        let refused = |site: &Site, words: &str| {
            pair(site).is_ok_and(|pair| pair["refused"].to_string().contains(words))
        };
        site.lab
            .wait_until(Duration::from_secs(20), "it is refused", || {
                refused(site, "expired on 2020-12-31")
            })?;
        ensure!(changed.elapsed() >= Duration::from_secs(10), "too early");
        replace(&key, &first.key)?;
        site.wait("that they do not fit is told", |site| {
            refused(site, "KeyMismatch")
        })?;
        let warnings = site.pair.status(Node::Lb1)?["warnings"].to_string();
        ensure!(warnings.contains("KeyMismatch"), "{warnings}");
        ensure!(shown(&authority.connect(site)?) == in_use);
        echoes(&mut old)?;
        drop(old);

        // The next proxy has what was in use, whatever is on disk.
        let killed = site.pair.pid(Node::Lb1, Part::Proxy)?;
        site.pair.kill_part(Node::Lb1, Part::Proxy)?;
        site.wait("it is replaced", |site| {
            let pid = site.pair.pid(Node::Lb1, Part::Proxy);
            pid.is_ok_and(|pid| pid != killed)
        })?;
        ensure!(shown(&authority.connect(site)?) == in_use);
        Ok(())
    })
}
