//! What is measured, in which unit, and whose figure it is.

use crate::plan::{OPEN, POOLS, Subject};

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    /// CPU per short connection, microseconds.
    Connection,
    /// CPU per round trip, microseconds.
    Trip,
    /// CPU per 10^9 bytes from server to client, seconds.
    Down,
    /// CPU per 10^9 bytes from client to server, seconds.
    Up,
    /// Memory (PSS) per idle connection, bytes.
    IdleConnection,
    /// PSS after the start, 10^6 bytes.
    StartPss,
    /// RSS after the start, 10^6 bytes.
    StartRss,
    /// A round trip at a fixed load, microseconds.
    Latency(Quantile),
    /// The same, less what the round trip takes without a balancer.
    Added(Quantile),
    /// CPU per round trip with so many open connections, microseconds.
    TripAt(u32),
    /// CPU per short connection with so many servers, microseconds.
    ConnectionWith(u8),
}

/// A place in a sorted list of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quantile {
    P50,
    P99,
    P999,
}

impl Quantile {
    /// All three.
    pub(crate) const ALL: [Self; 3] = [Self::P50, Self::P99, Self::P999];

    /// The share of values below it.
    pub(crate) fn share(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
        }
    }
}

impl Metric {
    /// Every line, in the table's order.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Connection,
            Self::Trip,
            Self::Down,
            Self::Up,
            Self::IdleConnection,
            Self::StartPss,
            Self::StartRss,
        ];
        all.extend(Quantile::ALL.map(Self::Latency));
        all.extend(Quantile::ALL.map(Self::Added));
        all.extend(OPEN.map(Self::TripAt));
        all.extend(POOLS.map(Self::ConnectionWith));
        all
    }

    /// What it is, without the unit.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Connection => "CPU per short connection".to_owned(),
            Self::Trip => "CPU per 64 B round trip".to_owned(),
            Self::Down => "CPU per GB down".to_owned(),
            Self::Up => "CPU per GB up".to_owned(),
            Self::IdleConnection => "memory per idle connection".to_owned(),
            Self::StartPss => "PSS after the start".to_owned(),
            Self::StartRss => "RSS after the start".to_owned(),
            Self::Latency(quantile) => format!("round trip {}", quantile.name()),
            Self::Added(quantile) => format!("added latency {}", quantile.name()),
            Self::TripAt(open) => format!("CPU per round trip, {open} open"),
            Self::ConnectionWith(1) => "CPU per short connection, 1 server".to_owned(),
            Self::ConnectionWith(servers) => {
                format!("CPU per short connection, {servers} servers")
            }
        }
    }

    /// The unit of its values.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Connection
            | Self::Trip
            | Self::Latency(_)
            | Self::Added(_)
            | Self::TripAt(_)
            | Self::ConnectionWith(_) => "us",
            Self::Down | Self::Up => "s",
            Self::IdleConnection => "B",
            Self::StartPss | Self::StartRss => "MB",
        }
    }

    /// The column of fmc-lb that is compared with the others: of what is there before any work all processes, of the
    /// work itself the one that does it.
    pub(crate) fn own_column(self) -> Column {
        match self {
            Self::StartPss | Self::StartRss => Column::Together,
            Self::Connection
            | Self::Trip
            | Self::Down
            | Self::Up
            | Self::IdleConnection
            | Self::Latency(_)
            | Self::Added(_)
            | Self::TripAt(_)
            | Self::ConnectionWith(_) => Column::Of(Subject::FmcLb),
        }
    }

    /// A value as text, without the unit: three digits that matter, and no more than were measured.
    pub(crate) fn text(self, value: f64) -> String {
        let digits = match self.unit() {
            "B" => 0,
            "s" => 2,
            _ if value.abs() < 99.95 => 1,
            _ => 0,
        };
        format!("{value:.digits$}")
    }
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    /// A subject; of fmc-lb the process that relays, of the others all their processes.
    Of(Subject),
    /// All processes of fmc-lb together.
    Together,
}

impl Column {
    /// All of them, in the table's order.
    pub(crate) const ALL: [Self; 7] = [
        Self::Of(Subject::Direct),
        Self::Of(Subject::FmcLb),
        Self::Together,
        Self::Of(Subject::HaproxySplice),
        Self::Of(Subject::Haproxy),
        Self::Of(Subject::Nginx),
        Self::Of(Subject::Envoy),
    ];

    /// Its heading.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Of(subject) => subject.name(),
            Self::Together => "fmc-lb, all processes",
        }
    }

    /// Whose it is.
    pub(crate) fn subject(self) -> Subject {
        match self {
            Self::Of(subject) => subject,
            Self::Together => Subject::FmcLb,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_three_digits_that_matter() {
        assert_eq!(Metric::Trip.text(23.456), "23.5");
        assert_eq!(Metric::Connection.text(117.6), "118");
        assert_eq!(Metric::Connection.text(99.96), "100");
        assert_eq!(Metric::Down.text(0.487), "0.49");
        assert_eq!(Metric::IdleConnection.text(3_385.4), "3385");
        assert_eq!(Metric::Added(Quantile::P50).text(-3.21), "-3.2");
    }
}
