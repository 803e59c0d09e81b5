//! What is remembered between one command and the next, and from one system to the next: a value that
//! lives as JSON in /run, which outlives every soft reboot.

use serde::{Deserialize, Serialize};

use super::{Plan, Step, carry::Row, step::HashOrigin};

/// Version of the layout: raised whenever a field changes its meaning or goes away. Fields that a version
/// does not know are passed over, so an older program reads what a newer one wrote.
pub const VERSION: u32 = 1;

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The layout's version.
    pub version: u32,
    /// Lives of userspace since the machine was started, counted from 1.
    pub generation: u64,
    /// What is staged, or half staged.
    pub staged: Option<Staged>,
    /// Steps of a look at a root that is still at work, or was killed.
    #[serde(default)]
    pub looking: Plan,
    /// The root that is running, where one of our switches led to it.
    pub current: Option<Root>,
    /// The root that ran before.
    pub previous: Option<Root>,
    /// Roots that ran before that, and may be open still.
    #[serde(default)]
    pub retired: Vec<Root>,
    /// Whether the running root has been declared healthy since the switch to it.
    pub blessed: bool,
    /// How the last pass of the relay went.
    pub relay: Option<Pass>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            generation: 1,
            staged: None,
            looking: Plan::default(),
            current: None,
            previous: None,
            retired: Vec::new(),
            blessed: true,
            relay: None,
        }
    }
}

impl State {
    /// After a pass of the relay: the staged root is the running one now, or it is not mounted any more, and its
    /// device, where it was opened for it, is open for nobody's sake.
    #[must_use]
    pub fn handed_over(mut self, pass: Pass) -> Self {
        match self.staged.take() {
            Some(staged) if pass.switched => self.switched(staged.root),
            Some(staged) if staged.has_opened() => self.retired.push(staged.root),
            _ => {}
        }
        self.generation += 1;
        self.relay = Some(pass);
        self
    }

    /// Takes in what is seen: the root under /, and whether the staged one still waits. A switch that systemd
    /// made by itself leaves no other trace, nor does one by a relay that found /run full.
    pub fn settle(&mut self, running: Option<Root>, waits: bool) {
        let switched =
            |staged: &Staged| staged.complete && running.as_ref().is_some_and(|root| root.is(&staged.root));
        if let Some(staged) = self.staged.take_if(|staged| !waits && switched(staged)) {
            self.switched(staged.root);
            self.generation += 1;
        }
        if let Some(running) = running
            && !self.current.as_ref().is_some_and(|root| root.is(&running))
        {
            self.current = Some(running);
        }
    }
}

/// A root image, as it was asked for and found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// How it was named.
    pub source: String,
    /// The dm name.
    pub name: String,
    /// Its root hash.
    pub root_hash: String,
    /// What the root hash proves.
    pub root_hash_from: HashOrigin,
    /// What its os-release calls it.
    pub system: Option<String>,
    /// Its version by os-release: `IMAGE_VERSION=`.
    pub version: Option<String>,
}

impl State {
    fn switched(&mut self, to: Root) {
        let before = self.current.replace(to);
        self.retired.extend(std::mem::replace(&mut self.previous, before));
        self.blessed = false;
    }

    /// Roots that are open for nobody's sake: neither running, nor staged, nor the one before.
    #[must_use]
    pub fn unused(&self) -> Vec<Root> {
        let staged = self.staged.as_ref().map(|staged| &staged.root);
        let used = [self.current.as_ref(), self.previous.as_ref(), staged];
        let is_used = |root: &Root| used.iter().flatten().any(|other| other.name == root.name);
        self.retired.iter().filter(|root| !is_used(root)).cloned().collect()
    }
}

impl Root {
    /// Whether it is the same image in the same device.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name && self.root_hash == other.root_hash
    }
}

/// What `stage` did, or was about to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The root.
    pub root: Root,
    /// Whether systemd itself switches to it, without the relay.
    pub direct: bool,
    /// Whether all steps are done. If not, a stage is at work, or was killed.
    pub complete: bool,
    /// The steps that were begun, in order: each is written here before it is done.
    pub begun: Plan,
    /// What becomes of the mounts.
    pub mounts: Vec<Row>,
}

impl Staged {
    /// Whether the root's device was opened for it.
    #[must_use]
    pub fn has_opened(&self) -> bool {
        self.begun
            .steps
            .iter()
            .any(|step| matches!(step, Step::OpenVerity(open) if open.name == self.root.name))
    }
}

/// One pass of the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Whether it led into the new root; else it led back to the old one.
    pub switched: bool,
    /// From its first instruction to the real init, in microseconds.
    pub took_us: u64,
    /// What failed, where something did.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(name: &str) -> Root {
        Root {
            source: name.to_owned(),
            name: name.to_owned(),
            root_hash: name.to_owned(),
            root_hash_from: HashOrigin::Arguments,
            system: None,
            version: None,
        }
    }

    fn staged(name: &str, direct: bool) -> Option<Staged> {
        let (root, begun, mounts) = (root(name), Plan::default(), Vec::new());
        Some(Staged { root, direct, complete: true, begun, mounts })
    }

    fn pass(switched: bool) -> Pass {
        Pass { switched, took_us: 1, error: None }
    }

    fn names(roots: &[Root]) -> Vec<&str> {
        roots.iter().map(|root| root.name.as_str()).collect()
    }

    #[test]
    fn what_runs_and_what_ran() {
        let mut state = State::default();
        state.settle(Some(root("a")), false);
        for (to, previous, unused) in
            [("b", "a", vec![]), ("c", "b", vec!["a"]), ("b", "c", vec!["a"]), ("d", "b", vec!["a", "c"])]
        {
            state.staged = staged(to, false);
            state = state.handed_over(pass(true));
            state.settle(Some(root(to)), false);
            assert_eq!(state.current, Some(root(to)));
            assert_eq!(state.previous, Some(root(previous)));
            assert_eq!(names(&state.unused()), unused, "{to}");
        }
        assert_eq!(state.generation, 5);
        assert!(!state.blessed);
    }

    #[test]
    fn a_pass_that_came_back_changes_no_root() {
        let mut state = State::default();
        state.settle(Some(root("a")), false);
        state.staged = staged("b", false);
        let state = state.handed_over(pass(false));
        assert_eq!((state.current, state.staged, state.previous), (Some(root("a")), None, None));
        assert!(state.blessed);
    }

    /// Cancelled after that, the running root's device would go with its last mount.
    #[test]
    fn a_switch_that_nobody_wrote_down_is_seen_afterwards() {
        for (running, waits, switched) in [("b", false, true), ("b", true, false), ("a", false, false)] {
            for direct in [true, false] {
                let mut state =
                    State { current: Some(root("a")), staged: staged("b", direct), ..State::default() };
                state.settle(Some(root(running)), waits);
                assert_eq!(state.generation == 2, switched, "{running} {waits} {direct}");
                assert_eq!(state.staged.is_none(), switched);
            }
        }
    }

    /// Its device stayed open for ever.
    #[test]
    fn a_root_that_was_not_reached_is_closed() {
        let table = format!("1 254:1 254:2 4096 4096 2048 1 sha256 {} -", "ab".repeat(32)).parse().unwrap();
        let devno = crate::format::kernel::devno::Devno { major: 254, minor: 1 };
        let device = crate::plan::step::Device { name: "vda1".to_owned(), devno };
        let open = Step::OpenVerity(crate::plan::step::OpenVerity {
            name: "b".to_owned(),
            uuid: String::new(),
            data: device.clone(),
            hash: device,
            table,
            root_hash_from: HashOrigin::Arguments,
        });
        for (steps, unused) in [(vec![open], vec!["b"]), (vec![], vec![])] {
            let begun = Plan { steps };
            let staged = staged("b", false).map(|staged| Staged { begun, ..staged });
            let state = State { current: Some(root("a")), staged, ..State::default() };
            assert_eq!(names(&state.handed_over(pass(false)).unused()), unused);
        }
    }
}
