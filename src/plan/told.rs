//! Steps as programs read them: what a step is, and what the plan's text says of it.

use serde::Serialize;

use super::{Plan, Step};

/// A step with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told<'a> {
    /// The step: its name in `do`, and its arguments.
    #[serde(flatten)]
    step: &'a Step,
    /// What it does, as the plan's text has it.
    text: String,
    /// What undoes it, as the plan's text has it.
    undo: String,
}

impl Plan {
    /// The steps, each with its text.
    #[must_use]
    pub fn told(&self) -> Vec<Told<'_>> {
        let told = |step| Told { step, text: Step::to_string(step), undo: step.undo().to_string() };
        self.steps.iter().map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_keeps_its_fields() {
        let steps = vec![Step::Isolate { at: "/a".to_owned() }, Step::Exec];
        let told = serde_json::to_value(Plan { steps }.told()).unwrap();
        let expected = serde_json::json!([
            {"do": "isolate", "at": "/a", "text": "keep what is mounted below /a to it", "undo": "not needed"},
            {"do": "exec", "text": "execute the init that was found", "undo": "impossible"},
        ]);
        assert_eq!(told, expected);
    }
}
