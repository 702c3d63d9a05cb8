//! The lab: the reference topology in network namespaces, identified backends, faults, and instruments that measure from
//! outside.
//!
//! It launches what it is given by path and speaks only the wire, so the same scenario runs against fmc-lb and against the
//! baseline (HAProxy + Keepalived). It depends on no other crate of the workspace.
//!
//! - [`Lab::start`] makes the namespaces ([`topology`]); dropping the last clone removes everything, also after a panic,
//!   and the next start sweeps what a killed run has left ([`namespace`]).
//! - [`cluster::Cluster`] puts [`backend::Backend`]s on masters and workers; [`apiserver`] answers as a real API server.
//! - [`balancer::Balancer`] starts and stops a pair: [`fmclb::FmcLb`] or [`baseline::HaproxyKeepalived`].
//! - [`traffic::Traffic`] is what clients do all at once: held sessions, [`bulk`] streams, new connections.
//! - [`transfer::Transfer`] is a download or an upload that is cut before its end, and how it learned of that.
//! - [`prober::Prober`] measures outages, [`held::Held`] watches established connections, [`lease::LeaseWatch`] who holds
//!   a VIP, [`adverts::AdvertWatch`] the adverts on the wire.
//! - [`fault`] breaks things and mends them on drop; [`capture`] keeps the last packets for a failed test.
//! - [`chain::Chain`] is the other network: client, balancer and servers in a row, to measure one balancer on.
//! - [`scenario`] combines them into one measured round, [`verdict`] says whether its promise was kept.
//!
//! Everything runs on threads of the calling process that have entered a namespace; only the balancers are processes.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the lab is all IO: real sockets, real clocks, real waiting"
)]

pub mod adverts;
pub mod apiserver;
pub mod backend;
pub mod balancer;
pub mod baseline;
pub mod bulk;
pub mod capture;
pub mod chain;
pub mod client;
pub mod cluster;
mod command;
pub mod epoll;
pub mod evidence;
pub mod fault;
pub mod flood;
pub mod fmclb;
pub mod frr;
pub mod held;
mod http;
pub mod interrupt;
pub mod keepalived;
pub mod lease;
pub mod limits;
pub mod namespace;
mod node;
pub mod packet;
mod pause;
pub mod payload;
pub mod pki;
pub mod prober;
pub mod process;
pub mod report;
pub mod scenario;
pub mod topology;
pub mod traffic;
pub mod transfer;
pub mod verdict;
mod wait;

pub use node::Node;
pub use topology::Lab;
pub use wait::{wait_until, within};
