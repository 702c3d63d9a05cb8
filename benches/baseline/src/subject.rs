//! The balancers: where they are, their configuration for the same work, and their command lines.
//!
//! All get one thread, room for the same number of connections, a backlog that loses no burst, round-robin, and health
//! checks each two seconds where they have any. Everything else is their default.

mod envoy;
pub(crate) mod fmclb;
mod haproxy;
mod nginx;

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::process::{Seen, output_within};

use crate::plan::Subject;

/// Connections that each balancer must hold, with room above the largest number that is opened.
const CONNECTIONS: u32 = 9_200;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 8_192;
/// A program says its version within this.
const ANSWER: Duration = Duration::from_secs(5);

/// The programs under test.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) fmc_lb: PathBuf,
    pub(crate) haproxy: PathBuf,
    pub(crate) nginx: PathBuf,
    pub(crate) nginx_stream: PathBuf,
    /// `None` = it could not be had.
    pub(crate) envoy: Option<PathBuf>,
}

/// What a configuration is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) listen: SocketAddrV4,
    /// The interface that has the listener's address.
    pub(crate) interface: &'a str,
    pub(crate) servers: &'a [SocketAddrV4],
    /// For configurations, process ids and sockets.
    pub(crate) folder: &'a Path,
}

/// How a balancer is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) config: String,
    /// Where the configuration is to be written.
    pub(crate) file: PathBuf,
    /// Program and arguments.
    pub(crate) line: Vec<String>,
}

impl Programs {
    /// Why a balancer cannot be measured here; `None` = it can.
    pub(crate) fn missing(&self, subject: Subject) -> Option<String> {
        let file =
            |path: &Path| (!path.exists()).then(|| format!("there is no {}", path.display()));
        match subject {
            Subject::Direct => None,
            Subject::FmcLb => file(&self.fmc_lb),
            Subject::HaproxySplice | Subject::Haproxy => file(&self.haproxy),
            Subject::Nginx => file(&self.nginx).or_else(|| file(&self.nginx_stream)),
            Subject::Envoy => match &self.envoy {
                Some(path) => file(path),
                None => Some("the program could not be had".to_owned()),
            },
        }
    }

    /// What a balancer says of its version, in one line.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn version(&self, subject: Subject) -> Result<String> {
        let (program, argument) = match (subject, &self.envoy) {
            (Subject::Direct, _) => return Ok(String::new()),
            (Subject::FmcLb, _) => (&self.fmc_lb, "--version"),
            (Subject::HaproxySplice | Subject::Haproxy, _) => (&self.haproxy, "-v"),
            (Subject::Nginx, _) => (&self.nginx, "-v"),
            (Subject::Envoy, Some(envoy)) => (envoy, "--version"),
            (Subject::Envoy, None) => return Ok(String::new()),
        };
        let mut command = Command::new(program);
        command.arg(argument).stdin(Stdio::null());
        let output = output_within(&mut command, ANSWER)
            .with_context(|| format!("ask {} for its version", subject.name()))?;
        // nginx says it on stderr.
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        let first = text.lines().map(str::trim).find(|line| !line.is_empty());
        Ok(first.unwrap_or_default().to_owned())
    }

    /// How a balancer is started at a site; `None` = without one.
    pub(crate) fn launch(&self, subject: Subject, site: Site<'_>) -> Option<Launch> {
        match subject {
            Subject::Direct => None,
            Subject::FmcLb => Some(fmclb::launch(&self.fmc_lb, site)),
            Subject::HaproxySplice => {
                let splice = haproxy::Splice::Auto;
                Some(haproxy::launch(&self.haproxy, site, splice))
            }
            Subject::Haproxy => Some(haproxy::launch(&self.haproxy, site, haproxy::Splice::Never)),
            Subject::Nginx => Some(nginx::launch((&self.nginx, &self.nginx_stream), site)),
            Subject::Envoy => Some(envoy::launch(self.envoy.as_deref()?, site)),
        }
    }
}

/// Whether a process is the one that relays, or any of the others that only fmc-lb has.
pub(crate) fn relays(subject: Subject, seen: &Seen) -> bool {
    let word = |index: usize| seen.arguments.get(index).map(String::as_str);
    subject != Subject::FmcLb || (word(1), word(2)) == (Some("child"), Some("proxy"))
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use nix::unistd::Pid;

    use super::*;

    fn programs() -> Programs {
        Programs {
            fmc_lb: "/x/fmc-lb".into(),
            haproxy: "/x/haproxy".into(),
            nginx: "/x/nginx".into(),
            nginx_stream: "/x/stream.so".into(),
            envoy: Some("/x/envoy".into()),
        }
    }

    #[test]
    fn every_configuration_names_the_listener_and_each_server_once() {
        let servers = [1, 2].map(|host| SocketAddrV4::new(Ipv4Addr::new(10, 2, 0, host), 7_000));
        let site = Site {
            listen: SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), 7_000),
            interface: "front",
            servers: &servers,
            folder: Path::new("/x/run"),
        };
        for subject in Subject::BALANCERS {
            let launch = programs().launch(subject, site).unwrap();
            assert_eq!(launch.line[0].rsplit('/').count(), 3, "{launch:?}");
            for server in ["10.2.0.1", "10.2.0.2"] {
                let count = launch.config.matches(server).count();
                assert_eq!(count, 1, "{subject:?}: {}", launch.config);
            }
            assert!(launch.config.contains("10.1.0.1"), "{}", launch.config);
            let file = launch.file.display().to_string();
            assert!(launch.line.contains(&file), "{launch:?}");
        }
        assert_eq!(programs().launch(Subject::Direct, site), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let mut programs = programs();
        let missing = programs.missing(Subject::Nginx).unwrap();
        assert_eq!(missing, "there is no /x/nginx");
        programs.envoy = None;
        assert!(programs.missing(Subject::Envoy).is_some());
        assert_eq!(programs.missing(Subject::Direct), None);
    }

    #[test]
    fn of_fmc_lb_one_process_relays() {
        let seen = |words: &[&str]| Seen {
            pid: Pid::from_raw(1),
            parent: Pid::from_raw(1),
            arguments: words.iter().map(|word| (*word).to_owned()).collect(),
            state: 'S',
        };
        let proxy = seen(&["/proc/self/exe", "child", "proxy"]);
        let vrrp = seen(&["/proc/self/exe", "child", "vrrp"]);
        assert!(relays(Subject::FmcLb, &proxy));
        assert!(!relays(Subject::FmcLb, &vrrp));
        assert!(relays(Subject::Nginx, &seen(&["nginx: worker process"])));
    }
}
