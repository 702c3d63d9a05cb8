//! Whether the other node's machine is *dead*: its connections are gone with it, and who waits for them is to be told.
//! Pure.
//!
//! A takeover that was wrong costs nothing while segments are forwarded; this verdict, where it is wrong, costs the
//! other node's connections. So it takes longer than a silence: 600 ms without any frame of that machine, and five
//! questions that its kernel has not answered meanwhile. Who slept has asked nothing and concludes nothing.
//!
//! The silence shall begin when the machine is lost, not when it happened to speak last: a node that drains sends no
//! heartbeats, and others may send them each second. So it is asked as soon as nothing was heard for a moment, and its
//! answers are frames: whatever it says or does not say, a pause of less than half a second is never a death.
//!
//! It is a verdict *as of* the last frame, and needs nobody who takes it back: a newer frame does.

use std::time::Duration;

use common::time::Moment;

/// So long nothing was heard of a dead machine.
pub const SILENCE: Duration = Duration::from_millis(600);
/// So many questions in a row stay without an answer.
pub const QUESTIONS: u32 = 5;
/// Time between them, in which an answer has to come.
pub const SPACING: Duration = Duration::from_millis(50);
/// Who says nothing for so long is asked: no answer is older when a machine is lost. Heartbeats of 20 ms are more frequent.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// What a turn of the loop knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub now: Moment,
    /// How much later than planned it came.
    pub lateness: Duration,
    /// Last frame of that machine, as the kernel has stamped it.
    pub frame: Moment,
    /// It can be asked, and its frames reach this machine and are known by their hardware address if there are any.
    pub armed: bool,
}

/// What has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Send one question.
    Ask,
    /// It is dead as of this frame. Once for each.
    Dead(Moment),
}

/// Questions since a frame.
#[derive(Debug, Default)]
pub struct Death {
    asked: u32,
    last: Option<Moment>,
    /// Dead as of this frame.
    verdict: Option<Moment>,
}

impl Death {
    /// One turn of the loop.
    pub fn turn(&mut self, turn: Turn) -> Option<Act> {
        let Turn { now, frame, .. } = turn;
        if self.verdict == Some(frame) {
            return None;
        }
        if !turn.armed || now < frame + PATIENCE {
            (self.asked, self.last) = (0, None);
            return None;
        }
        if turn.lateness >= SPACING {
            self.asked = 0;
        }
        if self.asked > 0 && now < self.next(frame) {
            return None;
        }
        if self.asked >= QUESTIONS && now >= frame + SILENCE {
            self.verdict = Some(frame);
            return Some(Act::Dead(frame));
        }
        self.asked += 1;
        self.last = Some(now);
        Some(Act::Ask)
    }

    /// The question of the last turn could not be sent: nobody was asked, and those before it count no more.
    pub fn handle_unasked(&mut self) {
        self.asked = 0;
    }

    /// When the next turn is needed, if nothing comes of that machine after this frame; `None` = not for this.
    pub fn due(&self, frame: Moment) -> Option<Moment> {
        if self.verdict == Some(frame) {
            return None;
        }
        Some(self.next(frame))
    }

    /// When there is something to do next: the last question that counts has had its time when the silence is complete.
    fn next(&self, frame: Moment) -> Moment {
        let Some(last) = self.last else {
            return frame + PATIENCE;
        };
        let answer = last + SPACING;
        if self.asked >= QUESTIONS && answer + SPACING > frame + SILENCE {
            answer.max(frame + SILENCE)
        } else {
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    /// Turns each 10 ms from `from` to `to`; gives what was done, and when in milliseconds.
    fn run(death: &mut Death, frame: u64, (from, to): (u64, u64)) -> Vec<(u64, Act)> {
        let mut done = Vec::new();
        for now in (from..=to).step_by(10) {
            let act = death.turn(Turn {
                now: at(now),
                lateness: Duration::ZERO,
                frame: at(frame),
                armed: true,
            });
            done.extend(act.map(|act| (now, act)));
        }
        done
    }

    #[test]
    fn five_questions_and_six_hundred_milliseconds_make_it_dead_once() {
        let mut death = Death::default();
        let done = run(&mut death, 1000, (1000, 3000));
        let asked: Vec<u64> = done
            .iter()
            .filter(|(_, act)| *act == Act::Ask)
            .map(|(now, _)| *now)
            .collect();
        let spaced: Vec<u64> = (1100..1600).step_by(50).collect();
        assert_eq!(asked, spaced);
        assert_eq!(done.last(), Some(&(1600, Act::Dead(at(1000)))));
        assert_eq!(done.len(), spaced.len() + 1);
        assert_eq!(death.due(at(1000)), None);
    }

    #[test]
    fn turns_that_come_a_little_late_do_not_put_the_verdict_off() {
        let mut death = Death::default();
        let (frame, mut now, mut asked) = (at(1000), at(1000), 0);
        loop {
            now = death.due(frame).expect("it is not dead yet").max(now) + Duration::from_millis(4);
            match death.turn(Turn {
                now,
                lateness: Duration::from_millis(4),
                frame,
                armed: true,
            }) {
                None => {}
                Some(Act::Ask) => asked += 1,
                Some(Act::Dead(_)) => break,
            }
        }
        assert_eq!(now, at(1604));
        assert!(asked >= QUESTIONS, "{asked}");
    }

    /// Milliseconds from the begin of a pause of the other machine to the verdict, where its kernel answers each question but
    /// in the pause, and its processes speak at these intervals or (`None`) not at all.
    fn verdict_after(pause: u64, interval: Option<u64>) -> Option<u64> {
        let (mut death, mut frame) = (Death::default(), 0);
        for now in 0..pause + 2_000 {
            let lives = now < pause;
            if lives && interval.is_some_and(|interval| now % interval == 0) {
                frame = now;
            }
            match death.turn(Turn {
                now: at(now),
                lateness: Duration::ZERO,
                frame: at(frame),
                armed: true,
            }) {
                Some(Act::Ask) if lives => frame = now,
                Some(Act::Dead(_)) => return now.checked_sub(pause),
                None | Some(Act::Ask) => {}
            }
        }
        None
    }

    #[test]
    fn nobody_is_dead_within_half_a_second_however_rarely_it_speaks() {
        for interval in [Some(20), Some(300), Some(1_000), None] {
            for pause in (3_000..4_000).step_by(7) {
                let after = verdict_after(pause, interval);
                assert!(
                    after.is_some_and(|after| (500..=600).contains(&after)),
                    "{after:?} after a pause at {pause} ms, heartbeats each {interval:?} ms"
                );
            }
        }
    }

    #[test]
    fn a_frame_begins_everything_anew() {
        let mut death = Death::default();
        assert_eq!(run(&mut death, 1000, (1000, 1590)).len(), 10);
        let done = run(&mut death, 1595, (1600, 2195));
        assert!(done.iter().all(|(_, act)| *act == Act::Ask), "{done:?}");
        let done = run(&mut death, 1595, (2200, 2300));
        assert_eq!(done, [(2200, Act::Dead(at(1595)))]);
        // It came back, and is lost again.
        let done = run(&mut death, 5000, (5000, 6000));
        assert_eq!(done.last(), Some(&(5600, Act::Dead(at(5000)))));
    }

    #[test]
    fn who_slept_asks_anew_before_it_concludes() {
        let mut death = Death::default();
        run(&mut death, 1000, (1000, 1560));
        let late = Turn {
            now: at(3000),
            lateness: Duration::from_millis(1400),
            frame: at(1000),
            armed: true,
        };
        assert_eq!(death.turn(late), Some(Act::Ask));
        let done = run(&mut death, 1000, (3010, 4000));
        assert_eq!(done.len(), 5);
        assert_eq!(done.last(), Some(&(3250, Act::Dead(at(1000)))));
    }

    #[test]
    fn a_question_that_was_not_sent_has_not_been_asked() {
        let mut death = Death::default();
        let mut asked = 0;
        for now in (1000..5000).step_by(10) {
            let act = death.turn(Turn {
                now: at(now),
                lateness: Duration::ZERO,
                frame: at(1000),
                armed: true,
            });
            match act {
                None => {}
                Some(Act::Ask) => {
                    asked += 1;
                    if asked % QUESTIONS == 0 {
                        death.handle_unasked();
                    }
                }
                Some(Act::Dead(_)) => {
                    panic!("dead at {now} ms, and never asked five times in a row")
                }
            }
        }
        assert!(asked > 50, "{asked}");
    }

    #[test]
    fn who_cannot_ask_concludes_nothing() {
        let mut death = Death::default();
        run(&mut death, 1000, (1000, 1560));
        let deaf = Turn {
            now: at(5000),
            lateness: Duration::ZERO,
            frame: at(1000),
            armed: false,
        };
        assert_eq!(death.turn(deaf), None);
        let done = run(&mut death, 1000, (5010, 5100));
        assert!(done.iter().all(|(_, act)| *act == Act::Ask), "{done:?}");
    }
}
