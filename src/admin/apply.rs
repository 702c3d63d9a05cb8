//! Both nodes go over to what their configuration files say, if both say the same.
//!
//! No file is carried from one to the other: each validates its own. First both only say what would change; when both can
//! and the effective configurations agree, the one goes over that holds fewer VIPs, and then the other one. Each only if its
//! file still says the same.

use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use common::board::VipState;
use common::command::Reply;
use common::task::Task;

use super::peer_link::Peer;
use super::view::{View, hash_word};
use crate::commands::Asker;

/// The two that are asked.
#[derive(Debug)]
pub(super) struct Both<'a> {
    pub(super) supervisor: Option<&'a Arc<Asker>>,
    pub(super) peer: Option<&'a Peer>,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    This,
    Peer,
}

/// Does it, or only says what it would do; the reply says what was done on each node.
///
/// # Errors
/// Why not, and what has changed all the same.
pub(super) async fn apply(both: Both<'_>, dry_run: bool, view: &View) -> anyhow::Result<Reply> {
    let own = view.config.nodes[view.node.0].name.as_str();
    let peer = both.peer.context(
        "the other node's admin process is not spoken with: that takes a key and a pair channel; \
         `fmc-lb reload` on each node does the same",
    )?;
    let dry = Task::Reload {
        dry_run: true,
        only: None,
    };
    let (here, there) = tokio::join!(both.ask(Who::This, &dry), both.ask(Who::Peer, &dry));
    let nothing = || "nothing was changed on either node";
    let here = here.map_err(|error| anyhow!("{}: {own}: {error:#}", nothing()))?;
    let there = there.map_err(|error| anyhow!("{}: {}: {error:#}", nothing(), peer.name))?;
    let hash = agreed((own, &here), (&peer.name, &there))?;
    if dry_run {
        return Ok(report((own, &here), (&peer.name, &there)));
    }
    let task = Task::Reload {
        dry_run: false,
        only: Some(hash),
    };
    let name = |who| match who {
        Who::This => own,
        Who::Peer => peer.name.as_str(),
    };
    let order = order(view);
    let [first, second] = order.map(name);
    let done = both.ask(order[0], &task).await;
    let done = done.map_err(|error| stopped_at_first((first, second), &error))?;
    let last = both.ask(order[1], &task).await;
    let last = last.map_err(|error| stopped_at_second((first, second), &error))?;
    Ok(report((first, &done), (second, &last)))
}

impl Both<'_> {
    /// What one of them says; a refusal is an error.
    async fn ask(&self, who: Who, task: &Task) -> anyhow::Result<Reply> {
        let reply = match (who, self.supervisor, self.peer) {
            (Who::This, Some(supervisor), _) => supervisor.ask(task.clone()).await?,
            (Who::Peer, _, Some(peer)) => peer.ask(task.clone()).await?,
            (Who::This, None, _) | (Who::Peer, _, None) => bail!("there is no channel to it"),
        };
        match reply.error {
            Some(error) => Err(Refusal(error.trim_end().to_owned()).into()),
            None => Ok(reply),
        }
    }
}

/// What a node itself says. Any other error leaves open what it has done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn stopped_at_first((first, second): (&str, &str), error: &anyhow::Error) -> anyhow::Error {
    if error.is::<Refusal>() {
        return anyhow!("nothing was changed: {first}: {error:#}");
    }
    anyhow!(
        "nothing was changed on {second}, and it is not known whether {first} runs by the new configuration: {error:#}; \
         see `fmc-lb status` there, and try again"
    )
}

fn stopped_at_second((first, second): (&str, &str), error: &anyhow::Error) -> anyhow::Error {
    let knows = if error.is::<Refusal>() {
        format!("{second} does not")
    } else {
        format!("it is not known whether {second} does")
    };
    anyhow!(
        "{first} runs by the new configuration, and {knows}: {error:#}; `fmc-lb reload` there is what is left to do"
    )
}

/// The hash that both files have.
fn agreed((own, here): (&str, &Reply), (peer, there): (&str, &Reply)) -> anyhow::Result<u64> {
    let hash = |reply: &Reply| reply.config_hash;
    let (Some(ours), Some(theirs)) = (hash(here), hash(there)) else {
        bail!("nothing was changed: a node of an earlier version does not say what its file is");
    };
    if ours != theirs {
        bail!(
            "nothing was changed: the files of the nodes differ ({own} {}, {peer} {}): copy the right one to the other node",
            hash_word(ours),
            hash_word(theirs)
        );
    }
    Ok(ours)
}

/// Who holds fewer VIPs goes first: what is wrong with the configuration after all shows where it harms less.
fn order(view: &View) -> [Who; 2] {
    let vips = &view.boards.vrrp.vips[..view.config.vips.len()];
    let active =
        |slot: &&common::board::VipSlot| VipState::from_board(slot.state.get()) == VipState::Active;
    let here = vips.iter().filter(active).count();
    if here * 2 > vips.len() {
        [Who::Peer, Who::This]
    } else {
        [Who::This, Who::Peer]
    }
}

fn report((first, one): (&str, &Reply), (second, other): (&str, &Reply)) -> Reply {
    let words = |reply: &Reply| reply.done.clone().unwrap_or_default();
    let (one, other) = (words(one), words(other));
    let said = if one == other {
        format!("{first} and {second}:\n{one}")
    } else {
        format!("{first}:\n{}\n{second}:\n{other}", one.trim_end())
    };
    Reply::done(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture;

    #[test]
    fn files_that_differ_change_nothing() {
        let (one, other) = (Reply::done_with("a", 1), Reply::done_with("a", 2));
        let agreed = |here: &Reply, there: &Reply| agreed(("lb1", here), ("lb2", there));
        assert_eq!(agreed(&one, &one).ok(), Some(1));
        let refused = agreed(&one, &other).expect_err("they differ").to_string();
        assert!(
            refused.contains("differ (lb1 ") && refused.contains(", lb2 "),
            "{refused}"
        );
        let old = agreed(&one, &Reply::done("a")).expect_err("no hash");
        assert!(old.to_string().contains("earlier version"), "{old}");
    }

    #[test]
    fn who_gives_no_reply_is_not_said_to_be_as_it_was() {
        let refusal = || Refusal("too long".to_owned()).into();
        let lost = || anyhow!("no reply");
        let at_first = |error| stopped_at_first(("lb2", "lb1"), &error).to_string();
        let at_second = |error| stopped_at_second(("lb2", "lb1"), &error).to_string();
        assert_eq!(at_first(refusal()), "nothing was changed: lb2: too long");
        let said = at_first(lost());
        assert!(
            said.starts_with("nothing was changed on lb1, and it is not known whether lb2 runs"),
            "{said}"
        );
        let said = at_second(refusal());
        assert!(said.contains("and lb1 does not: too long"), "{said}");
        let said = at_second(lost());
        assert!(
            said.contains("not known whether lb1 does: no reply"),
            "{said}"
        );
    }

    #[test]
    fn who_holds_fewer_vips_goes_first() {
        let view = fixture::healthy();
        for slot in &view.boards.vrrp.vips {
            slot.state.set(VipState::Active.on_board());
        }
        assert_eq!(order(&view), [Who::Peer, Who::This]);
        for slot in &view.boards.vrrp.vips {
            slot.state.set(VipState::Backup.on_board());
        }
        assert_eq!(order(&view), [Who::This, Who::Peer]);
    }

    #[test]
    fn what_both_say_is_said_once() {
        let (one, other) = (Reply::done("a line\n"), Reply::done("another\n"));
        let said = |one: &Reply, other: &Reply| report(("lb2", one), ("lb1", other)).done;
        assert_eq!(said(&one, &one).as_deref(), Some("lb2 and lb1:\na line\n"));
        assert_eq!(
            said(&one, &other).as_deref(),
            Some("lb2:\na line\nlb1:\nanother\n")
        );
    }
}
