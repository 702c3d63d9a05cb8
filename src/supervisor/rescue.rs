//! When the other machine is dead: who waited for it is told, by a process of its own ([`crate::rescue`]).
//!
//! Once for each verdict and VIP, as soon as the VIP is held here; what was done stands on the board, for the next
//! supervisor. The process ends by itself; it is ended when the machine is heard again, since then nobody is to be told.

use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context;
use common::board::{RescueSlot, SessionTable};
use common::config::Config;
use common::time::Moment;

use super::kit::Kit;
use crate::control::Identity;
use crate::rescue::{Outcome, concerns};
use crate::{memory, rights};

/// What it says is a line.
const LONGEST_OUTCOME: u64 = 4_096;

/// What it takes, and the one that runs.
#[derive(Debug)]
pub(super) struct Rescue {
    sessions: Option<Sessions>,
    vips: Vec<IpAddr>,
    user: Option<Identity>,
    running: Option<Running>,
}

/// The other node's, as admin is told them.
#[derive(Debug)]
struct Sessions {
    memory: OwnedFd,
    table: &'static SessionTable,
}

#[derive(Debug)]
struct Running {
    process: Child,
    verdict: Moment,
    began: Moment,
}

impl Rescue {
    /// Nothing is ever to be done where admin is told nothing.
    pub(super) fn new(config: &Config, kit: &Kit) -> io::Result<Self> {
        let open = |memory: &OwnedFd| {
            let memory = memory::reopen_read_only(memory)?;
            let table = memory::map_read_only(&memory)?;
            Ok::<_, io::Error>(Sessions { memory, table })
        };
        Ok(Self {
            sessions: kit.peer_sessions().map(open).transpose()?,
            vips: addresses(config),
            user: kit.rescuer(),
            running: None,
        })
    }

    /// The VIPs are others from now on, by the same places.
    pub(super) fn go_over(&mut self, config: &Config) {
        self.vips = addresses(config);
    }

    /// Whether clients are being told now.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Does what is due: `verdict` is the frame as of which the other machine is dead, `held` has a bit for each VIP that
    /// is held here.
    pub(super) fn look(
        &mut self,
        (verdict, held): (Option<Moment>, u16),
        slot: &RescueSlot,
        now: Moment,
    ) {
        self.look_after(verdict, slot, now);
        let (Some(verdict), None, Some(sessions)) = (verdict, &self.running, &self.sessions) else {
            return;
        };
        let done = if slot.verdict.get() == Some(verdict) {
            slot.vips.get()
        } else {
            0
        };
        let due = held & !u16::try_from(done).unwrap_or(u16::MAX);
        if due == 0 {
            return;
        }
        slot.vips.set(done | u64::from(due));
        slot.verdict.set(verdict);
        if !sessions.table.sessions().any(|one| concerns(&one, due)) {
            return;
        }
        slot.runs.add(1);
        slot.began.set(now);
        for cell in [&slot.took, &slot.clients, &slot.freed] {
            cell.set(0);
        }
        match self.start(due) {
            Ok(process) => {
                tracing::warn!(
                    "the clients of the other node's connections are told that they are gone"
                );
                self.running = Some(Running {
                    process,
                    verdict,
                    began: now,
                });
            }
            Err(error) => cut_short(slot, &format!("not started: {error:#}")),
        }
    }

    /// Ends the one that runs once it has no reason any more, and publishes what became of it.
    fn look_after(&mut self, verdict: Option<Moment>, slot: &RescueSlot, now: Moment) {
        let Some(running) = &mut self.running else {
            return;
        };
        if verdict != Some(running.verdict) {
            // It has ended meanwhile, or does so now.
            drop(running.process.kill());
        }
        let ended = match running.process.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => outcome_of(&mut running.process, status),
            Err(error) => Err(error.into()),
        };
        let took = now.since(running.began);
        self.running = None;
        slot.took
            .set(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        match ended {
            Ok(outcome) => {
                publish(slot, &outcome);
                tracing::warn!(
                    clients = outcome.clients,
                    freed = outcome.freed,
                    pokes = outcome.pokes,
                    refused = outcome.refused,
                    ms = took.as_millis(),
                    "clients of the other node's connections have been told"
                );
            }
            Err(_) if verdict.is_none() => cut_short(slot, "the other node was heard again"),
            Err(error) => cut_short(slot, &format!("{error:#}")),
        }
    }

    fn start(&self, due: u16) -> anyhow::Result<Child> {
        let sessions = self.sessions.as_ref().context("no table of sessions")?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("fmc-lb")
            .arg(rights::RESCUE)
            .args(["--held", &due.to_string()]);
        for vip in &self.vips {
            command.args(["--vip", &vip.to_string()]);
        }
        if let Some(user) = &self.user {
            command.args([
                "--uid",
                &user.uid.to_string(),
                "--gid",
                &user.gid.to_string(),
            ]);
        }
        command
            .stdin(Stdio::from(sessions.memory.try_clone()?))
            .stdout(Stdio::piped())
            .spawn()
            .context("start the process")
    }
}

/// By place, also those that nobody holds any more.
fn addresses(config: &Config) -> Vec<IpAddr> {
    config.vips.iter().map(|vip| vip.address).collect()
}

fn outcome_of(process: &mut Child, status: ExitStatus) -> anyhow::Result<Outcome> {
    let mut said = String::new();
    if let Some(output) = process.stdout.take() {
        // It has ended, so this is all there will ever be.
        output
            .take(LONGEST_OUTCOME)
            .read_to_string(&mut said)
            .context("read what it says")?;
    }
    if !status.success() {
        anyhow::bail!("{status}");
    }
    serde_json::from_str(&said).context("understand what it says")
}

fn publish(slot: &RescueSlot, outcome: &Outcome) {
    slot.clients.set(outcome.clients);
    slot.freed.set(outcome.freed);
    slot.clients_in_all.add(outcome.clients);
    slot.freed_in_all.add(outcome.freed);
    slot.pokes_in_all.add(outcome.pokes);
    slot.refused_in_all.add(outcome.refused);
}

fn cut_short(slot: &RescueSlot, why: &str) {
    tracing::warn!(
        why,
        "not every client of the other node's connections was told"
    );
    slot.cut_short.add(1);
    slot.problem.set(why);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rescue(running: Option<&str>) -> Rescue {
        let memory = memory::create::<SessionTable>("test").expect("memfd");
        let table = memory::map_read_only(&memory).expect("mapped");
        let running = running.map(|script| Running {
            process: Command::new("sh")
                .args(["-c", script])
                .stdout(Stdio::piped())
                .spawn()
                .expect("sh"),
            verdict: Moment::from_nanos(5),
            began: Moment::from_nanos(10),
        });
        Rescue {
            sessions: Some(Sessions { memory, table }),
            vips: Vec::new(),
            user: None,
            running,
        }
    }

    /// Looks until nothing runs any more.
    fn look_to_the_end(rescue: &mut Rescue, verdict: Option<u64>, slot: &RescueSlot) {
        let limit = crate::admin::clock::now() + Duration::from_secs(10);
        while rescue.running.is_some() {
            assert!(crate::admin::clock::now() < limit, "it does not end");
            let verdict = verdict.map(Moment::from_nanos);
            rescue.look((verdict, 0), slot, Moment::from_nanos(1_000));
        }
    }

    #[test]
    fn what_became_of_the_clients_is_published() {
        let slot = RescueSlot::default();
        let said = r#"echo '{"clients":9,"freed":8,"pokes":12,"later":1}'"#;
        look_to_the_end(&mut rescue(Some(said)), Some(5), &slot);
        let seen = [&slot.clients, &slot.freed, &slot.pokes_in_all, &slot.took];
        assert_eq!(seen.map(|cell| cell.get()), [9, 8, 12, 990]);
        assert_eq!(slot.cut_short.get(), 0);
        look_to_the_end(&mut rescue(Some("exit 3")), Some(5), &slot);
        assert_eq!(slot.problem.get(), "exit status: 3");
        assert_eq!(slot.clients_in_all.get(), 9);
    }

    #[test]
    fn who_is_heard_again_ends_it() {
        let slot = RescueSlot::default();
        look_to_the_end(&mut rescue(Some("exec sleep 60")), None, &slot);
        assert_eq!(slot.problem.get(), "the other node was heard again");
        assert_eq!(slot.cut_short.get(), 1);
    }

    #[test]
    fn each_vip_has_one_for_each_verdict() {
        let slot = RescueSlot::default();
        let mut rescue = rescue(None);
        let look = |rescue: &mut Rescue, verdict, held| {
            rescue.look(
                (Some(Moment::from_nanos(verdict)), held),
                &slot,
                Moment::from_nanos(9),
            );
            slot.vips.get()
        };
        assert_eq!(look(&mut rescue, 5, 0), 0);
        assert_eq!(look(&mut rescue, 5, 0b01), 0b01);
        assert_eq!(look(&mut rescue, 5, 0b11), 0b11);
        assert_eq!(look(&mut rescue, 7, 0b10), 0b10);
        // There was nobody to tell.
        assert_eq!((slot.runs.get(), slot.cut_short.get()), (0, 0));
    }
}
