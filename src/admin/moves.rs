//! Orders about VIPs: handover and maintenance. What is wanted stands on admin's board, how it ended on vrrp's;
//! maintenance stands on admin's board alone, so that it outlives admin and vrrp.

#![expect(
    clippy::disallowed_methods,
    reason = "this file waits for what vrrp says"
)]

mod words;

use std::time::Duration;

use common::board::{HandoverEnd, HandoverResult, HandoverWish, Refusal};
use common::command::Reply;
use common::order::Order;
use common::time::Moment;
use tokio::sync::Mutex;

use self::words::{cut, explain, list, peer};
use super::clock;
use super::processes::Processes;
use super::view::View;
use crate::status::human;

/// How often vrrp's board is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// vrrp turns each 20 ms, asks for a second and three heartbeats, and may be late.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Gives orders to vrrp, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    turn: Mutex<()>,
}

impl Orders {
    /// Follows an order; the reply says what was done.
    ///
    /// # Errors
    /// In words: why it was not done, and what helps.
    pub(crate) async fn follow(&self, order: Order, view: &View) -> Result<Reply, String> {
        let Ok(_turn) = self.turn.try_lock() else {
            return Err("another handover is under way on this node: try again".to_owned());
        };
        tracing::info!(?order, "an order");
        let done = match order {
            Order::Handover { vips, force } => handover(&vips, force, view).await?,
            Order::MaintenanceOn { for_ms, force } => {
                let time = for_ms.map(Duration::from_millis);
                maintenance(time, force, view).await?
            }
            Order::MaintenanceOff => end_maintenance(view)?,
            Order::Apply { .. } => return Err("this concerns no VIP".to_owned()),
        };
        Ok(Reply::done(done))
    }
}

/// Ends what is over; called each second.
pub(super) fn end_if_over(view: &View, now: Moment) {
    if view.boards.admin.maintenance.end_if_over(now).is_some() {
        tracing::info!("the time of this node's maintenance is over");
    }
}

async fn handover(names: &[String], forced: bool, view: &View) -> Result<String, String> {
    let vips = mask(names, view)?;
    let result = ask(vips, (forced, false), view).await?;
    match result.end {
        HandoverEnd::Done => Ok(format!(
            "{} holds {} after {:.1} ms, and keeps what it holds until it gives it up or hands it back{}",
            peer(view),
            list(result.vips, view),
            // Mostly less than one.
            result.took as f64 / 1e6,
            cut(view)
        )),
        HandoverEnd::None
        | HandoverEnd::Refused
        | HandoverEnd::Unanswered
        | HandoverEnd::NotTaken => Err(explain(&result, vips, (view, clock::now()))),
    }
}

async fn maintenance(time: Option<Duration>, forced: bool, view: &View) -> Result<String, String> {
    let board = view.boards.admin;
    let node = &view.config.nodes[view.node.0].name;
    let is_on = board.maintenance.get(clock::now()).is_some();
    // Whoever is on maintenance already says for how much longer.
    let result = match is_on {
        true => None,
        false => Some(ask(0, (forced, true), view).await?),
    };
    let trouble = result.filter(|result| result.end != HandoverEnd::Done);
    if let Some(result) = trouble {
        let why = explain(&result, 0, (view, clock::now()));
        if result.refusal == Refusal::Owner || !forced {
            return Err(why);
        }
        tracing::warn!(why, "on maintenance all the same");
    }
    board
        .maintenance
        .set(1, time.map(|time| clock::now() + time));
    let until = match time {
        Some(time) => format!("for {}", human::age(time)),
        None => "until `fmc-lb maintenance off`".to_owned(),
    };
    let vips = match (trouble, result.map(|result| result.vips)) {
        (Some(result), _) => format!(
            "; its VIPs stay here until the other node takes them: {}",
            explain(&result, 0, (view, clock::now()))
        ),
        (None, Some(vips)) if vips != 0 => {
            format!("; {} holds {}{}", peer(view), list(vips, view), cut(view))
        }
        (None, Some(_) | None) => String::new(),
    };
    Ok(format!("{node} is on maintenance {until}{vips}"))
}

fn end_maintenance(view: &View) -> Result<String, String> {
    let board = view.boards.admin;
    let node = &view.config.nodes[view.node.0].name;
    if board.maintenance.get(clock::now()).is_none() {
        return Err(format!("{node} is not on maintenance"));
    }
    board.maintenance.clear();
    Ok(format!(
        "{node} takes part again; whether it takes VIPs back is decided by priority and `preempt`"
    ))
}

/// Wishes for a handover and waits for its end.
async fn ask(
    vips: u16,
    (forced, maintenance): (bool, bool),
    view: &View,
) -> Result<HandoverResult, String> {
    let now = clock::now();
    if !Processes::read(&view.boards, now).vrrp.alive {
        return Err("vrrp does not run, or hangs: see `fmc-lb status`".to_owned());
    }
    let wish = HandoverWish {
        id: now.as_nanos(),
        vips,
        forced,
        maintenance,
        at: now,
    };
    view.boards.admin.handover.set(&wish);
    let heartbeat = view.config.pair.heartbeat.unwrap_or_default();
    let until = now + PATIENCE + heartbeat * 3;
    while clock::now() < until {
        let result = view.boards.vrrp.handover.get();
        if let Some(result) = result.filter(|result| result.id == wish.id) {
            return Ok(result);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err("vrrp has not answered; see `fmc-lb status` for who holds the VIPs".to_owned())
}

/// The VIPs with these names.
fn mask(names: &[String], view: &View) -> Result<u16, String> {
    let all = view.config.live_vips();
    names.iter().try_fold(0, |vips, name| {
        match all.clone().find(|(_, vip)| vip.name == *name) {
            Some((place, _)) => Ok(vips | 1 << place.0),
            None => {
                let known = all.clone().map(|(_, vip)| vip.name.as_str());
                let known: Vec<_> = known.collect();
                let known = known.join(", ");
                Err(format!(
                    "there is no VIP {name}; the configuration has {known}"
                ))
            }
        }
    })
}

#[cfg(test)]
mod tests;
