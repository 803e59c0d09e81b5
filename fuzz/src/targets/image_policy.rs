//! `format/config/image_policy.rs`: a policy that is printed reads back as the same, as JSON too; each partition has some
//! possibility; and the short form, which says the same of every partition that it keeps a rule for, gets no shorter.

use nextroot::format::config::image_policy::{Designator, ImagePolicy};

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let Ok(policy) = text.parse::<ImagePolicy>() else { return };
    let printed = policy.to_string();
    assert_eq!(printed.parse().as_ref(), Ok(&policy), "{printed}");
    let json = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<ImagePolicy>(&json).unwrap(), policy);
    for designator in Designator::all() {
        let flags = policy.flags(designator);
        assert!(!flags.usage().is_empty());
        assert!(flags.file_systems().len() <= 7);
        let rule = policy.rule(designator);
        assert!(rule.is_none_or(|rule| rule == flags), "{designator}");
    }
    let short = policy.short();
    let again = short.parse::<ImagePolicy>().unwrap_or_else(|error| panic!("{short}: {error}"));
    assert_eq!(again.short(), short, "{text}");
    let has_rule = |policy: &ImagePolicy, designator| policy.rule(designator).is_some();
    let kept =
        Designator::all().all(|designator| has_rule(&policy, designator) == has_rule(&again, designator));
    let is_one_word = matches!(short.as_str(), "*" | "-" | "~");
    for designator in Designator::all().filter(|_| kept || is_one_word) {
        assert_eq!(
            again.flags(designator),
            policy.flags(designator),
            "{designator} of {text}, which is {short}"
        );
    }
}
