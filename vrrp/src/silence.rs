//! Whether the other node's machine is *silent*: a takeover that waits for no advert. Pure.
//!
//! Heartbeats are lost, and processes hang; that proves nothing about a machine. So a node that has heard no frame of
//! the other one for nearly three heartbeats asks its kernel a question that every living kernel answers, whatever runs
//! above it: who has your address (ARP, RFC 826, or neighbour discovery, RFC 4861)? Three questions in a row without an answer, and three heartbeats
//! without a frame: silent.
//!
//! Who slept has asked nothing and concludes nothing: a turn that came late begins the questions anew, and nothing is
//! concluded while a queue may hold what was sent meanwhile.

use std::time::Duration;

use common::time::Moment;

/// Time between questions, in which an answer has to come. On a LAN it takes a tenth of a millisecond.
pub const SPACING: Duration = Duration::from_millis(10);
/// So many questions stay without an answer before the other node is silent.
pub const QUESTIONS: u32 = 3;
/// So many heartbeats have to be missing.
pub const HEARTBEATS: u32 = 3;
/// A node whose last heartbeat is older than this, and than five of them, is not asked: it has stopped, or the pair
/// channel is blocked, and its adverts decide.
const WORTH_ASKING: Duration = Duration::from_secs(1);

/// What a turn of the loop knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub now: Moment,
    /// How much later than planned it came.
    pub lateness: Duration,
    /// Everything that has arrived is read.
    pub read_all: bool,
    /// There is something to decide, and somebody to ask: a VIP waits for the other node, whose hardware address is
    /// known.
    pub armed: bool,
}

/// What has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Send one question.
    Ask,
    /// Nothing was heard for so long, and nobody answered: take over. Once for each silence.
    Silent(Duration),
    /// Without an answer this would have been taken for a silence. Once for each doubt.
    Saved,
}

/// What is known of the other node's machine.
#[derive(Debug)]
pub struct Silence {
    heartbeat: Duration,
    /// Its newest heartbeat.
    beat: Option<Moment>,
    /// Its newest heartbeat or advert.
    spoke: Option<Moment>,
    /// Its newest frame, answers among them.
    frame: Option<Moment>,
    questions: Questions,
    /// It was said that an answer saved it, since it spoke last.
    saved: bool,
}

/// Questions since the last frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Questions {
    None,
    /// So many in a row, the last one then.
    Asked(u32, Moment),
    /// Enough of them: silent.
    Over,
}

impl Silence {
    /// For a pair whose heartbeats come at this interval, 10 ms to 1 s.
    pub fn new(heartbeat: Duration) -> Self {
        Self {
            heartbeat,
            beat: None,
            spoke: None,
            frame: None,
            questions: Questions::None,
            saved: false,
        }
    }

    /// What was last received of the other node; may be told in every turn.
    pub fn hear(&mut self, beat: Option<Moment>, spoke: Option<Moment>) {
        self.beat = self.beat.max(beat);
        if spoke > self.spoke {
            self.spoke = spoke;
            self.saved = false;
        }
        self.note_frame(spoke);
    }

    /// A frame of it came: the answer to a question, or any other.
    pub fn hear_frame(&mut self, at: Moment) {
        self.note_frame(Some(at));
    }

    fn note_frame(&mut self, at: Option<Moment>) {
        if at > self.frame {
            self.frame = at;
            self.questions = Questions::None;
        }
    }

    /// One turn of the loop. At most one question, and never a question and a verdict.
    pub fn turn(&mut self, turn: Turn) -> Option<Act> {
        let Turn { now, .. } = turn;
        let (Some(frame), Some(spoke)) = (self.frame, self.spoke) else {
            return None;
        };
        if !turn.armed || !self.is_worth_asking(now) {
            self.questions = Questions::None;
            return None;
        }
        if !self.saved && frame > spoke && now >= spoke + self.missed() {
            self.saved = true;
            return Some(Act::Saved);
        }
        if now < frame + self.patience() {
            return None;
        }
        if turn.lateness >= SPACING && self.questions != Questions::Over {
            self.questions = Questions::Asked(1, now);
            return Some(Act::Ask);
        }
        match self.questions {
            Questions::None => {
                self.questions = Questions::Asked(1, now);
                Some(Act::Ask)
            }
            Questions::Asked(_, last) if now < last + SPACING => None,
            Questions::Asked(asked, _) if asked < QUESTIONS => {
                self.questions = Questions::Asked(asked + 1, now);
                Some(Act::Ask)
            }
            Questions::Asked(..) if turn.read_all && now >= frame + self.missed() => {
                self.questions = Questions::Over;
                Some(Act::Silent(now.since(frame)))
            }
            Questions::Asked(..) | Questions::Over => None,
        }
    }

    /// The question of the last turn could not be sent: nobody was asked, and those before it count no more.
    pub fn handle_unasked(&mut self) {
        self.questions = Questions::None;
    }

    /// When the next turn is needed, as things stand; `None` = not for this.
    pub fn due(&self) -> Option<Moment> {
        let frame = self.frame?;
        match self.questions {
            Questions::None => Some(frame + self.patience()),
            Questions::Asked(asked, last) if asked < QUESTIONS => Some(last + SPACING),
            Questions::Asked(_, last) => Some((last + SPACING).max(frame + self.missed())),
            Questions::Over => None,
        }
    }

    /// Whether the other node is silent.
    pub fn is_silent(&self) -> bool {
        self.questions == Questions::Over
    }

    /// After so long without a frame three heartbeats are missing: the third one had its time to come, too.
    fn missed(&self) -> Duration {
        self.heartbeat * HEARTBEATS + SPACING
    }

    /// How long a silence lasts before the first question: the last one has its answer when three heartbeats are
    /// missing, and a heartbeat that comes half an interval late raises none.
    fn patience(&self) -> Duration {
        let late = self.heartbeat * 3 / 2;
        self.missed().saturating_sub(SPACING * QUESTIONS).max(late)
    }

    fn is_worth_asking(&self, now: Moment) -> bool {
        let limit = WORTH_ASKING.max(self.heartbeat * 5);
        self.beat.is_some_and(|beat| now.since(beat) <= limit)
    }
}

#[cfg(test)]
mod tests;
