use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;

const CONFIG: &str = r#"
[nodes.lb1]
address = "192.0.2.2"
[pair]
interface = "eth0"
[vips.api]
address = "192.0.2.10/24"
vrid = 51
[listeners.api]
bind = ["vips.api:6443"]
backend = "api"
[backends.api]
servers = ["192.0.2.20:1"]
"#;
const API: BackendIndex = BackendIndex(0);

/// One backend's queue, and its slots that are free.
struct Stand {
    waiting: Waiting,
    slot: &'static BackendSlot,
    free: Cell<u32>,
}

type Wait<'a> = Pin<Box<dyn Future<Output = Patience<'a>> + 'a>>;

impl Stand {
    fn new() -> Self {
        let config = Config::from_running(CONFIG).expect("it is valid");
        Self {
            waiting: Waiting::new(&config),
            slot: Box::leak(Box::default()),
            free: Cell::new(0),
        }
    }

    fn look(&self) -> Look {
        match self.free.get() {
            0 => Look::Full,
            _ => Look::Go,
        }
    }

    /// A client that waits; `look` is how it looks.
    fn client<'a>(&'a self, look: impl Fn() -> Look + 'a) -> Wait<'a> {
        Box::pin(async move {
            let mut patience = Patience::default();
            let queue = (API, self.slot);
            let mut entry = Entry::unlogged();
            let waited = self.waiting.wait(queue, &mut patience, &mut entry, look);
            waited.await.expect("its turn");
            patience
        })
    }

    /// So many sessions end at the same time.
    fn free(&self, count: u32) {
        self.free.set(self.free.get() + count);
        (0..count).for_each(|_| self.waiting.release(API));
    }

    /// Those of the clients whose turn comes by and by take their slots.
    fn serve(&self, clients: &mut Vec<Wait<'_>>) -> usize {
        let before = clients.len();
        // Whoever leaves the line may wake one that was looked at before.
        for _ in 0..before {
            clients.retain_mut(|client| match poll(client) {
                Poll::Ready(mut patience) => {
                    self.free.set(self.free.get() - 1);
                    patience.leave_line();
                    false
                }
                Poll::Pending => true,
            });
        }
        before - clients.len()
    }
}

fn poll<'a>(client: &mut Wait<'a>) -> Poll<Patience<'a>> {
    client
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn slots_that_become_free_at_once_serve_as_many_clients() {
    for slots in 1..=4 {
        let stand = Stand::new();
        let mut clients: Vec<_> = (0..4).map(|_| stand.client(|| stand.look())).collect();
        assert_eq!(stand.serve(&mut clients), 0);
        assert_eq!(stand.slot.queued.get(), 4);
        stand.free(slots);
        assert_eq!(stand.serve(&mut clients), slots as usize);
        assert_eq!(stand.free.get(), 0);
    }
}

/// In the moment in which they stand in line and have not seen them yet.
#[tokio::test]
async fn slots_that_become_free_while_clients_come_serve_them() {
    let stand = Stand::new();
    let late = |then: u32| {
        let first = Cell::new(true);
        let stand = &stand;
        move || {
            let seen = stand.look();
            if first.replace(false) {
                stand.free(then);
            }
            seen
        }
    };
    // Two are there when two slots become free; the second one is not woken, since it is not first.
    let mut clients = vec![stand.client(late(0)), stand.client(late(2))];
    assert_eq!(stand.serve(&mut clients), 2);
    // Both become free while the first one comes, and another one comes behind it.
    let mut clients = vec![stand.client(late(2)), stand.client(late(0))];
    assert_eq!(stand.serve(&mut clients), 2);
    assert_eq!(stand.slot.queued.get(), 0);
}

#[tokio::test]
async fn a_turn_that_is_not_taken_is_the_next_ones() {
    let stand = Stand::new();
    let mut clients: Vec<_> = (0..3).map(|_| stand.client(|| stand.look())).collect();
    stand.serve(&mut clients);
    stand.free(1);
    // It goes away when it was woken.
    drop(clients.remove(0));
    assert_eq!(stand.serve(&mut clients), 1);
    // A slot that is gone again when the first one looks stays nobody's.
    stand.free(1);
    stand.free.set(0);
    assert_eq!(stand.serve(&mut clients), 0);
    stand.free(1);
    assert_eq!(stand.serve(&mut clients), 1);
}

#[tokio::test]
async fn who_has_tried_the_free_server_lets_the_next_one_have_it() {
    let stand = Stand::new();
    let picky = || match stand.look() {
        Look::Full | Look::FullForIt => Look::Full,
        Look::Go => Look::FullForIt,
    };
    let mut clients = vec![
        stand.client(picky),
        stand.client(picky),
        stand.client(|| stand.look()),
    ];
    stand.serve(&mut clients);
    stand.free(1);
    assert_eq!(stand.serve(&mut clients), 1);
    assert_eq!(clients.len(), 2);
}

#[tokio::test]
async fn nobody_goes_before_those_who_came_earlier() {
    let stand = Stand::new();
    let mut first = stand.client(|| stand.look());
    assert!(poll(&mut first).is_pending());
    stand.free.set(1);
    // It sees a free slot, and leaves it to the one ahead.
    let mut second = stand.client(|| stand.look());
    assert!(poll(&mut second).is_pending());
    let Poll::Ready(patience) = poll(&mut first) else {
        panic!("it was not woken");
    };
    stand.free.set(0);
    drop(patience);
    assert!(poll(&mut second).is_pending());
}
