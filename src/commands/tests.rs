use std::sync::atomic::{AtomicU32, Ordering};

use common::command::{Command, Reply};
use common::task::Task;

use super::asking::AskError;
use super::*;

fn question() -> Command {
    Command::Sessions {
        listener: None,
        server: None,
    }
}

fn ask(asker: &Asker) -> Result<Reply, AskError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(asker.ask(question()))
}

#[test]
fn a_command_is_answered_and_a_long_reply_arrives_whole() {
    let (asking, serving) = pair().expect("a pair");
    let long = "x".repeat(500_000);
    let said = long.clone();
    let proxy = std::thread::spawn(move || {
        serve(&serving, PROXY, |command: Command, _| {
            assert_eq!(command, question());
            Reply::done(said.clone())
        })
    });
    let asker = Asker::new(asking, PROXY);
    for _ in 0..2 {
        assert_eq!(ask(&asker).expect("a reply").done.as_ref(), Some(&long));
    }
    drop(asker);
    proxy.join().expect("no panic").expect("an orderly end");
}

#[test]
fn a_command_that_nobody_waits_for_any_more_is_not_executed() {
    let (asking, serving) = pair().expect("a pair");
    let asker = Asker::new(asking, PROXY);
    let began = crate::admin::clock::now();
    assert!(matches!(ask(&asker), Err(AskError::Late { .. })));
    let took = crate::admin::clock::now().since(began);
    assert!(took >= PROXY.limit && took < 3 * PROXY.limit, "{took:?}");
    // The next proxy finds it in the queue, and another one behind it.
    let executed = std::sync::Arc::new(AtomicU32::new(0));
    let count = std::sync::Arc::clone(&executed);
    let proxy = std::thread::spawn(move || {
        serve(&serving, PROXY, |_: Command, _| {
            count.fetch_add(1, Ordering::Relaxed);
            Reply::done("it")
        })
    });
    assert_eq!(ask(&asker).expect("a reply").done.as_deref(), Some("it"));
    assert_eq!(executed.load(Ordering::Relaxed), 1);
    drop(asker);
    proxy.join().expect("no panic").expect("an orderly end");
}

#[test]
fn a_proxy_that_takes_nothing_is_told_apart_from_a_slow_one() {
    let (asking, _serving) = pair().expect("a pair");
    let asker = Asker::new(asking, PROXY);
    let mut sent = 0;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let error = runtime.block_on(async {
        loop {
            // The command is sent at the first poll; nobody waits for its reply.
            let asking = asker.ask(question());
            match tokio::time::timeout(std::time::Duration::ZERO, asking).await {
                Ok(Err(error)) => return error,
                Ok(Ok(reply)) => panic!("{reply:?}"),
                Err(_) => sent += 1,
            }
            assert!(sent < 10_000, "the queue has no bound");
        }
    });
    assert!(
        matches!(error, AskError::Full { who: "proxy" }),
        "{error:?}"
    );
}

#[test]
fn what_a_newer_admin_says_is_read_or_refused() {
    let text = r#"{"version":2,"later":[],"command":"kill-session","id":"1f","why":"x"}"#;
    let request: Request<Command> = serde_json::from_str(text).expect("a request");
    let id = "1f".to_owned();
    assert_eq!(request.command, Command::KillSession { id });
    let text = r#"{"version":2,"command":"dance"}"#;
    assert!(serde_json::from_str::<Request<Command>>(text).is_err());
}

#[test]
fn a_loop_takes_tasks_one_by_one_and_waits_for_none() {
    let (asking, serving) = pair().expect("a pair");
    assert!(next::<Task>(&serving, SUPERVISOR).expect("open").is_none());
    let asker = Asker::new(asking, SUPERVISOR);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let asked = runtime.block_on(async {
        let task = asker.ask(Task::Reload {
            dry_run: true,
            only: None,
        });
        tokio::pin!(task);
        let first = tokio::time::timeout(std::time::Duration::from_millis(1), &mut task).await;
        assert!(first.is_err(), "nobody has replied");
        let asked = next::<Task>(&serving, SUPERVISOR).expect("open");
        let asked = asked.expect("it waits here");
        assert_eq!(
            asked.command,
            Ok(Task::Reload {
                dry_run: true,
                only: None,
            })
        );
        asked.reply.send_now(&Reply::done("it")).expect("it fits");
        task.await
    });
    assert_eq!(asked.expect("a reply").done.as_deref(), Some("it"));
    // Who does not know a word says so.
    let word = serde_json::json!({ "command": "dance" });
    let refused = runtime.block_on(async {
        let asking = asker.ask(word);
        tokio::pin!(asking);
        let first = tokio::time::timeout(std::time::Duration::from_millis(1), &mut asking).await;
        assert!(first.is_err(), "nobody has replied");
        let asked = next::<Task>(&serving, SUPERVISOR).expect("open");
        asked.expect("it waits here").command.expect_err("no task")
    });
    assert!(
        refused.contains("the supervisor does not understand"),
        "{refused}"
    );
    assert!(next::<Task>(&serving, SUPERVISOR).expect("open").is_none());
}
