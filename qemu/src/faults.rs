//! The matrix of faults: which is shown at which step, and how that went in a run.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use serde::Deserialize;

use crate::{Outcome, scenario::Scenario};

const TABLE: &str = include_str!("../matrix.toml");

/// A row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    name: String,
    boot: Cell,
    stage: Cell,
    switch: Cell,
    trial: Cell,
}

/// What there is to say of a fault at a step. None is left out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Cell {
    /// By these scenarios.
    Shown(Vec<String>),
    /// By a cheaper test: where.
    Tested(String),
    /// It cannot be: why.
    Not(String),
    /// It can be, and nothing shows what happens.
    Open(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    fault: Vec<Fault>,
}

/// What a run said of a scenario.
#[derive(Deserialize)]
struct Verdict {
    name: String,
    result: String,
}

impl Fault {
    fn cells(&self) -> [&Cell; 4] {
        [&self.boot, &self.stage, &self.switch, &self.trial]
    }
}

fn table() -> Outcome<Vec<Fault>> {
    let Table { fault } = toml::from_str(TABLE).map_err(|e| format!("qemu/matrix.toml: {e}"))?;
    Ok(fault)
}

/// Whether a scenario is the one that a cell names, for whichever systemd.
fn is(scenario: &str, named: &str) -> bool {
    let systemd = |rest: &str| ["", "-254", "-257", "-newest"].contains(&rest);
    scenario.strip_prefix(named).is_some_and(systemd)
}

/// The matrix as a page, with the results of a run (`run --json`).
pub(crate) fn page(results: &Path, scenarios: &[Scenario]) -> Outcome<String> {
    let text = fs::read_to_string(results).map_err(|e| format!("{}: {e}", results.display()))?;
    let verdicts: Vec<Verdict> = serde_json::from_str(&text)?;
    // Several runs of one count as passed if all did.
    let mut passed: BTreeMap<&str, bool> = BTreeMap::new();
    for Verdict { name, result } in &verdicts {
        *passed.entry(name).or_insert(true) &= result == "pass";
    }
    let mut page = "# Faults\n\nMade by `nextroot-qemu faults` of qemu/matrix.toml and the results of a run: not to be edited.\n\n\
        | fault | cold boot | stage | switch | trial |\n|---|---|---|---|---|\n"
        .to_owned();
    let mut open = 0;
    for fault in table()? {
        write!(page, "| {} |", fault.name)?;
        for cell in fault.cells() {
            match cell {
                Cell::Shown(names) => {
                    let said: Vec<String> =
                        names.iter().map(|name| result(name, scenarios, &passed)).collect();
                    write!(page, " {} |", said.join("<br>"))?;
                }
                Cell::Tested(place) => write!(page, " tested: {place} |")?,
                Cell::Not(why) => write!(page, " does not apply: {why} |")?,
                Cell::Open(what) => {
                    open += 1;
                    write!(page, " **open**: {what} |")?;
                }
            }
        }
        page.push('\n');
    }
    writeln!(page, "\n{open} cells are open: nothing shows yet what happens there.")?;
    Ok(page)
}

/// `43-relay-broken: passed on 254, 257; not run on newest`
fn result(name: &str, scenarios: &[Scenario], passed: &BTreeMap<&str, bool>) -> String {
    let mut by_result: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for scenario in scenarios.iter().map(|scenario| scenario.name.as_str()).filter(|one| is(one, name)) {
        let said = match passed.get(scenario) {
            Some(true) => "passed",
            Some(false) => "FAILED",
            None => "not run",
        };
        by_result.entry(said).or_default().push(scenario.strip_prefix(name).unwrap_or_default());
    }
    let one = |(said, systems): (&&str, &Vec<&str>)| {
        let systems: Vec<&str> = systems.iter().map(|system| system.trim_start_matches('-')).collect();
        match systems.concat().is_empty() {
            true => (*said).to_owned(),
            false => format!("{said} on {}", systems.join(", ")),
        }
    };
    format!("{name}: {}", by_result.iter().map(one).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    #[test]
    fn every_cell_names_scenarios_that_there_are_or_says_why_not() {
        let scenarios = scenario::all().unwrap();
        for fault in table().unwrap() {
            for cell in fault.cells() {
                match cell {
                    Cell::Shown(names) => {
                        assert!(!names.is_empty(), "{}", fault.name);
                        for name in names {
                            let there = scenarios.iter().any(|scenario| is(&scenario.name, name));
                            assert!(there, "{}: there is no {name}", fault.name);
                        }
                    }
                    Cell::Tested(why) | Cell::Not(why) | Cell::Open(why) => {
                        assert!(!why.is_empty(), "{}", fault.name);
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_not_run_is_not_said_to_have_passed() {
        let scenarios = scenario::all().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("results.json");
        let results = r#"[{"name":"44-killed-254","result":"pass"},{"name":"44-killed-257","result":"fail"},
            {"name":"12-wrong-root-hash","result":"pass"}]"#;
        fs::write(&file, results).unwrap();
        let page = page(&file, &scenarios).unwrap();
        assert!(page.contains("44-killed: FAILED on 257; not run on newest; passed on 254"), "{page}");
        assert!(page.contains("12-wrong-root-hash: passed<br>19-malformed: not run"), "{page}");
    }
}
