//! `format/kernel/modindex.rs`: what a module needs stands above it, every place that is named is there, and what is
//! printed reads back. A name and a pattern are looked for in bounded time.

use nextroot::format::kernel::modindex::{ModuleIndex, matches};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    if let Some((pattern, rest)) = text.split_once('\n') {
        let name = rest.get(..rest.len().min(200)).unwrap_or_default();
        assert!(matches(pattern, name) || !pattern.chars().all(|c| c == '*') || pattern.is_empty());
    }
    let Ok(index) = ModuleIndex::parse(&text) else { return };
    for (id, module) in index.iter() {
        assert!(module.before().all(|other| other < id), "{} needs what is not above it", module.name);
        assert!(module.post.iter().all(|id| index.get(*id).is_some()));
    }
    assert!(index.always.iter().all(|id| index.get(*id).is_some()));
    assert_eq!(ModuleIndex::parse(&index.to_string()).as_ref(), Ok(&index));
    for module in index.modules.iter().take(8) {
        assert!(!index.find(&module.name).is_empty());
        assert!(module.aliases.iter().all(|alias| alias.contains(['[', '*', '?']) || matches(alias, alias)));
    }
}
