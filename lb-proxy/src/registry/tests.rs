use std::sync::atomic::AtomicUsize;
use std::task::{Context, Wake};

use super::*;

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 7], port))
}

fn at(millis: u64) -> Moment {
    Moment::from_nanos(millis * 1_000_000)
}

fn listed(registry: &Registry, most: usize) -> (Vec<u16>, u64) {
    let mut oldest = Oldest::new(most);
    registry.collect(&mut oldest, |_| true);
    let (list, more) = oldest.into_list();
    (list.iter().map(|one| one.peer().port()).collect(), more)
}

#[test]
fn a_session_is_listed_from_its_start_to_its_end() {
    let registry = Arc::new(Registry::new(3, at(1_000), None));
    let first = registry.enter((peer(1), None), 2, at(10));
    let second = registry.enter(
        ("[::ffff:10.0.0.7]:2".parse().expect("address"), None),
        0,
        at(20),
    );
    assert_eq!(listed(&registry, 9), (vec![1, 2], 0));
    assert_eq!(second.peer(), peer(2));
    assert_eq!((first.listener(), first.server()), (2, None));
    first.goes_to(17);
    assert!(first.arrives());
    assert_eq!(first.server(), Some(17));
    assert_eq!(first.id.thread(), 3);
    let id = first.id;
    first.advertise(peer(99));
    assert_eq!(registry.advertised(id), Some(peer(99)));
    assert_eq!(registry.advertised(second.id), None);
    drop(first);
    assert_eq!(registry.advertised(id), None);
    let third = registry.enter((peer(3), None), 0, at(30));
    assert_ne!(third.id, second.id);
    assert_eq!(listed(&registry, 9), (vec![2, 3], 0));
    let text = third.id.to_string();
    assert_eq!(text.parse(), Ok(third.id));
}

#[test]
fn the_oldest_are_listed_and_the_rest_counted() {
    let registry = Arc::new(Registry::new(0, at(0), None));
    let sessions: Vec<_> = [50, 10, 40, 20, 30]
        .iter()
        .map(|start| registry.enter((peer(*start), None), 0, at((*start).into())))
        .collect();
    assert_eq!(listed(&registry, 3), (vec![10, 20, 30], 2));
    drop(sessions);
    assert_eq!(listed(&registry, 3), (vec![], 0));
}

#[test]
fn names_of_the_next_process_are_others() {
    let (old, new) = (
        Arc::new(Registry::new(1, at(5), None)),
        Arc::new(Registry::new(1, at(6), None)),
    );
    let old: Vec<_> = (0..900)
        .map(|_| old.enter((peer(1), None), 0, at(5)))
        .collect();
    let new = new.enter((peer(1), None), 0, at(6));
    assert!(old.iter().all(|one| one.id < new.id));
}

struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_is_cut_is_woken_and_told_why_once() {
    let registry = Arc::new(Registry::new(0, at(0), None));
    let (one, other) = (
        registry.enter((peer(1), None), 0, at(0)),
        registry.enter((peer(2), None), 1, at(0)),
    );
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut ending = std::pin::pin!(one.cut());
    assert_eq!(ending.as_mut().poll(&mut cx), Poll::Pending);
    let cut = |why| registry.cut(why, |one| one.listener() == 0);
    assert_eq!(cut(Cut::ServerDown), 1);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(cut(Cut::Administrator), 0);
    assert_eq!(ending.as_mut().poll(&mut cx), Poll::Ready(Cut::ServerDown));
    // One that has not run yet hears of it when it does.
    assert_eq!(registry.cut(Cut::Administrator, |_| true), 1);
    let mut ending = std::pin::pin!(other.cut());
    assert_eq!(
        ending.as_mut().poll(&mut cx),
        Poll::Ready(Cut::Administrator)
    );
}

#[test]
fn a_server_is_taken_from_those_who_have_it_and_from_those_who_are_on_their_way() {
    let registry = Arc::new(Registry::new(0, at(0), None));
    let [has, goes, other] = [1, 2, 3].map(|port| registry.enter((peer(port), None), 0, at(0)));
    has.goes_to(7);
    assert!(has.arrives());
    goes.goes_to(7);
    other.goes_to(8);
    let mut cx = Context::from_waker(Waker::noop());
    let taken = |cx: &mut Context<'_>, one: &Session| {
        let mut withdrawn = std::pin::pin!(one.withdrawn());
        withdrawn.as_mut().poll(cx).is_ready()
    };
    assert!(!taken(&mut cx, &goes));
    let withdrawn = registry.withdraw(7, Cut::ServerDown);
    assert_eq!((withdrawn.ended, withdrawn.moved), (1, 1));
    assert!(taken(&mut cx, &goes));
    // Too late: it was connected in the same moment.
    assert!(!goes.arrives());
    assert_eq!((goes.server(), has.server()), (None, Some(7)));
    assert!(!taken(&mut cx, &other) && other.arrives());
    // It finds another one, and is there no more when its old one is withdrawn again.
    goes.goes_to(8);
    assert_eq!(
        registry.withdraw(7, Cut::Administrator),
        Withdrawn::default()
    );
    assert!(goes.arrives());
    assert_eq!(registry.withdraw(8, Cut::Administrator).ended, 2);
}
