//! Probes that are programs: the proxy says on its board which are due, admin runs them and says on
//! its own how they ended. So neither waits for the other.

use super::{Cell, MomentCell, ProbeStatus, Text};

/// What the proxy wants to know of one server.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ExternalWish {
    /// Which question this is; raised after all else was set.
    number: Cell,
    /// Index of the backend, whose program is to be run.
    pub backend: Cell,
    /// Where probes of the server go.
    pub server: Text,
}

/// How the program of one server ended the last time.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ExternalAnswer {
    /// Which question this is the answer to; set after all else.
    number: Cell,
    /// [`ProbeStatus`]
    status: Cell,
    /// Exit code and one more; 0 = it did not exit.
    code: Cell,
    /// When it ended.
    ended: MomentCell,
    words: Text,
}

/// The process group of a program that runs, for a successor of the process that runs it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct ExternalGroup {
    /// Number of its first process, and so its own; 0 = none runs. Set after all else.
    leader: Cell,
    /// When that one started, as /proc/PID/stat has it: numbers are given anew.
    started: Cell,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalEnd {
    pub status: ProbeStatus,
    pub code: Option<u8>,
    pub words: String,
}

impl ExternalWish {
    /// The last question.
    pub fn number(&self) -> u64 {
        self.number.get()
    }

    /// Asks anew; the number of the question. Only the proxy may call it.
    pub fn ask(&self, backend: usize, server: &str) -> u64 {
        self.backend.set(backend as u64);
        self.server.set(server);
        let number = self.number.get() + 1;
        self.number.set(number);
        number
    }
}

impl ExternalGroup {
    /// It runs. Only admin may call it.
    pub fn begin(&self, leader: u32, started: u64) {
        self.started.set(started);
        self.leader.set(leader.into());
    }

    /// It runs no more.
    pub fn end(&self) {
        self.leader.set(0);
    }

    /// Its number, and when its first process started.
    pub fn running(&self) -> Option<(u32, u64)> {
        let leader = u32::try_from(self.leader.get()).ok()?;
        (leader != 0).then(|| (leader, self.started.get()))
    }
}

impl ExternalAnswer {
    /// Which question was answered last.
    pub fn number(&self) -> u64 {
        self.number.get()
    }

    /// When that was.
    pub fn ended(&self) -> Option<crate::time::Moment> {
        self.ended.get()
    }

    /// Answers a question. Only admin may call it.
    pub fn set(&self, number: u64, end: &ExternalEnd, now: crate::time::Moment) {
        self.status.set(end.status.on_board());
        self.code
            .set(end.code.map_or(0, |code| u64::from(code) + 1));
        self.words.set(&end.words);
        self.ended.set(now);
        self.number.set(number);
    }

    /// The answer to this question, if it is there.
    pub fn to(&self, number: u64) -> Option<ExternalEnd> {
        if self.number.get() != number {
            return None;
        }
        let code = self.code.get().checked_sub(1);
        Some(ExternalEnd {
            status: ProbeStatus::from_board(self.status.get()),
            code: code.and_then(|code| u8::try_from(code).ok()),
            words: self.words.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Moment;

    #[test]
    fn an_answer_belongs_to_its_question() {
        let (wish, answer) = (ExternalWish::default(), ExternalAnswer::default());
        let first = wish.ask(3, "10.17.4.24:80");
        assert_eq!((wish.number(), wish.backend.get()), (first, 3));
        assert_eq!(wish.server.get(), "10.17.4.24:80");
        assert_eq!(answer.to(first), None);
        let end = ExternalEnd {
            status: ProbeStatus::ProcErr,
            code: Some(0),
            words: "exit code 0".into(),
        };
        answer.set(first, &end, Moment::from_nanos(7));
        assert_eq!(answer.to(first), Some(end));
        assert_eq!(answer.ended(), Some(Moment::from_nanos(7)));
        let second = wish.ask(3, "10.17.4.24:80");
        assert_ne!(first, second);
        assert_eq!(answer.to(second), None);
    }
}
