//! Decides how units are ordered that must not be away for long: around a soft reboot each of them stops when the others have
//! stopped, and starts before them.
//!
//! One `Before=` does both: what comes after a unit at start comes before it at stop (systemd.unit(5), "Before=, After="). It
//! must not close a circle, of which systemd would drop a unit, in the running system nor in the new one, of which only the
//! files are known: so nothing is put behind a critical unit that comes before one in either of them, or before anything that is
//! no service. What systemd orders by itself comes that way: mounts, sockets, slices, targets. Nor is anything put there that a
//! critical unit may wait for: what it needs, and what is started when somebody calls it, by a socket or on the bus.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Finding, Given, Unit, fate::stopped, survivors::in_run};
use crate::{format::system::unit_file::kind, plan::order::Order};

/// What the files of a root say of the order of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnitOrder {
    /// Its name.
    pub unit: String,
    /// Other names that it goes by.
    pub names: BTreeSet<String>,
    /// `After=`
    pub after: BTreeSet<String>,
    /// `Before=`
    pub before: BTreeSet<String>,
    /// What it pulls in: `Wants=`, `Requires=` and their likes, and links in its directories.
    pub needs: BTreeSet<String>,
    /// Whether it is started when it is called: a service with a name on the bus.
    pub on_call: bool,
    /// `DefaultDependencies=no`: it has its place by itself.
    pub special: bool,
}

/// Targets that nothing waits for, which does not say so itself: what a system starts comes before them.
const LAST: [&str; 5] =
    ["multi-user.target", "graphical.target", "default.target", "boot-complete.target", "getty.target"];
/// What the end of a system starts: others stop before that in any case.
const END: [&str; 12] = [
    "shutdown.target",
    "umount.target",
    "final.target",
    "soft-reboot.target",
    "reboot.target",
    "poweroff.target",
    "halt.target",
    "kexec.target",
    "exit.target",
    "rescue.target",
    "emergency.target",
    "systemd-soft-reboot.service",
];

/// What is put behind each of these units, as far as it is known in the running system or in the new root.
#[must_use]
pub fn orders(critical: &[String], running: &[Unit], new: &[UnitOrder]) -> Vec<Order> {
    let graph = Graph::of(running, new);
    let known: BTreeSet<&String> = critical.iter().filter(|name| graph.knows(name)).collect();
    let of_services = |name: &str| matches!(kind(name), "service" | "scope");
    // By whatever name: a runlevel is one of them.
    let last = led_to(LAST.into_iter().chain(END), &graph.aliases);
    // What an initrd starts is nothing that starts here; in 254 it comes after all the rest.
    let counts = |name: &&str| !of_services(name) && !last.contains(*name) && !name.starts_with("initrd");
    let others = graph.names.iter().map(String::as_str).filter(counts);
    let mut fixed = graph.placed.clone();
    fixed.extend(led_to(others.chain(known.iter().map(|name| name.as_str())), &graph.after));
    fixed.extend(led_to(known.iter().map(|name| name.as_str()), &graph.needs));
    // Our own are at work meanwhile.
    let is_free = |name: &&str| {
        of_services(name) && !name.starts_with("nextroot-") && !fixed.contains(key(name).as_str())
    };
    let stops = stopped(running);
    let stopping = running.iter().filter(|unit| unit.is_up()).map(|unit| unit.id.as_str());
    let stopping = stopping.filter(|id| stops.contains_key(id));
    let starting = new.iter().flat_map(|told| &told.needs).map(String::as_str);
    // A template itself is nothing that starts.
    let starting = starting.filter(|name| !name.contains("@."));
    let behind: BTreeSet<&str> = stopping.chain(starting).filter(is_free).collect();
    let before: Vec<String> = behind.into_iter().map(str::to_owned).collect();
    known.into_iter().map(|unit| Order { unit: unit.clone(), before: before.clone() }).collect()
}

pub(super) fn check(given: &Given<'_>) -> Finding {
    let Given { asked, system, new, orders, .. } = given;
    let mut findings = Vec::new();
    for name in &asked.critical {
        let unit = system.units.iter().find(|unit| unit.id == *name || unit.names.contains(name));
        let is_in_new = new.unit_orders.iter().any(|told| key(&told.unit) == key(name));
        let order = orders.iter().find(|order| order.unit == *name);
        findings.push(match (unit, order) {
            (_, None) => Finding::warn(
                format!("{name} is neither in this system nor in the new root"),
                "name units that are in Critical=",
            ),
            (Some(unit), _) if given.survives.iter().any(|survivor| survivor.unit == unit.id) => {
                Finding::ok(format!("{name} survives: it is never away"))
            }
            (unit, _) if !is_in_new && !unit.is_some_and(in_run) => Finding::warn(
                format!("{name} is not in the new root"),
                "name units that are in Critical=, or put them into the image",
            ),
            (_, Some(order)) => Finding::ok(match order.before.len() {
                0 => format!("{name}: nothing else stops and starts that it could wait for"),
                count => format!("{name}: {count} stop before it and start after it"),
            }),
        });
    }
    Finding::worst_of(findings, "none is named: Critical= has units that must not be away for long")
}

/// A unit's name; that of its template for an instance, of which files do not tell all.
fn key(name: &str) -> String {
    let template = name.split_once('@').and_then(|(stem, rest)| Some((stem, rest.rsplit_once('.')?.1)));
    template.map_or_else(|| name.to_owned(), |(stem, kind)| format!("{stem}@.{kind}"))
}

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Who comes after whom in either system, and who needs whom, by keys.
#[derive(Debug, Default)]
struct Graph {
    names: BTreeSet<String>,
    after: Edges,
    needs: Edges,
    aliases: Edges,
    /// What has its place already.
    placed: BTreeSet<String>,
}

impl Graph {
    fn of(running: &[Unit], new: &[UnitOrder]) -> Self {
        let mut graph = Self::default();
        for unit in running {
            graph.same(&unit.id, &unit.names);
            link(&mut graph.after, &unit.id, &unit.after);
            link(&mut graph.needs, &unit.id, &unit.stopped_with);
            unit.named_by.iter().for_each(|by| link(&mut graph.needs, by, [&unit.id]));
            if unit.on_bus || unit.named_by.iter().any(|by| kind(by) == "socket") {
                graph.placed.insert(key(&unit.id));
            }
        }
        for told in new {
            graph.same(&told.unit, &told.names);
            link(&mut graph.after, &told.unit, &told.after);
            told.before.iter().for_each(|after| link(&mut graph.after, after, [&told.unit]));
            link(&mut graph.needs, &told.unit, &told.needs);
            match kind(&told.unit) {
                // It comes after all that it pulls in (systemd.target(5), "Default Dependencies").
                "target" => link(&mut graph.after, &told.unit, &told.needs),
                "socket" => graph.placed.extend(told.needs.iter().map(|service| key(service))),
                _ => {}
            }
            if told.on_call || told.special {
                graph.placed.insert(key(&told.unit));
            }
        }
        let linked = graph.after.iter().chain(&graph.needs);
        let linked = linked.flat_map(|(unit, others)| others.iter().chain([unit])).cloned();
        graph.names.extend(linked);
        graph
    }

    /// Names of the same unit come before and after each other.
    fn same(&mut self, unit: &str, names: &BTreeSet<String>) {
        self.names.insert(key(unit));
        for edges in [&mut self.after, &mut self.needs, &mut self.aliases] {
            link(edges, unit, names);
            names.iter().for_each(|name| link(edges, name, [unit]));
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.names.contains(&key(name))
    }
}

/// All that edges lead to, from these on.
fn led_to<'a>(begin: impl Iterator<Item = &'a str>, edges: &Edges) -> BTreeSet<String> {
    let mut open: Vec<String> = begin.map(key).collect();
    let mut found: BTreeSet<String> = open.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let next = edges.get(&name).into_iter().flatten();
        open.extend(next.filter(|name| found.insert((*name).clone())).cloned());
    }
    found
}

fn link(edges: &mut Edges, from: &str, to: impl IntoIterator<Item = impl AsRef<str>>) {
    let from = key(from);
    let to = to.into_iter().map(|name| key(name.as_ref())).filter(|name| *name != from);
    let to: BTreeSet<String> = to.collect();
    edges.entry(from).or_default().extend(to);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// A service that runs, with what it comes after and what wants it.
    fn runs(id: &str, after: &str, named_by: &str) -> Unit {
        Unit {
            id: id.to_owned(),
            active: "active".to_owned(),
            sub: "running".to_owned(),
            after: words(after),
            named_by: words(named_by),
            conflicts: words("shutdown.target"),
            ..Unit::default()
        }
    }

    fn told(unit: &str, after: &str, before: &str, needs: &str) -> UnitOrder {
        let unit = unit.to_owned();
        UnitOrder {
            unit,
            after: words(after),
            before: words(before),
            needs: words(needs),
            ..UnitOrder::default()
        }
    }

    fn behind(critical: &str, running: &[Unit], new: &[UnitOrder]) -> String {
        let critical: Vec<String> = critical.split_whitespace().map(str::to_owned).collect();
        let orders = orders(&critical, running, new);
        orders.iter().for_each(|order| assert_eq!(order.before, orders[0].before));
        orders.first().map(|order| order.before.join(" ")).unwrap_or_default()
    }

    #[test]
    fn what_is_put_behind() {
        let running = [
            runs("c.service", "basic.target network.target db.service a@.service", "multi-user.target"),
            runs("slow.service", "basic.target", "multi-user.target"),
            runs("db.service", "disk.service", ""),
            runs("disk.service", "", ""),
            runs("net.service", "", ""),
            runs("network.target", "net.service", ""),
            runs("wanted.service", "", "c.service"),
            runs("called.service", "called.socket", "called.socket"),
            Unit { on_bus: true, ..runs("bus.service", "", "") },
            Unit { active: "inactive".to_owned(), ..runs("down.service", "", "") },
            Unit { conflicts: BTreeSet::new(), ..runs("survivor.service", "", "") },
            runs("a@x.service", "", ""),
            runs("b@x.service", "", ""),
            runs("session-1.scope", "", ""),
            runs("multi-user.target", "c.service slow.service", ""),
            runs("x.timer", "", ""),
        ];
        assert_eq!(behind("c.service", &running, &[]), "b@x.service session-1.scope slow.service");
        for (new, expected) in [
            // The same comes before it in the new root.
            (told("slow.service", "", "c.service", ""), "b@x.service session-1.scope"),
            (told("c.service", "y.target", "", ""), "b@x.service session-1.scope slow.service"),
            (told("y.target", "", "", "slow.service"), "b@x.service session-1.scope"),
            (told("slow.service", "", "y.socket", ""), "b@x.service session-1.scope"),
            (told("b@.service", "", "network-online.target", ""), "session-1.scope slow.service"),
            (told("c.service", "", "", "slow.service"), "b@x.service session-1.scope"),
            (told("y.socket", "", "", "slow.service"), "b@x.service session-1.scope"),
            (
                told(
                    "multi-user.target",
                    "",
                    "",
                    "new.service new@.service new@y.service nextroot-x.service",
                ),
                "b@x.service new.service new@y.service session-1.scope slow.service",
            ),
            (
                UnitOrder { names: words("alias.service"), ..told("slow.service", "", "", "") },
                "b@x.service session-1.scope slow.service",
            ),
            (UnitOrder { on_call: true, ..told("slow.service", "", "", "") }, "b@x.service session-1.scope"),
            (UnitOrder { special: true, ..told("slow.service", "", "", "") }, "b@x.service session-1.scope"),
        ] {
            assert_eq!(behind("c.service", &running, std::slice::from_ref(&new)), expected, "{new:?}");
        }
        let initrd = told("initrd.target", "multi-user.target", "", "");
        let expected = "b@x.service session-1.scope slow.service";
        assert_eq!(behind("c.service", &running, std::slice::from_ref(&initrd)), expected);
        // The runlevels are aliases of targets that all comes before.
        let runlevel =
            UnitOrder { names: words("multi-user.target"), ..told("runlevel3.target", "", "", "") };
        assert_eq!(
            behind("c.service", &running, std::slice::from_ref(&runlevel)),
            "b@x.service session-1.scope slow.service"
        );
        let alias = UnitOrder { names: words("alias.service"), ..told("slow.service", "", "", "") };
        let new = [alias, told("c.service", "alias.service", "", "")];
        assert_eq!(behind("c.service", &running, &new), "b@x.service session-1.scope");
        // What comes before one comes behind none.
        assert_eq!(behind("b@x.service c.service", &running, &[]), "session-1.scope slow.service");
        assert!(behind("slow.service disk.service", &running, &[]).contains("db.service"));
        assert_eq!(behind("unknown.service", &running, &[]), "");
        assert_eq!(orders(&["unknown.service".to_owned()], &running, &[]), []);
    }

    /// Whether units have a circle of `After=`.
    fn is_circular(edges: &Edges) -> bool {
        let mut left = edges.clone();
        loop {
            let before = left.len();
            let there: BTreeSet<String> = left.keys().cloned().collect();
            left.retain(|_, after| after.iter().any(|other| there.contains(other)));
            if left.len() == before {
                return !left.is_empty();
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

        /// Two hundred services in an order of their own in each system: neither gets a circle, and what is free is behind.
        #[test]
        fn no_circle(
            running in proptest::collection::vec((0..200_usize, 0..200_usize), 0..300),
            new in proptest::collection::vec((0..200_usize, 0..200_usize), 0..300),
            critical in proptest::collection::btree_set(0..200_usize, 1..5),
        ) {
            let name = |number: usize| format!("u{number}.service");
            // In each system units come after those with smaller numbers, in the second counted from the other end.
            let forward = |(one, other): &(usize, usize)| (*one.max(other), *one.min(other));
            let backward = |(one, other): &(usize, usize)| (199 - one.max(other), 199 - one.min(other));
            let edges = |pairs: Vec<(usize, usize)>| {
                let mut edges: Edges = (0..200).map(|number| (name(number), BTreeSet::new())).collect();
                for (unit, after) in pairs.into_iter().filter(|(unit, after)| unit != after) {
                    edges.entry(name(unit)).or_default().insert(name(after));
                }
                edges
            };
            let (running, new) = (edges(running.iter().map(forward).collect()), edges(new.iter().map(backward).collect()));
            let text = |after: &BTreeSet<String>| after.iter().cloned().collect::<Vec<_>>().join(" ");
            let units: Vec<Unit> = running.iter().map(|(unit, after)| runs(unit, &text(after), "")).collect();
            let files: Vec<UnitOrder> = new.iter().map(|(unit, after)| told(unit, &text(after), "", "")).collect();
            let critical: Vec<String> = critical.into_iter().map(name).collect();
            let orders = orders(&critical, &units, &files);
            prop_assert_eq!(orders.len(), critical.len());
            for mut edges in [running, new] {
                prop_assert!(!is_circular(&edges));
                for Order { unit, before } in &orders {
                    before.iter().for_each(|other| { edges.entry(other.clone()).or_default().insert(unit.clone()); });
                }
                prop_assert!(!is_circular(&edges));
            }
        }
    }
}
