//! `format/kernel/modules.rs`: names have neither a slash nor a dash and are not empty, paths stay below their
//! directory, lists that are sorted are.

use nextroot::format::kernel::modules::{
    Dependencies, aliases, builtin, builtin_aliases, loaded, name_of, softdeps, wanted,
};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let is_name = |name: &String| !name.is_empty() && !name.contains(['/', '-']);
    if let Ok(Dependencies(all)) = Dependencies::parse(&text) {
        for (name, module) in &all {
            assert!(is_name(name) && module.needs.iter().all(is_name), "{name}");
            assert_eq!(name_of(&module.path).as_ref(), Some(name));
            assert!(module.path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{}", module.path);
        }
        let written: String = all
            .values()
            .map(|module| {
                let needs: Vec<String> = module.needs.iter().map(|name| format!("{name}.ko")).collect();
                format!("{}: {}\n", module.path, needs.join(" "))
            })
            .collect();
        assert_eq!(Dependencies::parse(&written), Ok(Dependencies(all)));
    }
    if let Ok(all) = softdeps(&text) {
        let names: usize = all.values().map(|softdep| softdep.pre.len() + softdep.post.len()).sum();
        assert!(names <= text.len());
    }
    for sorted in [builtin(&text), loaded(&text)] {
        assert!(sorted.is_sorted() && !sorted.iter().any(|name| name.contains('-')));
    }
    assert!(wanted(&text).iter().all(|name| !name.is_empty() && !name.starts_with(['#', ';'])));
    assert!(aliases(&text).all(|(_, name)| !name.contains(' ')));
    assert!(builtin_aliases(data).all(|(_, name)| !name.contains('\0')));
}
