use super::*;

fn at(micros: u64) -> Moment {
    Moment::from_nanos(1_000_000_000 + micros * 1_000)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A loop that turns when it is due, and each 20 ms.
struct Node {
    silence: Silence,
    /// In microseconds.
    now: u64,
    armed: bool,
    read_all: bool,
    asked: Vec<u64>,
    silent: Vec<u64>,
    saved: u32,
}

impl Node {
    fn new(heartbeat: u64) -> Self {
        Self {
            silence: Silence::new(millis(heartbeat)),
            now: 0,
            armed: true,
            read_all: true,
            asked: Vec::new(),
            silent: Vec::new(),
            saved: 0,
        }
    }

    fn beat(&mut self) {
        let now = Some(at(self.now));
        self.silence.hear(now, now);
    }

    fn turn(&mut self, lateness: Duration) {
        let act = self.silence.turn(Turn {
            now: at(self.now),
            lateness,
            read_all: self.read_all,
            armed: self.armed,
        });
        match act {
            Some(Act::Ask) => self.asked.push(self.now / 1_000),
            Some(Act::Silent(_)) => self.silent.push(self.now / 1_000),
            Some(Act::Saved) => self.saved += 1,
            None => {}
        }
    }

    /// Turns until `until` (milliseconds); each question is answered if the machine `lives`.
    fn run(&mut self, until: u64, lives: bool) {
        while self.now < until * 1_000 {
            let due = self.silence.due().filter(|due| *due > at(self.now));
            let due = due.map_or(u64::MAX, |due| (due.since(at(0)).as_micros()) as u64);
            self.now = due.min(self.now + 20_000).min(until * 1_000);
            let asked = self.asked.len();
            self.turn(Duration::ZERO);
            if lives && self.asked.len() > asked {
                self.now += 100;
                self.silence.hear_frame(at(self.now));
            }
        }
    }
}

#[test]
fn a_machine_that_is_gone_is_silent_after_three_heartbeats_and_three_questions() {
    for (heartbeat, asked, silent) in [
        (10, [15, 25, 35], 45),
        (20, [40, 50, 60], 70),
        (100, [280, 290, 300], 310),
        (1000, [2980, 2990, 3000], 3010),
    ] {
        let mut node = Node::new(heartbeat);
        node.beat();
        node.run(5_500, false);
        assert_eq!(node.asked, asked, "{heartbeat} ms");
        assert_eq!(node.silent, [silent], "{heartbeat} ms");
        assert_eq!(node.saved, 0);
    }
}

#[test]
fn one_answer_of_a_hung_process_s_kernel_saves_it() {
    let mut node = Node::new(20);
    node.beat();
    node.run(900, true);
    assert!(node.silent.is_empty());
    assert_eq!(node.saved, 1, "one doubt");
    assert!(node.asked.len() >= 20, "{:?}", node.asked);
    node.beat();
    node.run(1_000, true);
    assert_eq!(node.saved, 2, "another one");
}

#[test]
fn questions_that_cannot_be_sent_make_nobody_silent() {
    let mut node = Node::new(20);
    node.beat();
    while node.now < 900_000 {
        let asked = node.asked.len();
        node.run(node.now / 1_000 + 5, false);
        if node.asked.len() > asked {
            node.silence.handle_unasked();
        }
    }
    assert!(node.asked.len() > 10, "{:?}", node.asked);
    assert!(node.silent.is_empty(), "{:?}", node.silent);
}

#[test]
fn a_silence_ends_with_the_first_frame_and_may_come_again() {
    let mut node = Node::new(20);
    node.beat();
    node.run(100, false);
    assert!(node.silence.is_silent());
    node.beat();
    assert!(!node.silence.is_silent());
    node.run(200, false);
    assert_eq!(node.silent, [70, 170]);
}

#[test]
fn heartbeats_that_come_raise_no_question() {
    let mut node = Node::new(20);
    for beat in 1..100 {
        node.beat();
        // Up to 9 ms late.
        node.run(beat * 20 + beat % 10, false);
    }
    assert_eq!((node.asked.len(), node.silent.len()), (0, 0));
}

#[test]
fn who_slept_concludes_nothing_before_he_has_asked_three_times_again() {
    let mut node = Node::new(20);
    node.beat();
    node.run(60, false);
    assert_eq!(node.asked.len(), 3);
    node.now = 110_000;
    node.turn(millis(50));
    assert!(node.silent.is_empty());
    node.run(139, false);
    assert!(node.silent.is_empty());
    node.run(200, false);
    assert_eq!(node.silent, [140]);
}

#[test]
fn nothing_is_concluded_while_a_queue_is_unread() {
    let mut node = Node::new(20);
    node.beat();
    node.read_all = false;
    node.run(100, false);
    assert!(node.silent.is_empty());
    node.read_all = true;
    node.run(120, false);
    assert_eq!(node.silent.len(), 1);
}

#[test]
fn nobody_is_asked_who_was_never_heard_has_long_stopped_or_has_nothing_to_give() {
    let mut never = Node::new(20);
    never.run(500, false);
    assert!(never.asked.is_empty());

    // Its daemon was stopped, its machine lives.
    let mut stopped = Node::new(20);
    stopped.beat();
    stopped.run(10_000, true);
    let last = stopped.asked.last().copied();
    assert!(last.is_some_and(|last| last <= 1_000), "{last:?}");

    let mut unarmed = Node::new(20);
    unarmed.armed = false;
    unarmed.beat();
    unarmed.run(500, false);
    assert!(unarmed.asked.is_empty());
}

#[test]
fn adverts_alone_keep_a_machine_from_being_silent() {
    let mut node = Node::new(20);
    node.beat();
    for advert in 1..20 {
        node.now = advert * 50_000;
        node.silence.hear(None, Some(at(node.now)));
        node.run(advert * 50 + 49, false);
    }
    assert!(node.silent.is_empty());
}
