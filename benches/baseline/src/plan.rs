//! Who is measured at what, how much of it, and in which order.

use std::time::Duration;

use clap::ValueEnum;

/// A balancer, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Subject {
    /// The client talks to a server directly; measured at latency only.
    #[value(skip)]
    Direct,
    FmcLb,
    HaproxySplice,
    Haproxy,
    Nginx,
    Envoy,
}

impl Subject {
    /// Every balancer.
    pub(crate) const BALANCERS: [Self; 5] = [
        Self::FmcLb,
        Self::HaproxySplice,
        Self::Haproxy,
        Self::Nginx,
        Self::Envoy,
    ];

    /// As tables have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "no balancer",
            Self::FmcLb => "fmc-lb",
            Self::HaproxySplice => "HAProxy splice-auto",
            Self::Haproxy => "HAProxy",
            Self::Nginx => "nginx stream",
            Self::Envoy => "Envoy",
        }
    }
}

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Short connections: connect, 64 bytes each way, close
    Connection,
    /// 64-byte round trips on open connections
    Trip,
    /// Bulk data, down and up
    Bulk,
    /// Memory after the start, and of each idle connection
    Idle,
    /// Latency at a fixed load
    Latency,
    /// More open connections, more servers
    Scale,
}

impl Work {
    /// All of it.
    pub(crate) const ALL: [Self; 6] = [
        Self::Connection,
        Self::Trip,
        Self::Bulk,
        Self::Idle,
        Self::Latency,
        Self::Scale,
    ];

    /// As `--only` takes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Trip => "trip",
            Self::Bulk => "bulk",
            Self::Idle => "idle",
            Self::Latency => "latency",
            Self::Scale => "scale",
        }
    }
}

/// Open connections at which a round trip is measured.
pub(crate) const OPEN: [u32; 4] = [10, 100, 1_000, 9_000];
/// Servers at which a short connection is measured.
pub(crate) const POOLS: [u8; 3] = [1, 10, 100];
/// Servers of all other work.
pub(crate) const SERVERS: u8 = 3;
/// Short connections at a time.
pub(crate) const AT_ONCE: u32 = 32;
/// Connections that play ping-pong.
pub(crate) const PLAYERS: u32 = 50;
/// Of the open connections of the scaling work, so many play; the others are idle.
pub(crate) const PLAYERS_OF_MANY: u32 = 10;
/// Bulk transfers at a time.
pub(crate) const STREAMS: u32 = 4;
/// Connections of the latency work.
pub(crate) const LATENCY_CONNECTIONS: u32 = 20;
/// Round trips a second of the latency work.
pub(crate) const LATENCY_RATE: u32 = 2_000;

/// How much of each work is one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Short connections.
    pub(crate) connections: u32,
    /// Round trips.
    pub(crate) trips: u32,
    /// Bytes in each direction.
    pub(crate) bulk: u64,
    /// Connections that are held idle.
    pub(crate) idle: u32,
    /// How long latency is sampled.
    pub(crate) latency: Duration,
    /// Round trips at each number of open connections.
    pub(crate) scale_trips: u32,
    /// Short connections at each number of servers.
    pub(crate) scale_connections: u32,
}

impl Sizes {
    /// For figures to keep.
    pub(crate) const FULL: Self = Self {
        connections: 20_000,
        trips: 200_000,
        bulk: 2_000_000_000,
        idle: 5_000,
        latency: Duration::from_secs(10),
        scale_trips: 50_000,
        scale_connections: 5_000,
    };
    /// For a look.
    pub(crate) const QUICK: Self = Self {
        connections: 3_000,
        trips: 30_000,
        bulk: 500_000_000,
        idle: 2_000,
        latency: Duration::from_secs(2),
        scale_trips: 10_000,
        scale_connections: 1_500,
    };
}

/// The order of a round: each round begins with the next subject, so that none always follows the same one into a
/// warmer or busier machine.
pub(crate) fn order(subjects: &[Subject], round: usize) -> Vec<Subject> {
    let mut order = subjects.to_vec();
    if !order.is_empty() {
        let first = round % order.len();
        order.rotate_left(first);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_begins_a_round_in_turn() {
        let subjects = [Subject::FmcLb, Subject::Haproxy, Subject::Envoy];
        let firsts: Vec<_> = (0..4).map(|round| order(&subjects, round)[0]).collect();
        assert_eq!(
            firsts,
            [
                Subject::FmcLb,
                Subject::Haproxy,
                Subject::Envoy,
                Subject::FmcLb
            ]
        );
        assert_eq!(
            order(&subjects, 1),
            [Subject::Haproxy, Subject::Envoy, Subject::FmcLb]
        );
        assert!(order(&[], 3).is_empty());
    }
}
