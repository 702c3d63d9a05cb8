//! Steps of a dialogue while they are checked.

use crate::config::value::{At, Values};
use crate::config::{Step, StepAction};

#[derive(Debug)]
pub(in crate::config) struct StepDraft {
    pub(in crate::config) send: Option<At<Vec<u8>>>,
    pub(in crate::config) expect: Option<At<Vec<u8>>>,
    pub(in crate::config) fail: Option<At<Vec<u8>>>,
    pub(in crate::config) comment: Option<String>,
}

impl StepDraft {
    fn of(values: &Values) -> Self {
        Self {
            send: values.get("send"),
            expect: values.get("expect"),
            fail: values.get("fail"),
            comment: values.get("comment").map(|text| text.value),
        }
    }

    /// The list of them, if the file has one.
    pub(super) fn list(values: &Values) -> Option<At<Vec<At<Self>>>> {
        let list = values.list::<Values>("steps")?;
        let steps = list.value.iter();
        let steps = steps.map(|at| at.with(Self::of(&at.value))).collect();
        Some(list.with(steps))
    }

    pub(in crate::config) fn build(&self) -> Option<Step> {
        let action = match (&self.send, &self.expect) {
            (Some(bytes), None) => StepAction::Send(bytes.value.clone()),
            (None, Some(text)) => StepAction::Expect {
                text: text.value.clone(),
                fail: self.fail.as_ref().map(|text| text.value.clone()),
            },
            (None, None) | (Some(_), Some(_)) => return None,
        };
        Some(Step {
            action,
            comment: self.comment.clone(),
        })
    }
}
