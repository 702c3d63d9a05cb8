//! Reloads, as the loop goes through with them.
//!
//! The file is read and judged on another thread ([`Reader`]). What is to run is made ready beside what
//! runs, new sockets first; every child prepares for it and says yes or why not; when all have said yes
//! everybody goes over. Until then nothing has changed, and any no leaves it so. After that it is what
//! runs: a child that does not go over is replaced by one that begins with it.
//!
//! What vrrp is told at its start does not change in a process: for that another one of the same binary
//! prepares beside it, and takes its place as in an upgrade once the others have gone over (`succession`).

mod report;
mod succession;
mod words;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::board::{Child, ReloadEnd};
use common::command::Reply;
use common::config::{Arrangement, BackendIndex, Config, NodeIndex, Occupied};
use common::roster::Roster;
use common::task::Task;
use common::time::Moment;

pub(super) use self::report::tell;
pub(super) use self::succession::Unsettled;
use self::words::{changed, differs, refusal, with_warnings};
use super::Loop;
use crate::commands::{self, ReplySocket, SUPERVISOR};
use crate::control::Body;
use crate::session_log;
use crate::supervisor::installed;
use crate::supervisor::kit::{Kit, Place};
use crate::supervisor::reader::{Next, Outcome, Reader, Trouble};

/// How long children may take to prepare: they read certificates and long lists.
const PREPARE: Duration = Duration::from_secs(10);
/// How long they may take to go over.
const GO_OVER: Duration = Duration::from_secs(4);
/// Servers are there before anybody hears of the listeners that want them.
const ORDER: [Child; 3] = [Child::Proxy, Child::Admin, Child::Vrrp];

/// The reload that is under way, if one is.
#[derive(Debug)]
pub(in crate::supervisor) struct Reload {
    reader: Reader,
    stage: Stage,
    /// Of the last question to the children.
    number: u64,
}

#[derive(Debug)]
enum Stage {
    Rest,
    /// The file is read.
    Reading(Wish),
    /// The children prepare.
    Preparing(Wish, Waiting, Box<Ready>),
    /// They go over.
    GoingOver(Wish, Waiting, Said),
}

/// Who wants what.
#[derive(Debug)]
struct Wish {
    dry_run: bool,
    /// Only a file with this hash.
    only: Option<u64>,
    /// `None` = a signal has asked for it.
    reply: Option<ReplySocket>,
}

/// Whose word is missing, and until when it is waited for.
#[derive(Debug)]
struct Waiting {
    children: Vec<Child>,
    /// That of the one that was started beside vrrp, too.
    successor: bool,
    until: Moment,
}

impl Waiting {
    fn for_all(until: Moment) -> Self {
        Self {
            children: ORDER.to_vec(),
            successor: false,
            until,
        }
    }

    fn is_over(&self) -> bool {
        self.children.is_empty() && !self.successor
    }
}

/// What will run when all have said yes.
#[derive(Debug)]
struct Ready {
    config: Arc<Config>,
    text: Arc<str>,
    node: NodeIndex,
    kit: Kit,
    said: Said,
    /// What goes with another vrrp; `None` = the one that runs can take all of it over.
    succession: Option<Unsettled>,
}

/// What has changed, in words, and what `check` warns of.
#[derive(Debug)]
struct Said {
    changed: String,
    warnings: String,
    /// Of the effective configuration.
    hash: u64,
}

impl Reload {
    pub(in crate::supervisor) fn new(reader: Reader) -> Self {
        Self {
            reader,
            stage: Stage::Rest,
            number: 0,
        }
    }

    fn take(&mut self) -> Stage {
        std::mem::replace(&mut self.stage, Stage::Rest)
    }
}

impl Loop<'_> {
    /// Begins what admin has sent.
    pub(super) fn take_tasks(&mut self) {
        loop {
            let asked = match commands::next::<Task>(&self.with.tasks, SUPERVISOR) {
                Ok(Some(asked)) => asked,
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "tasks cannot be received");
                    return;
                }
            };
            match asked.command {
                Ok(Task::Reload { dry_run, only }) => {
                    self.begin_reload((dry_run, only), Some(asked.reply));
                }
                Ok(Task::Upgrade { if_replaced: true }) if !installed::is_replaced() => {
                    let reply = Reply::done("what runs is what is installed".to_owned());
                    tell(Some(asked.reply), &reply);
                }
                Ok(Task::Upgrade { .. }) => {
                    let begun = match self.begin_upgrade() {
                        Ok(number) => Reply::done(format!("upgrade {number} has begun")),
                        Err(why) => Reply::error(why),
                    };
                    tell(Some(asked.reply), &begun);
                }
                Ok(Task::Stop { drain_ms }) => self.obey_stop(asked.reply, drain_ms),
                Err(why) => tell(Some(asked.reply), &Reply::error(why)),
            }
        }
    }

    /// Whether a reload is under way.
    pub(super) fn is_reloading(&self) -> bool {
        !matches!(self.with.reload.stage, Stage::Rest)
    }

    /// Begins a reload, unless one is under way.
    pub(super) fn begin_reload(
        &mut self,
        (dry_run, only): (bool, Option<u64>),
        reply: Option<ReplySocket>,
    ) {
        let upgrading = self.is_upgrading();
        let reload = &mut self.with.reload;
        let why_not = match (&reload.stage, self.stopping) {
            (_, true) => Some("this node is stopping".to_owned()),
            (Stage::Rest, false) if upgrading => {
                Some("an upgrade is under way on this node: try again".to_owned())
            }
            (Stage::Rest, false) => reload.reader.read().err().map(|ended| ended.to_string()),
            (Stage::Reading(_) | Stage::Preparing(..) | Stage::GoingOver(..), false) => {
                Some("a reload is under way on this node: try again".to_owned())
            }
        };
        if let Some(why) = why_not {
            tracing::warn!(why, "no reload");
            return tell(reply, &Reply::error(why));
        }
        reload.stage = Stage::Reading(Wish {
            dry_run,
            only,
            reply,
        });
        if !dry_run {
            self.notify.reloading(vrrp::now());
        }
    }

    /// Goes on with the reload that is under way; to be called often.
    pub(super) fn look_at_reload(&mut self, now: Moment) {
        match &self.with.reload.stage {
            Stage::Rest => {}
            Stage::Reading(_) => match self.with.reload.reader.outcome() {
                Ok(None) => {}
                Ok(Some(outcome)) => self.judge(outcome),
                Err(ended) => self.judge(Err(Trouble::Failed(ended.to_string()))),
            },
            Stage::Preparing(_, waiting, _) if now >= waiting.until => {
                let late = waiting.children.iter().map(|child| child.word());
                let late: Vec<&str> = late.collect();
                let (late, limit) = (late.join(", "), PREPARE.as_secs());
                self.abandon(format!(
                    "{late} has not said within {limit} s whether it can"
                ));
            }
            Stage::GoingOver(_, waiting, _) if now >= waiting.until => {
                for child in waiting.children.clone() {
                    self.kill(
                        child,
                        "did not go over to a new configuration, killed".to_owned(),
                    );
                    self.note_gone_over(child);
                }
            }
            Stage::Preparing(..) | Stage::GoingOver(..) => {}
        }
    }

    /// What becomes of a file that was read.
    fn judge(&mut self, outcome: Outcome) {
        let Stage::Reading(wish) = self.with.reload.take() else {
            return;
        };
        let next = match outcome {
            Ok(next) => next,
            Err(Trouble::Invalid(report)) => {
                return self.finish(wish, ReloadEnd::Invalid, &Reply::invalid(report));
            }
            Err(Trouble::Failed(why)) => {
                return self.finish(wish, ReloadEnd::Invalid, &Reply::error(why));
            }
        };
        let hash = next.config.effective_hash();
        if wish.only.is_some_and(|only| only != hash) {
            let why = "nothing was changed: the file says something else than a moment ago";
            return self.finish(wish, ReloadEnd::Refused, &Reply::error(why));
        }
        if !next.difference.obstacles.is_empty() {
            let why = refusal(&next);
            return self.finish(wish, ReloadEnd::Refused, &Reply::error(why));
        }
        let keys = match self.with.kit.key_change(&self.with.place.config, &next) {
            Ok(keys) => keys,
            Err(error) => {
                let why = format!("nothing was changed: {error:#}");
                return self.finish(wish, ReloadEnd::Refused, &Reply::error(why));
            }
        };
        let mut next = next;
        next.keys = keys;
        if wish.dry_run || (next.text == self.with.place.text && next.keys.is_none()) {
            let said = with_warnings(&differs(&next), &next.warnings);
            return self.finish(wish, ReloadEnd::Applied, &Reply::done_with(said, hash));
        }
        self.with.reload.number += 1;
        let ready = self.make_ready(*next).and_then(|ready| {
            self.ask_children(&ready)?;
            self.start_successor(&ready)?;
            Ok(ready)
        });
        match ready {
            Ok(ready) => {
                let waiting = Waiting {
                    successor: ready.succession.is_some(),
                    ..Waiting::for_all(vrrp::now() + PREPARE)
                };
                self.with.reload.stage = Stage::Preparing(wish, waiting, Box::new(ready));
            }
            Err(error) => {
                self.tell_children(&ORDER, || Body::Abandon);
                self.discard_beside();
                let why = format!("nothing was changed: {error:#}");
                self.finish(wish, ReloadEnd::Refused, &Reply::error(why));
            }
        }
    }

    /// Everything that the children will need.
    fn make_ready(&self, next: Next) -> anyhow::Result<Ready> {
        let running = &self.with.place;
        for child in ORDER {
            let word = child.word();
            ensure!(
                self.children[child as usize].is_some(),
                "{word} does not run now: try again"
            );
        }
        let said = Said {
            changed: changed(&next),
            warnings: next.warnings.clone(),
            hash: next.config.effective_hash(),
        };
        let board = self.with.boards.proxy;
        let roster = Roster::read(&running.config, board);
        let occupied = Occupied {
            is_idle: &|place| {
                let elders = self.with.kit.has_elder_sessions(place);
                board.listeners[place].sessions.get() == 0 && !elders
            },
            place_of: &|backend: BackendIndex, address| {
                roster.find(backend, address).map(|one| one.place)
            },
            is_free: &|place| roster.at(place).is_none(),
        };
        let arrangement = Arrangement::after(&running.config, &next.config, &occupied)?;
        let has_other_keys = next.keys.is_some();
        let config = next.config.arranged(&arrangement, Some(&running.config));
        let place = Place {
            config: Arc::new(config.map_err(anyhow::Error::msg)?),
            text: next.text,
            node: next.node,
            folder: running.folder,
        };
        let kit = self.with.kit.after((running, &place), &next.files)?;
        let stays = place.config.elects_like(&running.config) && !has_other_keys;
        let succession = (!stays).then(|| Unsettled::prepare((running, &place), &kit));
        Ok(Ready {
            succession: succession.transpose()?,
            config: place.config,
            text: place.text,
            node: place.node,
            kit,
            said,
        })
    }

    fn ask_children(&self, ready: &Ready) -> anyhow::Result<()> {
        for child in ORDER {
            let process = self.children[child as usize].as_ref();
            let process = process.with_context(|| format!("{} does not run", child.word()))?;
            let (setup, handles) = ready.kit.for_child(child).context("collect descriptors")?;
            let question = (self.with.reload.number, setup);
            let sent = process.channel.send_prepare(question, &handles);
            sent.with_context(|| format!("ask {} to prepare", child.word()))?;
        }
        Ok(())
    }

    /// A child has prepared, or cannot.
    pub(super) fn child_prepared(
        &mut self,
        child: Child,
        (number, refused): (u64, Option<String>),
    ) {
        let Stage::Preparing(_, waiting, _) = &mut self.with.reload.stage else {
            return;
        };
        if number != self.with.reload.number {
            return;
        }
        if let Some(why) = refused {
            return self.abandon(format!("{} cannot run by it: {why}", child.word()));
        }
        waiting.children.retain(|one| *one != child);
        if waiting.is_over() {
            self.go_over();
        }
    }

    /// All have said yes: it is what runs.
    fn go_over(&mut self) {
        if let Err(error) = self.add_shadows() {
            return self.abandon(format!("{error:#}"));
        }
        let Stage::Preparing(wish, _, ready) = self.with.reload.take() else {
            return;
        };
        let now = vrrp::now();
        let Ready {
            config,
            text,
            node,
            kit,
            said,
            succession,
        } = *ready;
        let with = &mut self.with;
        let before = std::mem::replace(&mut with.place.config, config);
        with.place.text = text;
        with.place.node = node;
        with.kit = kit;
        with.kit.lengthen_backlogs(&before, &with.place.config);
        session_log::prepare(&with.place.config, with.kit.user_of(Child::Proxy).as_ref());
        with.forwarding.go_over(&with.place.config);
        with.rescue.go_over(&with.place.config);
        let slots = &with.boards.supervisor.files;
        let files = (&*with.place.config, &with.kit);
        if let Err(error) = with.files.go_over(files, slots, now) {
            tracing::error!(%error, "changed files stay unseen");
        }
        with.boards.supervisor.reload.since.set(now);
        with.reload.reader.runs_by(&with.place.text);
        with.reload.stage = Stage::GoingOver(wish, Waiting::for_all(now + GO_OVER), said);
        self.lifecycle.set_drain(self.drain());
        // vrrp makes way when the others have gone over.
        let told = match succession {
            Some(_) => &ORDER[..2],
            None => &ORDER[..],
        };
        self.unsettled = succession;
        self.tell_children(told, || Body::GoOver);
    }

    /// A child runs by it now, or has failed.
    pub(super) fn child_went_over(&mut self, child: Child, failed: Option<String>) {
        if let Some(why) = failed {
            self.kill(
                child,
                format!("did not go over to a new configuration ({why}), killed"),
            );
        }
        self.note_gone_over(child);
    }

    pub(super) fn note_gone_over(&mut self, child: Child) {
        let Stage::GoingOver(_, waiting, _) = &mut self.with.reload.stage else {
            return;
        };
        waiting.children.retain(|one| *one != child);
        if waiting.children == [Child::Vrrp] && child != Child::Vrrp {
            return self.have_vrrp_succeeded();
        }
        let Stage::GoingOver(_, waiting, _) = &self.with.reload.stage else {
            return;
        };
        if waiting.is_over()
            && let Stage::GoingOver(wish, _, said) = self.with.reload.take()
        {
            let what = said.changed.as_str();
            tracing::info!(what, "the configuration was loaded anew");
            let words = with_warnings(&said.changed, &said.warnings);
            let reply = Reply::done_with(words, said.hash);
            self.finish(wish, ReloadEnd::Applied, &reply);
        }
    }

    /// A child has ended: the next one begins with what runs then.
    pub(super) fn child_changed(&mut self, child: Child) {
        if matches!(self.with.reload.stage, Stage::Preparing(..)) {
            self.abandon(format!("{} has ended meanwhile: try again", child.word()));
        }
        if child == Child::Vrrp && !self.is_upgrading() {
            // Its place is taken by one that begins with what runs now.
            self.discard_beside();
        }
        self.note_gone_over(child);
    }

    /// The node stops: what has not been decided yet will not be.
    pub(super) fn stop_reload(&mut self) {
        match self.with.reload.take() {
            Stage::Reading(wish) => {
                let why = Reply::error("this node is stopping");
                self.finish(wish, ReloadEnd::Refused, &why);
            }
            stage @ Stage::Preparing(..) => {
                self.with.reload.stage = stage;
                self.abandon("this node is stopping".to_owned());
            }
            stage @ (Stage::Rest | Stage::GoingOver(..)) => self.with.reload.stage = stage,
        }
    }

    /// Everything stays as it is.
    fn abandon(&mut self, why: String) {
        if let Stage::Preparing(wish, _, ready) = self.with.reload.take() {
            self.tell_children(&ORDER, || Body::Abandon);
            self.discard_beside();
            // New sockets close with it.
            drop(ready);
            let why = Reply::error(format!("nothing was changed: {why}"));
            self.finish(wish, ReloadEnd::Refused, &why);
        }
    }

    /// Who cannot be told anything is about to end, or hangs, and is replaced.
    fn tell_children(&self, children: &[Child], body: impl Fn() -> Body) {
        for child in children {
            if let Some(process) = &self.children[*child as usize]
                && let Err(error) = process.channel.send(body(), &[])
            {
                let error = anyhow::Error::from(error);
                tracing::warn!(process = child.word(), "is not told of a reload: {error:#}");
            }
        }
    }
}
