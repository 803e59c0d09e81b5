//! `format/system/version.rs`: a text equals itself, the order turns round with its sides, and of three texts it has no
//! circle. (Texts are the lines.)

use std::cmp::Ordering;

use nextroot::format::system::version::compare;

pub(super) fn run(data: &[u8]) {
    let text = super::text(data);
    let texts: Vec<&str> = text.lines().take(3).collect();
    for one in &texts {
        assert_eq!(compare(one, one), Ordering::Equal);
        for other in &texts {
            assert_eq!(compare(one, other), compare(other, one).reverse(), "{one} {other}");
        }
    }
    if let [one, two, three] = *texts
        && compare(one, two) == compare(two, three)
    {
        assert_eq!(compare(one, three), compare(one, two), "{one} {two} {three}");
    }
}
