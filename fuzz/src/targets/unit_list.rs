//! `format/system/unit_list.rs`: a list has no more units than the text has brackets of both kinds, and what is asked about of them is all, or
//! what is listed, in order.

use nextroot::{
    format::{config::trial::Trial, system::unit_list},
    plan::health,
};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Ok(listed) = unit_list::parse(&text) else { return };
    assert!(listed.len() <= text.matches(['{', '[']).count());
    let asked = health::to_ask(&Trial::default(), &listed);
    let all = asked == ["*"];
    let mut names = listed.iter().map(|unit| &unit.unit);
    assert!(all || asked.iter().all(|name| names.any(|listed| listed == name)));
}
