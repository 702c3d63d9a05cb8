//! The admin socket: reads for everybody who can open it (the file's mode decides), acts for root (the kernel tells who
//! asks, SO_PEERCRED), one JSON line for one.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this file serves the admin socket"
)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use common::board::UpgradeStage;
use common::command::{Command, Reply};
use common::order::Order;
use common::task::Task;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answers::Answers;
use super::apply::{self, Both};
use super::clock::Clocks;
use super::elders::Elders;
use super::moves::Orders;
use super::pause::Pause;
use super::peer_link::Peer;
use super::wire::{self, Answer, Question};
use crate::commands::Asker;

/// Who may act.
const ROOT: u32 = 0;
/// Connections at a time.
const CONNECTIONS: usize = 64;
/// How long a client may take for one request, and to read one answer.
const IDLE: Duration = Duration::from_secs(5);
/// Connections at a time that are told that there is no place; beyond these they are closed without a word.
const REFUSALS: usize = 64;
/// How long a refused client may take for its request.
const REFUSAL: Duration = Duration::from_millis(500);

/// Who answers.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) answers: Arc<Answers>,
    pub(crate) proxy: Option<Asker>,
    pub(crate) elders: Elders,
    pub(crate) supervisor: Option<Arc<Asker>>,
    pub(crate) orders: Orders,
    /// `None` = it is not spoken with.
    pub(crate) peer: Option<Peer>,
}

/// The socket that the supervisor bound, in this process's runtime.
pub(crate) fn listener(socket: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

/// Accepts for ever.
pub(crate) async fn serve(listener: UnixListener, office: Arc<Office>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let mut pause = Pause::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept on the admin socket");
                tokio::time::sleep(pause.after_error()).await;
                continue;
            }
        };
        pause.reset();
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                tokio::spawn(async move {
                    let _place = place;
                    if let Err(error) = refuse(stream).await {
                        tracing::debug!(%error, "an admin connection could not be refused");
                    }
                });
            }
            continue;
        };
        let office = Arc::clone(&office);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = talk(stream, &office).await {
                tracing::debug!(%error, "an admin connection ended");
            }
        });
    }
}

/// Says that there is no place. The request is read first: closing a unix socket with unread input resets the client,
/// which then may not see what was said.
async fn refuse(mut stream: UnixStream) -> io::Result<()> {
    let line = wire::line(&Answer::error(format!(
        "{CONNECTIONS} connections are open already, try again"
    )));
    let mut request = Vec::new();
    let mut bounded = BufReader::new(&mut stream).take(wire::LONGEST_REQUEST as u64);
    // Who asks nothing in that time is told all the same.
    if let Ok(read) = timeout(REFUSAL, bounded.read_until(b'\n', &mut request)).await {
        read?;
    }
    // The socket is new and its buffer empty: it takes the line at once.
    timeout(REFUSAL, stream.write_all(&line)).await?
}

async fn talk(stream: UnixStream, office: &Office) -> io::Result<()> {
    let who = stream.peer_cred()?;
    tracing::debug!(uid = who.uid(), pid = who.pid(), "an admin connection");
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut read).take(wire::LONGEST_REQUEST as u64);
        if timeout(IDLE, bounded.read_until(b'\n', &mut line)).await?? == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n") || line.len() < wire::LONGEST_REQUEST;
        let answer = if whole {
            office.answer(&line, who.uid()).await
        } else {
            wire::line(&Answer::error(format!(
                "a request has at most {} bytes",
                wire::LONGEST_REQUEST
            )))
        };
        timeout(IDLE, write.write_all(&answer)).await??;
        if !whole {
            return Ok(());
        }
    }
}

impl Office {
    /// The answer to one line of a user.
    async fn answer(&self, line: &[u8], uid: u32) -> Vec<u8> {
        match Question::read(line) {
            Ok(Question::Status) => {
                wire::line(&Answer::status(self.answers.status(Clocks::read())))
            }
            Ok(Question::Command(command)) => {
                let reply = self.command(command, uid).await;
                wire::line(&reply.unwrap_or_else(|error| Reply::error(format!("{error:#}"))))
            }
            Ok(Question::Order(order)) => {
                let reply = self.order(order, uid).await;
                wire::line(&reply.unwrap_or_else(Reply::error))
            }
            Ok(Question::Task(task)) => {
                let reply = self.task(task, uid).await;
                wire::line(&reply.unwrap_or_else(|error| Reply::error(format!("{error:#}"))))
            }
            Err(complaint) => wire::line(&Answer::error(complaint)),
        }
    }

    /// What the supervisor does: it may read files that others may not, so only root may ask at all.
    async fn task(&self, task: Task, uid: u32) -> anyhow::Result<Reply> {
        if uid != ROOT {
            bail!("{}", only_root(uid));
        }
        let Some(supervisor) = &self.supervisor else {
            bail!("{}", no_channel("supervisor"));
        };
        tracing::info!(?task, "a task");
        Ok(supervisor.ask(task).await?)
    }

    async fn order(&self, order: Order, uid: u32) -> Result<Reply, String> {
        if uid != ROOT {
            return Err(only_root(uid));
        }
        let view = self.answers.view();
        let Order::Apply { dry_run } = order else {
            return self.orders.follow(order, &view).await;
        };
        tracing::info!(?order, "an order");
        let both = Both {
            supervisor: self.supervisor.as_ref(),
            peer: self.peer.as_ref(),
        };
        let applied = apply::apply(both, dry_run, &view).await;
        applied.map_err(|error| format!("{error:#}"))
    }

    async fn command(&self, command: Command, uid: u32) -> anyhow::Result<Reply> {
        if command.acts() && uid != ROOT {
            bail!("{}", only_root(uid));
        }
        let Some(proxy) = &self.proxy else {
            bail!("{}", no_channel("proxy"));
        };
        if command.acts() {
            // What the old proxy is told now, the new one, which has its board already, would not know.
            match self.answers.view().boards.supervisor.upgrade.stage() {
                UpgradeStage::Proxy | UpgradeStage::RollingBack => bail!("{SUCCESSION}"),
                UpgradeStage::None
                | UpgradeStage::Proving
                | UpgradeStage::Admin
                | UpgradeStage::Vrrp
                | UpgradeStage::Trial
                | UpgradeStage::Supervisor
                | UpgradeStage::Done
                | UpgradeStage::Failed
                | UpgradeStage::CutShort => {}
            }
            tracing::info!(?command, "a command");
        }
        if !command.is_of_sessions() {
            return Ok(proxy.ask(command).await?);
        }
        let own = proxy.ask(command.clone());
        let boards = &self.answers.view().boards;
        Ok(self.elders.ask_too(&command, boards, own).await?)
    }
}

const SUCCESSION: &str =
    "nothing was changed: another version takes the proxy's place now, try again in a moment";

fn no_channel(to: &str) -> String {
    format!("no channel to the {to}: a supervisor of an earlier version started this node")
}

fn only_root(uid: u32) -> String {
    format!("only root may change what a node does, and this is user {uid}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::admin::fixture;
    use crate::commands;

    fn answer(office: &Office, line: &str, uid: u32) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let answer = runtime.block_on(office.answer(line.as_bytes(), uid));
        serde_json::from_slice(&answer).expect("JSON")
    }

    #[test]
    fn only_root_acts_and_everybody_reads() {
        let (asking, serving) = commands::pair().expect("a pair");
        let office = Office {
            answers: Arc::new(Answers::new(fixture::healthy(), fixture::CLOCKS)),
            proxy: Some(Asker::new(asking, commands::PROXY)),
            elders: Elders::default(),
            supervisor: None,
            orders: Orders::default(),
            peer: None,
        };
        let proxy = std::thread::spawn(move || {
            let said = |command: Command, _| Reply::done(format!("{command:?}"));
            commands::serve(&serving, commands::PROXY, said)
        });
        let kill = r#"{"version":1,"command":"kill-session","id":"1f"}"#;
        let refused = answer(&office, kill, 1_000);
        assert_eq!(
            refused["error"],
            "only root may change what a node does, and this is user 1000"
        );
        assert_eq!(
            answer(&office, kill, ROOT)["done"],
            "KillSession { id: \"1f\" }"
        );
        let order = r#"{"version":1,"command":"maintenance-off"}"#;
        let refused = answer(&office, order, 1_000)["error"].to_string();
        assert!(refused.contains("only root"), "{refused}");
        assert_eq!(
            answer(&office, order, ROOT)["error"],
            "lb1 is not on maintenance"
        );
        let list = r#"{"version":1,"command":"sessions"}"#;
        assert!(answer(&office, list, 1_000)["done"].is_string());
        let status = r#"{"version":1,"command":"status"}"#;
        assert_eq!(answer(&office, status, 1_000)["ok"]["node"], "lb1");
        drop(office);
        proxy.join().expect("no panic").expect("an orderly end");
    }

    #[test]
    fn nothing_is_said_to_a_proxy_whose_place_another_one_takes() {
        let (asking, _serving) = commands::pair().expect("a pair");
        let view = fixture::healthy();
        let stage = &view.boards.supervisor.upgrade.stage;
        let office = Office {
            answers: Arc::new(Answers::new(view.clone(), fixture::CLOCKS)),
            proxy: Some(Asker::new(asking, commands::PROXY)),
            elders: Elders::default(),
            supervisor: None,
            orders: Orders::default(),
            peer: None,
        };
        let kill = r#"{"version":1,"command":"kill-session","id":"1f"}"#;
        let error = || answer(&office, kill, ROOT)["error"].to_string();
        for taken in [UpgradeStage::Proxy, UpgradeStage::RollingBack] {
            stage.set(taken.on_board());
            assert!(error().contains(SUCCESSION), "{}", error());
        }
        stage.set(UpgradeStage::Admin.on_board());
        assert!(error().contains("has not answered"), "{}", error());
    }

    #[test]
    fn only_root_gives_tasks_and_they_reach_the_supervisor() {
        let (asking, serving) = commands::pair().expect("a pair");
        let office = Office {
            answers: Arc::new(Answers::new(fixture::healthy(), fixture::CLOCKS)),
            proxy: None,
            elders: Elders::default(),
            supervisor: Some(Arc::new(Asker::new(asking, commands::SUPERVISOR))),
            orders: Orders::default(),
            peer: None,
        };
        let supervisor = std::thread::spawn(move || {
            let said = |task: Task, _| Reply::done(format!("{task:?}"));
            commands::serve(&serving, commands::SUPERVISOR, said)
        });
        let reload = r#"{"version":1,"command":"reload","dry_run":true}"#;
        let refused = answer(&office, reload, 1_000)["error"].to_string();
        assert!(refused.contains("only root"), "{refused}");
        assert_eq!(
            answer(&office, reload, ROOT)["done"],
            "Reload { dry_run: true, only: None }"
        );
        let list = r#"{"version":1,"command":"sessions"}"#;
        let error = answer(&office, list, ROOT)["error"].to_string();
        assert!(error.contains("no channel to the proxy"), "{error}");
        drop(office);
        supervisor
            .join()
            .expect("no panic")
            .expect("an orderly end");
    }

    #[test]
    fn a_proxy_that_is_silent_makes_an_error_and_no_wait() {
        let (asking, _serving) = commands::pair().expect("a pair");
        let office = Office {
            answers: Arc::new(Answers::new(fixture::healthy(), fixture::CLOCKS)),
            proxy: Some(Asker::new(asking, commands::PROXY)),
            elders: Elders::default(),
            supervisor: None,
            orders: Orders::default(),
            peer: None,
        };
        let list = r#"{"version":1,"command":"sessions"}"#;
        let error = answer(&office, list, ROOT)["error"].to_string();
        assert!(error.contains("has not answered within 300 ms"), "{error}");
    }
}
