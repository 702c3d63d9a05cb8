use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Moment {
    Moment::from_nanos(0) + Duration::from_millis(millis)
}

fn queue(length: usize, timeout: Duration) -> Queue {
    Queue::new(Limits { length, timeout })
}

fn push(queue: &mut Queue, millis: u64) -> Ticket {
    queue.push(at(millis)).expect("the queue has room")
}

fn expired(queue: &mut Queue, millis: u64) -> Vec<Ticket> {
    queue.expire(at(millis)).collect()
}

#[test]
fn who_came_first_is_served_first() {
    let mut queue = queue(10, SECOND);
    let tickets: Vec<_> = (0..3).map(|_| push(&mut queue, 5)).collect();
    for ticket in tickets {
        assert_eq!(queue.release(), Some(ticket));
    }
    assert_eq!(queue.release(), None);
}

#[test]
fn a_full_queue_refuses_until_somebody_leaves() {
    let mut queue = queue(2, SECOND);
    let first = push(&mut queue, 0);
    push(&mut queue, 1);
    assert_eq!(queue.push(at(2)), Err(Full { length: 2 }));
    assert!(queue.cancel(first));
    push(&mut queue, 3);
    assert_eq!(queue.push(at(4)), Err(Full { length: 2 }));
    assert_eq!(queue.release().map(|_| queue.len()), Some(1));
    push(&mut queue, 5);
}

#[test]
fn nobody_waits_in_a_queue_of_no_length() {
    assert_eq!(queue(0, SECOND).push(at(0)), Err(Full { length: 0 }));
}

#[test]
fn a_waiter_is_given_up_at_its_deadline_and_not_before() {
    let mut queue = queue(10, SECOND);
    let (early, late) = (push(&mut queue, 0), push(&mut queue, 300));
    assert_eq!(queue.next_deadline(), Some(at(1_000)));
    assert_eq!(expired(&mut queue, 999), []);
    assert_eq!(expired(&mut queue, 1_000), [early]);
    assert_eq!(queue.next_deadline(), Some(at(1_300)));
    assert_eq!(queue.release(), Some(late));
    assert_eq!(queue.next_deadline(), None);
    assert_eq!(expired(&mut queue, 9_000), []);
}

#[test]
fn a_waiter_leaves_once() {
    let mut queue = queue(10, SECOND);
    let (released, given_up) = (push(&mut queue, 0), push(&mut queue, 0));
    assert_eq!(queue.release(), Some(released));
    assert!(!queue.cancel(released));
    assert_eq!(expired(&mut queue, 1_000), [given_up]);
    assert!(!queue.cancel(given_up));
    let cancelled = push(&mut queue, 2_000);
    assert!(queue.cancel(cancelled) && !queue.cancel(cancelled));
    assert_eq!((queue.len(), queue.release()), (0, None));
}

#[test]
fn who_the_iterator_was_not_asked_for_stays() {
    let mut queue = queue(10, SECOND);
    let (first, second) = (push(&mut queue, 0), push(&mut queue, 0));
    assert_eq!(queue.expire(at(5_000)).next(), Some(first));
    assert_eq!(queue.release(), Some(second));
}

#[test]
fn a_reload_shortens_the_wait_of_those_who_come_after_it() {
    let mut queue = queue(2, SECOND);
    let before = push(&mut queue, 0);
    let limits = Limits {
        length: 3,
        timeout: SECOND / 10,
    };
    queue.set_limits(limits);
    let after = push(&mut queue, 10);
    assert_eq!(queue.next_deadline(), Some(at(110)));
    assert_eq!(expired(&mut queue, 110), [after]);
    assert_eq!(queue.release(), Some(before));
}

#[derive(Debug, Clone)]
enum Step {
    Push,
    Release,
    /// Of the ticket with this number, if it was given.
    Cancel(u64),
    Expire,
    SetTimeout(u64),
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        4 => Just(Step::Push),
        1 => Just(Step::Release),
        1 => (0_u64..60).prop_map(Step::Cancel),
        1 => Just(Step::Expire),
        1 => (0_u64..50).prop_map(Step::SetTimeout),
    ];
    prop::collection::vec((0_u64..8, step), 0..150)
}

proptest! {
    /// Beside the queue runs a list that is searched from end to end.
    #[test]
    fn the_queue_does_what_a_plain_list_does(length in 0_usize..8, steps in steps()) {
        let mut limits = Limits { length, timeout: Duration::from_millis(20) };
        let (mut queue, mut now) = (Queue::new(limits), at(0));
        let mut list: VecDeque<(Ticket, Moment)> = VecDeque::new();
        for (pause, step) in steps {
            now = now + Duration::from_millis(pause);
            match step {
                Step::Push => match queue.push(now) {
                    Ok(ticket) => {
                        prop_assert!(list.len() < length);
                        list.push_back((ticket, now + limits.timeout));
                    }
                    Err(full) => prop_assert_eq!((full.length, list.len()), (length, length)),
                },
                Step::Release => {
                    prop_assert_eq!(queue.release(), list.pop_front().map(|(ticket, _)| ticket));
                }
                Step::Cancel(number) => {
                    let before = list.len();
                    list.retain(|(ticket, _)| ticket.0 != number);
                    prop_assert_eq!(queue.cancel(Ticket(number)), list.len() < before);
                }
                Step::Expire => {
                    let mut over: Vec<_> = list.iter().filter(|(_, at)| *at <= now).copied().collect();
                    over.sort_by_key(|(_, at)| *at);
                    list.retain(|(_, at)| *at > now);
                    let over: Vec<_> = over.into_iter().map(|(ticket, _)| ticket).collect();
                    prop_assert_eq!(queue.expire(now).collect::<Vec<_>>(), over);
                }
                Step::SetTimeout(millis) => {
                    limits.timeout = Duration::from_millis(millis);
                    queue.set_limits(limits);
                }
            }
            prop_assert_eq!(queue.len(), list.len());
            prop_assert_eq!(queue.next_deadline(), list.iter().map(|(_, at)| *at).min());
        }
    }
}
