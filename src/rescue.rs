//! `fmc-lb rescue`: tells the clients of a lost machine that their connections are gone.
//!
//! A client that waits for something to come learns nothing from a machine that is dead: it would wait until its keepalive
//! or its user gives up. So each one is poked: it is sent a segment from the VIP that lies far outside of its connection's
//! window, and answers with an acknowledgement of what it expects (RFC 9293, section 3.10.7.4). That comes to this
//! machine, whose kernel knows no such connection and answers with the RST that fits. Nobody else could write one: its
//! number has to be exact (RFC 5961).
//!
//! The first two segments are SYN and ACK in one, of a handshake that nobody has asked for (RFC 5961, section 4.2, has it
//! answered whatever its number is). That is the one form that firewalls with connection tracking let through at both ends:
//! to the client's it may belong to the connection that it knows, and this machine's does not make an entry of it, by which
//! the client's answer would be invalid, and dropped. The third one is a plain ACK: a client's kernel before 6.0 answers no
//! more than 1,000 of the former in a second, over all its connections (`tcp_challenge_ack_limit`). It answers once in
//! 500 ms for each connection, so the third one comes later than that.
//!
//! The supervisor starts this process once the other machine is dead and a VIP of it is held here, since before that the
//! answer would go to the dead machine. It has a user of its own and raw sockets, which it opens first; then it gives up
//! every right. The table of sessions is its standard input; what became of it goes to standard output, as JSON. It ends
//! by itself.
//!
//! - `plan` (pure): whom to poke when.
//! - `segment` (pure): what a poke is made of, and how an RST is recognised.
//! - `wire`: the sockets.

mod plan;
mod segment;
mod wire;

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::Context;
use common::board::{SessionTable, VipSession};
use serde::{Deserialize, Serialize};

use self::plan::{Next, Plan};
use self::wire::Wire;
use crate::control::Identity;
use crate::output::{complain, print};
use crate::{cli, memory, rights};

/// Pokes between two looks at what was answered.
const IN_A_ROW: u32 = 32;
/// Most answers of one look.
const RESETS: usize = 512;

/// What became of the clients, in one line of JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    /// Sessions that it was for.
    pub(crate) clients: u64,
    /// Of these, those whose client got an RST.
    pub(crate) freed: u64,
    /// Segments that were sent.
    pub(crate) pokes: u64,
    /// Segments that the kernel did not take.
    pub(crate) refused: u64,
}

/// Whether a session is one of a VIP that is held.
pub(crate) fn concerns(session: &VipSession, held: u16) -> bool {
    held >> session.vip.0 & 1 == 1
}

pub(crate) fn run(args: &cli::Rescue) -> anyhow::Result<ExitCode> {
    let user = args.uid.zip(args.gid).map(|(uid, gid)| Identity {
        uid,
        gid,
        groups: Vec::new(),
    });
    let refused = rights::enter_rescue(user.as_ref()).context("give up rights")?;
    for what in refused {
        complain(&format!("fmc-lb rescue: {what}\n"));
    }
    let held = |(index, vip): (usize, &IpAddr)| (args.held >> index & 1 == 1).then_some(*vip);
    let vips: Vec<Option<IpAddr>> = args.vips.iter().enumerate().map(held).collect();
    let wire = Wire::open(&vips).context("open raw sockets")?;
    rights::renounce().context("give up the last rights")?;
    let table = io::stdin().as_fd().try_clone_to_owned()?;
    let table: &SessionTable = memory::map_read_only(&table)
        .context("map the table of sessions (only `fmc-lb run` starts this command)")?;
    let concerned = table
        .sessions()
        .filter(|session| concerns(session, args.held));
    let outcome = free(&wire, Plan::new(concerned.collect(), vrrp::now()));
    let outcome = serde_json::to_string(&outcome).context("say what became of it")?;
    print(&format!("{outcome}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn free(wire: &Wire, mut plan: Plan) -> Outcome {
    let mut outcome = Outcome {
        clients: plan.clients(),
        ..Outcome::default()
    };
    loop {
        for session in std::iter::from_fn(|| wire.reset()).take(RESETS) {
            plan.handle_reset(&session);
        }
        for _ in 0..IN_A_ROW {
            match plan.next(vrrp::now()) {
                Next::Poke {
                    session,
                    sequence,
                    form,
                } => match wire.poke(&session, sequence, form) {
                    Ok(()) => outcome.pokes += 1,
                    // The next round tries again.
                    Err(_) => outcome.refused += 1,
                },
                Next::Wait(until) => {
                    wire.wait(until.since(vrrp::now()));
                    break;
                }
                Next::Over => {
                    outcome.freed = plan.freed();
                    return outcome;
                }
            }
        }
    }
}
