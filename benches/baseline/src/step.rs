//! The steps of a kind of work: what the subjects do in turn, one right after the other.

use std::time::Duration;

use crate::load::bulk::Way;
use crate::load::trip::Table;
use crate::metric::Metric;
use crate::plan::{OPEN, PLAYERS, PLAYERS_OF_MANY, POOLS, SERVERS, STREAMS, Sizes, Work};

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Short connections.
    Connections {
        metric: Metric,
        servers: u8,
        count: u32,
    },
    /// Round trips.
    Trips { metric: Metric, table: Table },
    /// Bulk data, so many bytes in all.
    Bulk { way: Way, bytes: u64 },
    /// Memory, with so many connections held.
    Idle { count: u32 },
    /// Latency, sampled so long.
    Latency { length: Duration },
}

/// The steps of a kind of work.
pub(crate) fn steps(work: Work, sizes: &Sizes) -> Vec<Step> {
    match work {
        Work::Connection => vec![Step::Connections {
            metric: Metric::Connection,
            servers: SERVERS,
            count: sizes.connections,
        }],
        Work::Trip => vec![Step::Trips {
            metric: Metric::Trip,
            table: Table {
                players: PLAYERS,
                idle: 0,
                trips: sizes.trips,
            },
        }],
        Work::Bulk => {
            let streams = u64::from(STREAMS);
            let bytes = sizes.bulk / streams * streams;
            [Way::Down, Way::Up]
                .map(|way| Step::Bulk { way, bytes })
                .to_vec()
        }
        Work::Idle => vec![Step::Idle { count: sizes.idle }],
        Work::Latency => vec![Step::Latency {
            length: sizes.latency,
        }],
        Work::Scale => scale(sizes),
    }
}

fn scale(sizes: &Sizes) -> Vec<Step> {
    let trips = OPEN.map(|open| Step::Trips {
        metric: Metric::TripAt(open),
        table: Table {
            players: PLAYERS_OF_MANY,
            idle: open - PLAYERS_OF_MANY,
            trips: sizes.scale_trips,
        },
    });
    let connections = POOLS.map(|servers| Step::Connections {
        metric: Metric::ConnectionWith(servers),
        servers,
        count: sizes.scale_connections,
    });
    trips.into_iter().chain(connections).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_that_costs_cpu_has_a_step() {
        let mut metrics: Vec<Metric> = Work::ALL
            .iter()
            .flat_map(|work| steps(*work, &Sizes::QUICK))
            .filter_map(|step| match step {
                Step::Connections { metric, .. } | Step::Trips { metric, .. } => Some(metric),
                Step::Bulk { way: Way::Down, .. } => Some(Metric::Down),
                Step::Bulk { way: Way::Up, .. } => Some(Metric::Up),
                Step::Idle { .. } | Step::Latency { .. } => None,
            })
            .collect();
        metrics.sort_unstable();
        let mut expected = Metric::all();
        expected.retain(|metric| metric.name().starts_with("CPU"));
        expected.sort_unstable();
        assert_eq!(metrics, expected);
    }

    #[test]
    fn of_many_open_connections_ten_play() {
        let tables: Vec<Table> = steps(Work::Scale, &Sizes::FULL)
            .into_iter()
            .filter_map(|step| match step {
                Step::Trips { table, .. } => Some(table),
                Step::Connections { .. }
                | Step::Bulk { .. }
                | Step::Idle { .. }
                | Step::Latency { .. } => None,
            })
            .collect();
        let open: Vec<u32> = tables
            .iter()
            .map(|table| table.players + table.idle)
            .collect();
        assert_eq!(open, OPEN);
        assert!(tables.iter().all(|table| table.players == PLAYERS_OF_MANY));
    }
}
