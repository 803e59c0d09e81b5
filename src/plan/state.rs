//! What is remembered between one command and the next, and from one system to the next: a value that
//! lives as JSON in /run, which outlives every soft reboot.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::format::{config::trial::Trial, verity::table::VerityTable};

use super::{
    Plan, Step, carry::Row, plain::Plain, prewarm::Prewarmed, report::Phase, signed::CheckedBy,
    step::HashOrigin,
};

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
    /// What is to be undone before anything else: steps of a look at a root that is still at work, or was killed, and of a
    /// switch that came back.
    #[serde(default)]
    pub looking: Plan,
    /// The root that is running.
    pub current: Option<Root>,
    /// The root that ran before.
    pub previous: Option<Root>,
    /// Roots that ran before that, and may be open still.
    #[serde(default)]
    pub retired: Vec<Root>,
    /// Images that a switch did not lead into, or that were given up after one: `slot:other` passes them over.
    #[serde(default)]
    pub failed: Vec<Failed>,
    /// Whether the running root has been declared healthy since the switch to it.
    pub blessed: bool,
    /// When that was, and of which image; `None` where no switch led to it.
    #[serde(default)]
    pub blessing: Option<Blessing>,
    /// What the running root is held to while it is on trial; `None` where nobody watches over it.
    #[serde(default)]
    pub trial: Option<OnTrial>,
    /// Whether the last switch was taken back: it came back by itself, or the root that it led to was given up since.
    #[serde(default)]
    pub restored: bool,
    /// How the last pass of the relay went.
    pub relay: Option<Pass>,
    /// When the relay that led to the running root began, in microseconds of CLOCK_MONOTONIC; without the relay, when the running root was
    /// first seen to be another. `None` where no switch led to it.
    #[serde(default)]
    pub switched_us: Option<u64>,
    /// What stage took to make the running root ready, part by part.
    #[serde(default)]
    pub stage: Vec<Phase>,
    /// Critical units that have drop-ins of ours since the switch, until it is blessed.
    #[serde(default)]
    pub ordered: BTreeSet<String>,
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
            failed: Vec::new(),
            blessed: true,
            blessing: None,
            trial: None,
            restored: false,
            relay: None,
            switched_us: None,
            stage: Vec::new(),
            ordered: BTreeSet::new(),
        }
    }
}

impl State {
    /// After a pass of the relay: the staged root is the running one now, or it is not mounted any more, and its
    /// device, where it was opened for it, is open for nobody's sake.
    #[must_use]
    pub fn handed_over(mut self, pass: Pass) -> Self {
        match self.staged.take() {
            Some(staged) if pass.switched => {
                self.switched(staged);
                self.switched_us = pass.begun_us;
            }
            Some(staged) => {
                // Where that was the way back itself, nothing was taken back.
                self.restored = staged.gives_up.is_none();
                if pass.blames_image {
                    self.mark_failed(&staged.root, pass.error.as_deref());
                }
                // It is not left after all: what was done to leave it for good is undone with the next look.
                let marks = |step: &&Step| matches!(step, Step::MarkEntryBad(_) | Step::Order { .. });
                self.looking.steps.extend(staged.begun.steps.iter().filter(marks).cloned());
                if staged.has_opened() {
                    self.retired.push(staged.root);
                }
            }
            None => {}
        }
        self.generation = self.generation.saturating_add(1);
        self.relay = Some(pass);
        self
    }

    /// Takes in what is seen at a time, in microseconds of CLOCK_MONOTONIC: the root under /, and whether the staged one still waits. A
    /// switch that systemd made by itself leaves no other trace, nor does one by a relay that found /run full.
    pub fn settle(&mut self, running: Option<Root>, waits: bool, now_us: u64) {
        let switched =
            |staged: &Staged| staged.complete && running.as_ref().is_some_and(|root| root.is(&staged.root));
        if let Some(staged) = self.staged.take_if(|staged| !waits && switched(staged)) {
            self.switched(staged);
            self.switched_us = Some(now_us);
            self.generation = self.generation.saturating_add(1);
        }
        let Some(running) = running else { return };
        match self.current.as_mut().filter(|root| root.is(&running)) {
            // A plain one may have been mounted anew since, with write access.
            Some(current) => current.on.mounted_as(running.on),
            None => {
                self.current = Some(running);
                // Of a root that somebody else left.
                self.blessing = None;
                self.trial = None;
                self.restored = false;
            }
        }
    }
}

/// That a root was declared healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blessing {
    /// When, in seconds since 1970 (CLOCK_REALTIME).
    pub at: u64,
    /// Its root hash, where it is verified.
    pub root_hash: Option<String>,
}

/// The trial of a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnTrial {
    /// What is asked of it.
    pub rules: Trial,
    /// When the watcher first saw it run, in microseconds of CLOCK_MONOTONIC.
    pub since_us: Option<u64>,
    /// Whether it was gone back to, as another root was given up: where it fails, too, it stays.
    pub came_back: bool,
    /// Whether PID 1 was asked to leave it: where it runs all the same, that did not lead anywhere, and it stays.
    #[serde(default)]
    pub asked_back: bool,
    /// Why it is not left, though it did not stand the trial: nobody watches over it any more.
    pub stays: Option<String>,
}

/// An image that was tried, and failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Its root hash.
    pub root_hash: String,
    /// What went wrong.
    pub why: String,
}

/// A root, as it was asked for and found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// How it was named.
    pub source: String,
    /// What it is on.
    #[serde(flatten)]
    pub on: On,
    /// What its os-release calls it.
    pub system: Option<String>,
    /// Its version by os-release: `IMAGE_VERSION=`.
    pub version: Option<String>,
}

/// What a root is on; which it is shows by the fields that are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, try_from = "OnFields")]
pub enum On {
    /// A dm-verity device.
    Verity(Verity),
    /// A block device as it is: it is not verified.
    Plain {
        /// Which, and how it was mounted.
        plain: Plain,
    },
    /// What cannot be mounted a second time.
    Else {
        /// Why not.
        unreachable: String,
    },
}

/// The fields of all of them.
#[derive(Deserialize)]
struct OnFields {
    name: Option<String>,
    root_hash: Option<String>,
    root_hash_from: Option<HashOrigin>,
    signed_by: Option<CheckedBy>,
    plain: Option<Plain>,
    unreachable: Option<String>,
}

impl TryFrom<OnFields> for On {
    type Error = &'static str;

    fn try_from(fields: OnFields) -> Result<Self, Self::Error> {
        let OnFields { name, root_hash, root_hash_from, signed_by, plain, unreachable } = fields;
        match (name, root_hash, root_hash_from, plain, unreachable) {
            (Some(name), Some(root_hash), Some(root_hash_from), None, None) => {
                Ok(Self::Verity(Verity { name, root_hash, root_hash_from, signed_by }))
            }
            (None, None, None, Some(plain), None) => Ok(Self::Plain { plain }),
            (None, None, None, None, Some(unreachable)) => Ok(Self::Else { unreachable }),
            _ => Err("a root has name, root_hash and root_hash_from, or else plain, or else unreachable"),
        }
    }
}

/// A root's dm-verity device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verity {
    /// The dm name.
    pub name: String,
    /// Its root hash.
    pub root_hash: String,
    /// What the root hash proves.
    pub root_hash_from: HashOrigin,
    /// What its signature was found to hold by, where it was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<CheckedBy>,
}

impl Root {
    /// Takes in what the signature of its root hash was found to hold by.
    pub fn is_signed_by(&mut self, by: CheckedBy) {
        if let On::Verity(verity) = &mut self.on {
            verity.is_signed_by(by);
        }
    }
}

impl Verity {
    /// A device by its table: what the kernel checked when it made it, it says of the device; else what is known counts.
    #[must_use]
    pub fn of(
        name: String,
        table: &VerityTable,
        root_hash_from: HashOrigin,
        signed_by: Option<CheckedBy>,
    ) -> Self {
        let mut verity = Self { name, root_hash: table.root_hash.to_string(), root_hash_from, signed_by };
        if table.is_signed() {
            verity.is_signed_by(CheckedBy::Keyring);
        }
        verity
    }

    /// Takes in what the signature of its root hash was found to hold by.
    pub fn is_signed_by(&mut self, by: CheckedBy) {
        self.root_hash_from = HashOrigin::Signature;
        self.signed_by = Some(by);
    }
}

impl State {
    fn mark_failed(&mut self, root: &Root, why: Option<&str>) {
        let Some(root_hash) = root.verity().map(|verity| verity.root_hash.clone()) else { return };
        self.failed.retain(|failed| failed.root_hash != root_hash);
        let why = why.unwrap_or("for a reason that is not known").to_owned();
        self.failed.push(Failed { root_hash, why });
    }

    /// Declares the running root healthy; `false` where it was so already.
    pub fn bless(&mut self, at: u64) -> bool {
        if self.blessed {
            return false;
        }
        self.blessed = true;
        self.trial = None;
        let verity = self.current.as_ref().and_then(Root::verity);
        self.blessing = Some(Blessing { at, root_hash: verity.map(|verity| verity.root_hash.clone()) });
        true
    }

    fn switched(&mut self, staged: Staged) {
        let rules = staged.trial().cloned();
        let came_back = staged.gives_up.is_some();
        self.trial =
            rules.map(|rules| OnTrial { rules, since_us: None, came_back, asked_back: false, stays: None });
        self.ordered.extend(staged.ordered());
        let Staged { root: to, gives_up, phases, .. } = staged;
        self.stage = phases;
        self.restored = gives_up.is_some();
        if let (Some(why), Some(left)) = (gives_up, self.current.clone()) {
            self.mark_failed(&left, Some(&why));
        }
        if let Some(verity) = to.verity() {
            self.failed.retain(|failed| failed.root_hash != verity.root_hash);
        }
        let again = self.current.as_ref().is_some_and(|current| current.is_same_image(&to));
        let before = self.current.replace(to);
        // An image that was left for itself is no way back from it.
        let older = if again { before } else { std::mem::replace(&mut self.previous, before) };
        // Of others nothing stays open.
        let older = older.filter(|root| root.verity().is_some() && !self.retired.contains(root));
        self.retired.extend(older);
        self.blessed = false;
        self.blessing = None;
        self.switched_us = None;
    }

    /// Drop-ins of critical units that the running root needs no more, and nothing that is staged has again.
    #[must_use]
    pub fn outlived_orders(&self) -> Vec<String> {
        let again: Vec<String> = self.staged.iter().flat_map(Staged::ordered).collect();
        let outlived = self.ordered.iter().filter(|unit| self.blessed && !again.contains(unit));
        outlived.cloned().collect()
    }

    /// Gives up the way back to the root before, where the running one is healthy and the other takes a device. `previous` leads
    /// nowhere then.
    pub fn retire_previous(&mut self) {
        if self.blessed && self.previous.as_ref().is_some_and(|root| root.verity().is_some()) {
            self.retired.extend(self.previous.take());
        }
    }

    /// Devices that are open for nobody's sake: of roots neither running, nor staged, nor the one before.
    #[must_use]
    pub fn unused(&self) -> Vec<Verity> {
        let staged = self.staged.as_ref().map(|staged| &staged.root);
        let used = [self.current.as_ref(), self.previous.as_ref(), staged];
        let used: Vec<&Verity> = used.into_iter().flatten().filter_map(Root::verity).collect();
        let is_used = |root: &Verity| used.iter().any(|other| other.name == root.name);
        self.retired.iter().filter_map(Root::verity).filter(|root| !is_used(root)).cloned().collect()
    }

    /// Forgets roots that are closed now: all before the previous one, but for those that could not be (`left`), and one that is staged
    /// again, which stays open when that is taken back.
    pub fn forget_closed(&mut self, left: &[String]) {
        let staged = self.staged.as_ref().and_then(|staged| staged.root.verity()).map(|verity| &verity.name);
        let is_open = |name: &String| Some(name) == staged || left.contains(name);
        self.retired.retain(|root| root.verity().is_some_and(|verity| is_open(&verity.name)));
    }
}

impl Root {
    /// Its dm-verity device, where it is on one.
    #[must_use]
    pub fn verity(&self) -> Option<&Verity> {
        match &self.on {
            On::Verity(verity) => Some(verity),
            On::Plain { .. } | On::Else { .. } => None,
        }
    }

    /// Whether it is the same image, wherever it is and whatever its device is called, or the same file system.
    #[must_use]
    pub fn is_same_image(&self, other: &Self) -> bool {
        match (self.verity(), other.verity()) {
            (Some(one), Some(other)) => one.root_hash == other.root_hash,
            _ => self.is(other),
        }
    }

    /// Whether it is the same image in the same device, or the same file system on it.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        match (&self.on, &other.on) {
            (On::Verity(one), On::Verity(other)) => {
                one.name == other.name && one.root_hash == other.root_hash
            }
            (On::Plain { plain: one }, On::Plain { plain: other }) => one.is(other),
            (On::Else { unreachable: one }, On::Else { unreachable: other }) => one == other,
            _ => false,
        }
    }
}

impl On {
    /// Takes in how the same plain root is mounted now.
    fn mounted_as(&mut self, now: Self) {
        if let (Self::Plain { plain }, Self::Plain { plain: now }) = (self, now) {
            *plain = now;
        }
    }
}

impl fmt::Display for Root {
    /// `Debian GNU/Linux 13 (trixie) 1.3, dm-verity root, root hash 81b2ec08...`, or what else it is on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.system.as_deref().unwrap_or("?"))?;
        self.version.iter().try_for_each(|version| write!(f, " {version}"))?;
        match &self.on {
            On::Verity(Verity { name, root_hash, signed_by, .. }) => {
                write!(f, ", dm-verity {name}, root hash {root_hash}")?;
                signed_by.iter().try_for_each(|by| write!(f, ", signed: holds by {by}"))
            }
            On::Plain { plain } => write!(f, ", {plain}, not verified"),
            On::Else { unreachable } => write!(f, ", not verified, and no way back to it: {unreachable}"),
        }
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
    /// What was read ahead of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prewarmed: Option<Prewarmed>,
    /// Why the root that is left for it counts as failed; `None` where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives_up: Option<String>,
    /// What it took, part by part; nothing until it is complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
}

impl Staged {
    /// Whether the root's device was opened for it.
    #[must_use]
    pub fn has_opened(&self) -> bool {
        let Some(verity) = self.root.verity() else { return false };
        let opens = |step: &Step| matches!(step, Step::OpenVerity(open) if open.name == verity.name);
        self.begun.steps.iter().any(opens)
    }

    /// Critical units that drop-ins were left for.
    #[must_use]
    pub fn ordered(&self) -> Vec<String> {
        let orders = self.begun.steps.iter().filter_map(|step| match step {
            Step::Order { orders } => Some(orders),
            _ => None,
        });
        orders.flatten().map(|order| order.unit.clone()).collect()
    }

    /// What the root will be held to by the watcher that was left for it.
    #[must_use]
    pub fn trial(&self) -> Option<&Trial> {
        self.begun.steps.iter().find_map(|step| match step {
            Step::Watch { trial, .. } => Some(trial),
            _ => None,
        })
    }
}

/// One pass of the relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Whether it led into the new root; else it led back to the old one.
    pub switched: bool,
    /// When it began, in microseconds of CLOCK_MONOTONIC.
    #[serde(default)]
    pub begun_us: Option<u64>,
    /// From its first instruction to the real init, in microseconds.
    pub took_us: u64,
    /// What failed, where something did.
    pub error: Option<String>,
    /// Whether that is the new root's fault.
    #[serde(default)]
    pub blames_image: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(name: &str) -> Root {
        let on = On::Verity(Verity {
            name: name.to_owned(),
            root_hash: name.to_owned(),
            root_hash_from: HashOrigin::Arguments,
            signed_by: None,
        });
        Root { source: name.to_owned(), on, system: None, version: None }
    }

    fn plain(options: &str) -> Root {
        let plain = serde_json::json!({
            "device": {"name": "vda2", "devno": "254:2"}, "partition_uuid": "0b-02", "filesystem_uuid": null,
            "fstype": "ext4", "read_only": false, "options": options,
        });
        let on = On::Plain { plain: serde_json::from_value(plain).unwrap() };
        Root { on, ..root("PARTUUID=0b-02") }
    }

    fn staged(name: &str, direct: bool) -> Option<Staged> {
        let (root, begun, mounts) = (root(name), Plan::default(), Vec::new());
        Some(Staged {
            root,
            direct,
            complete: true,
            begun,
            mounts,
            prewarmed: None,
            gives_up: None,
            phases: Vec::new(),
        })
    }

    fn pass(switched: bool) -> Pass {
        Pass { switched, begun_us: Some(7), took_us: 1, error: None, blames_image: !switched }
    }

    fn names(roots: &[Verity]) -> Vec<&str> {
        roots.iter().map(|root| root.name.as_str()).collect()
    }

    #[test]
    fn what_runs_and_what_ran() {
        let mut state = State::default();
        state.settle(Some(root("a")), false, 9);
        for (to, previous, unused) in
            [("b", "a", vec![]), ("c", "b", vec!["a"]), ("b", "c", vec!["a"]), ("d", "b", vec!["a", "c"])]
        {
            state.staged = staged(to, false);
            state = state.handed_over(pass(true));
            state.settle(Some(root(to)), false, 9);
            assert_eq!(state.current, Some(root(to)));
            assert_eq!(state.previous, Some(root(previous)));
            assert_eq!(state.switched_us, Some(7));
            assert_eq!(names(&state.unused()), unused, "{to}");
        }
        assert_eq!(state.generation, 5);
        assert!(!state.blessed);
    }

    #[test]
    fn no_way_back_is_kept() {
        for (blessed, previous, is_staged, kept, unused) in [
            (true, root("a"), false, false, vec!["a"]),
            // It is staged, and stays for that.
            (true, root("a"), true, false, vec![]),
            (false, root("a"), false, true, vec![]),
            (true, plain(""), false, true, vec![]),
        ] {
            let staged = if is_staged { staged("a", false) } else { None };
            let current = Some(root("b"));
            let mut state = State { blessed, current, previous: Some(previous), staged, ..State::default() };
            state.retire_previous();
            assert_eq!(state.previous.is_some(), kept);
            assert_eq!(names(&state.unused()), unused);
        }
    }

    /// gc forgot it while it was staged again, and nobody closed it after cancel.
    #[test]
    fn what_is_staged_again_is_not_forgotten() {
        let retired = vec![root("a"), root("b")];
        let mut state = State { retired, staged: staged("a", false), ..State::default() };
        assert_eq!(names(&state.unused()), ["b"]);
        state.forget_closed(&[]);
        assert_eq!(names(&state.unused()), [""; 0]);
        state.staged = None;
        assert_eq!(names(&state.unused()), ["a"]);
        state.forget_closed(&[]);
        assert_eq!(state.retired, []);
    }

    /// gc forgot it all the same.
    #[test]
    fn what_cannot_be_closed_is_not_forgotten() {
        let mut state = State { retired: vec![root("a"), root("b")], ..State::default() };
        state.forget_closed(&["a".to_owned()]);
        assert_eq!(names(&state.unused()), ["a"]);
    }

    /// It became its own way back, and the one that it had was closed.
    #[test]
    fn an_image_that_is_left_for_itself_keeps_its_way_back() {
        let mut state = State { current: Some(root("b")), previous: Some(root("a")), ..State::default() };
        let mut elsewhere = root("b");
        if let On::Verity(verity) = &mut elsewhere.on {
            verity.name = "b-verity-2".to_owned();
        }
        for (to, unused) in [(root("b"), vec![]), (elsewhere, vec!["b"])] {
            state.staged = staged("", false).map(|staged| Staged { root: to.clone(), ..staged });
            state = state.handed_over(pass(true));
            assert_eq!((&state.current, &state.previous), (&Some(to), &Some(root("a"))));
            assert_eq!(names(&state.unused()), unused);
        }
    }

    #[test]
    fn a_pass_that_came_back_changes_no_root() {
        let mut state = State::default();
        state.settle(Some(root("a")), false, 9);
        state.staged = staged("b", false);
        let state = state.handed_over(pass(false));
        assert_eq!((&state.current, &state.staged, &state.previous), (&Some(root("a")), &None, &None));
        assert!(state.blessed);
        // It would be chosen again, and again.
        let failed: Vec<&str> = state.failed.iter().map(|failed| failed.root_hash.as_str()).collect();
        assert_eq!(failed, ["b"]);
        assert!(state.restored);
        let state = State { staged: staged("b", false), ..state }.handed_over(pass(false));
        assert_eq!(state.failed.len(), 1);
        let state = State { staged: staged("b", false), ..state }.handed_over(pass(true));
        assert_eq!((state.restored, &state.failed), (false, &vec![]));
        let ours = Pass { blames_image: false, ..pass(false) };
        assert_eq!(State { staged: staged("c", false), ..state }.handed_over(ours).failed, []);
    }

    /// Whoever began on a plain root had no way back to it.
    #[test]
    fn from_a_plain_root_and_back() {
        let mut state = State::default();
        state.settle(Some(plain("")), false, 9);
        for (to, previous) in [(root("a"), plain("")), (plain(""), root("a")), (root("b"), plain(""))] {
            state.staged = staged("", false).map(|staged| Staged { root: to.clone(), ..staged });
            state = state.handed_over(pass(true));
            state.settle(Some(to.clone()), false, 9);
            assert_eq!((&state.current, &state.previous), (&Some(to), &Some(previous)));
        }
        assert_eq!(names(&state.unused()), ["a"], "a plain root has no device to close");
        state.staged = staged("c", false);
        let mut state = state.handed_over(pass(true)).handed_over(pass(false));
        state.settle(None, false, 9);
        assert_eq!((state.current, state.previous), (Some(root("c")), Some(root("b"))));
    }

    #[test]
    fn a_switch_to_a_plain_root_that_nobody_wrote_down() {
        let to = plain("noatime");
        for (running, switched) in [(plain(""), true), (root("a"), false)] {
            let staged = staged("", true).map(|staged| Staged { root: to.clone(), ..staged });
            let mut state = State { current: Some(root("a")), staged, ..State::default() };
            state.settle(Some(running.clone()), false, 9);
            assert_eq!((state.generation == 2, state.staged.is_none()), (switched, switched));
            assert_eq!(state.current, Some(running));
        }
    }

    /// It was read-only still when it was seen first, and came back so.
    #[test]
    fn a_plain_root_that_was_mounted_anew() {
        let mut state = State { previous: Some(root("a")), ..State::default() };
        for options in ["noatime", "noatime,commit=5"] {
            state.settle(Some(plain(options)), false, 9);
            assert_eq!((&state.current, &state.previous), (&Some(plain(options)), &Some(root("a"))));
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let other = On::Else { unreachable: "it is overlay".to_owned() };
        for current in [None, Some(root("a")), Some(plain("")), Some(Root { on: other, ..root("overlay") })] {
            let state = State { current, ..State::default() };
            let text = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        }
    }

    /// Cancelled after that, the running root's device would go with its last mount.
    #[test]
    fn a_switch_that_nobody_wrote_down_is_seen_afterwards() {
        for (running, waits, switched) in [("b", false, true), ("b", true, false), ("a", false, false)] {
            for direct in [true, false] {
                let mut state =
                    State { current: Some(root("a")), staged: staged("b", direct), ..State::default() };
                state.settle(Some(root(running)), waits, 9);
                assert_eq!(state.generation == 2, switched, "{running} {waits} {direct}");
                assert_eq!(state.staged.is_none(), switched);
                assert_eq!(state.switched_us.is_some(), switched);
            }
        }
    }

    #[test]
    fn a_root_is_blessed_once() {
        let mut state = State { current: Some(root("a")), staged: staged("b", false), ..State::default() };
        assert!(!state.bless(1), "no switch led to it");
        state = state.handed_over(pass(true));
        assert!(!state.blessed && state.bless(2) && !state.bless(3));
        assert_eq!(state.blessing, Some(Blessing { at: 2, root_hash: Some("b".to_owned()) }));
        let by_others = State { blessed: true, ..state.clone() };
        state.staged = staged("a", false);
        state = state.handed_over(pass(true));
        assert_eq!((state.blessed, state.blessing), (false, None));
        for (seen, kept) in [("b", true), ("c", false)] {
            let mut state = by_others.clone();
            state.settle(Some(root(seen)), false, 9);
            assert_eq!(state.blessing.is_some(), kept, "{seen}");
        }
    }

    /// It would be chosen again as soon as it was left.
    #[test]
    fn a_root_that_is_given_up_counts_as_failed_once_it_is_left() {
        let why = || Some("it was given up".to_owned());
        for (switched, failed) in [(true, vec!["b"]), (false, vec!["a"])] {
            let staged = staged("a", false).map(|staged| Staged { gives_up: why(), ..staged });
            let state = State { current: Some(root("b")), staged, ..State::default() };
            let state = state.handed_over(pass(switched));
            let hashes: Vec<&str> = state.failed.iter().map(|failed| failed.root_hash.as_str()).collect();
            assert_eq!(hashes, failed, "{switched}");
            assert_eq!(state.restored, switched);
        }
        // A plain root has no root hash to know it by.
        let staged = staged("a", false).map(|staged| Staged { gives_up: why(), ..staged });
        let state = State { current: Some(plain("")), staged, ..State::default() };
        assert_eq!(state.handed_over(pass(true)).failed, []);
    }

    /// The boot loader did not go any more to a root that was never left.
    #[test]
    fn a_root_that_was_not_left_has_its_boot_entry_back() {
        let renaming = crate::plan::boot_entry::Renaming {
            partition: crate::plan::device::Device {
                name: "vda1".to_owned(),
                devno: "254:1".parse().unwrap(),
                diskseq: None,
            },
            directory: "loader/entries".to_owned(),
            from: "b+3.conf".to_owned(),
            to: "b+0.conf".to_owned(),
        };
        let mark = Step::MarkEntryBad(renaming);
        for (switched, expected) in [(true, vec![]), (false, vec![mark.clone()])] {
            let begun = Plan { steps: vec![Step::LeaveExitrd, mark.clone()] };
            let staged = staged("a", false).map(|staged| Staged { begun, ..staged });
            let state = State { current: Some(root("b")), staged, ..State::default() };
            assert_eq!(state.handed_over(pass(switched)).looking.steps, expected, "{switched}");
        }
    }

    /// Its device stayed open for ever.
    #[test]
    fn a_root_that_was_not_reached_is_closed() {
        let table = format!("1 254:1 254:2 4096 4096 2048 1 sha256 {} -", "ab".repeat(32)).parse().unwrap();
        let devno = crate::format::kernel::devno::Devno { major: 254, minor: 1 };
        let device = crate::plan::device::Device { name: "vda1".to_owned(), devno, diskseq: None };
        let open = Step::OpenVerity(crate::plan::step::OpenVerity {
            name: "b".to_owned(),
            uuid: String::new(),
            data: device.clone(),
            hash: device,
            fec: None,
            table,
            root_hash_from: HashOrigin::Arguments,
            signature: None,
        });
        for (steps, unused) in [(vec![open], vec!["b"]), (vec![], vec![])] {
            let begun = Plan { steps };
            let staged = staged("b", false).map(|staged| Staged { begun, ..staged });
            let state = State { current: Some(root("a")), staged, ..State::default() };
            assert_eq!(names(&state.handed_over(pass(false)).unused()), unused);
        }
    }

    /// A state file may have any number in it: one more than the last wrapped, or ended the relay.
    #[test]
    fn the_last_generation_stays_the_last() {
        let state = State { generation: u64::MAX, ..State::default() };
        let pass = Pass { switched: true, begun_us: None, took_us: 1, error: None, blames_image: false };
        assert_eq!(state.handed_over(pass).generation, u64::MAX);
    }
}
