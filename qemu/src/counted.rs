//! What something costs in instructions, held against what it cost when that was last looked at.

use regex::Regex;

use crate::{Outcome, listen::values, scenario::Took};

/// How much more it may be: kernels and distributions change a little, too.
const MORE: f64 = 1.05;

/// Why it took too long, by the guest's clock, which counts instructions.
pub(crate) fn too_long(took: &Took, console: &[String], witness: &[String]) -> Outcome<Option<String>> {
    let (what, now, ms) = match took {
        Took::Lines { from, to, ms } => {
            (format!("from \"{from}\" to \"{to}\""), between(from, to, console)?, ms)
        }
        Took::Said { said, ms } => {
            (said.clone(), values(witness, said).last().and_then(|value| value.parse().ok()), ms)
        }
    };
    let Some(now) = now else { return Ok(Some(format!("nobody told how long it took: {what}"))) };
    Ok((now > ms * MORE).then(|| {
        format!(
            "it took {now:.1} ms of counted instructions, {:.1} % more than the {ms} ms that are stored: {what}. Find what costs \
             it, or, where it is worth that, store ms = {now:.1} in its scenario",
            (now / ms - 1.0) * 100.0
        )
    }))
}

/// Milliseconds from a line to another behind it, by the kernel's stamps.
fn between(from: &str, to: &str, console: &[String]) -> Outcome<Option<f64>> {
    let stamp = Regex::new(r"\[ *(\d+\.\d{6})\]")?;
    let mut lines = console.iter();
    let mut at = |which: &str| -> Outcome<Option<f64>> {
        let which = Regex::new(which)?;
        let line = lines.find(|line| which.is_match(line));
        let found = line.and_then(|line| stamp.captures(line));
        found.map(|found| Ok(found[1].parse::<f64>()?)).transpose()
    };
    Ok(at(from)?.zip(at(to)?).map(|(begin, end)| (end - begin) * 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_hundred_more_are_too_long() {
        let console = [
            "[    1.000000] begin",
            "no stamp: [  0.001] end",
            "\x1b[?7h[    1.104000] the end",
            "[    9.0] end",
        ];
        let witness = ["rig: 2 busy=90", "rig: 3 busy=104", "rig: 3 words=many"];
        let (console, witness) = (console.map(str::to_owned), witness.map(str::to_owned));
        let lines = |to: &str, ms| Took::Lines { from: "begin".to_owned(), to: to.to_owned(), ms };
        let said = |name: &str, ms| Took::Said { said: name.to_owned(), ms };
        for (took, expected) in [
            (lines("the end", 104.0), None),
            (lines("the end", 99.1), None),
            (lines("the end", 99.0), Some("104.0 ms of counted instructions, 5.1 % more than the 99 ms")),
            (lines("begin", 104.0), Some("nobody told how long it took: from \"begin\" to \"begin\"")),
            (lines("no stamp", 104.0), Some("nobody told")),
            (said("busy", 99.1), None),
            (said("busy", 99.0), Some("5.1 % more than the 99 ms that are stored: busy.")),
            (said("words", 99.0), Some("nobody told")),
            (said("nothing", 99.0), Some("nobody told")),
        ] {
            let why = too_long(&took, &console, &witness).unwrap();
            match expected {
                None => assert_eq!(why, None),
                Some(part) => assert!(why.as_ref().is_some_and(|why| why.contains(part)), "{why:?}"),
            }
        }
    }
}
