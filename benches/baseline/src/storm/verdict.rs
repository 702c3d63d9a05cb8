//! What was seen of a storm, as a table, and what of it is not as promised.

use std::time::Duration;

use super::{Seen, Storm};
use crate::figures::quantile;
use crate::plan::SERVERS;

/// Of memory, in bytes.
const PSS_ROOM: u64 = 2_000_000;
const DESCRIPTORS_ROOM: u64 = 5;
/// When connections begin later than this, it was another load.
const LATE: Duration = Duration::from_millis(500);

/// One column for each balancer.
pub(super) fn table(all: &[Seen], storm: Storm) -> Vec<Vec<String>> {
    let line = |name: &str, value: &dyn Fn(&Seen) -> String| {
        let mut words = vec![name.to_owned()];
        words.extend(all.iter().map(value));
        words
    };
    let head = format!("{} a second for {} s", storm.rate, storm.length.as_secs());
    vec![
        line(&head, &|seen| seen.subject.name().to_owned()),
        line("closed in order", &|seen| seen.tally.in_order.to_string()),
        line("aborted after the answer", &|seen| {
            seen.tally.aborted[0].to_string()
        }),
        line("aborted behind the question", &|seen| {
            seen.tally.aborted[1].to_string()
        }),
        line("failed", &|seen| seen.tally.failed.to_string()),
        line("connect to answer p50 / p99 / max, ms", &|seen| {
            let at = |share| quantile(&seen.tally.answered, share).unwrap_or(f64::NAN);
            format!("{:.2} / {:.2} / {:.1}", at(0.5), at(0.99), at(1.0))
        }),
        line("latest beginning, ms", &|seen| {
            format!("{:.1}", seen.tally.latest.as_secs_f64() * 1e3)
        }),
        line("CPU per connection, us", &|seen| {
            format!(
                "{:.0}",
                seen.cpu.as_secs_f64() * 1e6 / seen.tally.all().max(1) as f64
            )
        }),
        line("sockets that entered TIME_WAIT", &|seen| {
            entered(seen).to_string()
        }),
        line("in TIME_WAIT at the end", &|seen| {
            seen.after.time_wait.now.to_string()
        }),
        line("descriptors before / after", &|seen| {
            format!("{} / {}", seen.before.descriptors, seen.after.descriptors)
        }),
        line("PSS before / after, MB", &|seen| {
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            format!(
                "{:.2} / {:.2}",
                megabytes(seen.before.pss),
                megabytes(seen.after.pss)
            )
        }),
    ]
}

fn entered(seen: &Seen) -> u64 {
    seen.after.time_wait.ever - seen.before.time_wait.ever
}

/// The most that there can have been in a time: each two seconds, a tenth earlier at times.
fn health_checks(took: Duration) -> u64 {
    u64::from(SERVERS) * (took.as_secs() * 10 / 18 + 2)
}

/// What is not as promised.
pub(super) fn missed(seen: &Seen, storm: Storm) -> Vec<String> {
    let (tally, before, after) = (&seen.tally, &seen.before, &seen.after);
    let mut missed = Vec::new();
    let mut expect = |kept: bool, line: String| {
        if !kept {
            missed.push(line);
        }
    };
    let count = u64::from(storm.rate) * storm.length.as_secs();
    expect(
        tally.failed == 0 && tally.all() == count,
        format!("{} of {count} connections failed", tally.failed),
    );
    expect(
        tally.latest <= LATE,
        format!(
            "a connection began {:?} late: not the load that was to be",
            tally.latest
        ),
    );
    // An orderly end that the client begins leaves one socket in TIME_WAIT towards the server, and so does a health check.
    let checks = health_checks(seen.took);
    expect(
        entered(seen) <= tally.in_order + checks,
        format!(
            "{} sockets entered TIME_WAIT, {} connections were closed in order, and at most {checks} health checks",
            entered(seen),
            tally.in_order
        ),
    );
    expect(
        before.descriptors.abs_diff(after.descriptors) <= DESCRIPTORS_ROOM,
        format!(
            "{} descriptors before, {} after",
            before.descriptors, after.descriptors
        ),
    );
    expect(
        before.pss.abs_diff(after.pss) <= PSS_ROOM,
        format!("{} bytes of memory before, {} after", before.pss, after.pss),
    );
    missed
}
